"""Whatever is wrong in settings is said in one line each, before anything runs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from planning import (
    FIXED,
    MUTANT,
    PARALLEL,
    assert_refused,
    document,
    faults_of,
    known_programs,
    load,
)

from conftest import Project, toy_registry
from wattest.config.settings import load_settings
from wattest.errors import ConfigurationError, json_path

PARAMETERS = toy_registry()["models"]["toy"]["supported_hyperparams"]
BROKEN_SETTINGS: dict[str, tuple[object, str]] = {
    "no experiments": ({}, r"\$: lacks 'experiments'"),
    "empty experiments": (document(), r"\$\.experiments: must not be empty"),
    "experiments is an object": ({"experiments": {}}, r"\$\.experiments: must be of type array"),
    "an entry is a string": (document("toy"), r"experiments\[0\]: must be of type object"),
    "a list": ([], r"\$: must be an object, is a list"),
    "unknown repo": (document({**FIXED, "repo": "toi"}), r"repo: 'toi' is not in .*'toy'"),
    "unknown model": (document({**FIXED, "model": "smal"}), r"model: 'smal'.*'small'"),
    "no model": (document({"repo": "toy"}), r"experiments\[0\]: lacks 'model'"),
    "negative runs": (document(FIXED, runs_per_config=-1), r"runs_per_config: must be at least 1"),
    "runs as text": (document(FIXED, runs_per_config="3"), r"runs_per_config: must be of type int"),
    "a billion runs": (document(FIXED, runs_per_config=10**9), r"must be at most 100000"),
    "a million experiments": (
        document(FIXED, FIXED, runs_per_config=1000, repetitions=1000),
        r"experiments: asks for 2000000 experiments; at most 100000",
    ),
    "negative retries": (document(FIXED, max_retries=-2), r"max_retries: must be at least 0"),
    "zero timeout": (document(FIXED, timeout_seconds=0), r"timeout_seconds: must be more than 0"),
    "misspelt mutate": (document({**FIXED, "mutate_params": ["epochs"]}), r"mean 'mutate'"),
    "foreign mutations": (document({**FIXED, "mutations": ["epochs"]}), r"mean 'mutate'"),
    "foreign repository": (document({"repository": "toy", "model": "small"}), r"mean 'repo'"),
    "foreign mode": (document({**FIXED, "mode": "nonparallel"}), r'mode: must be one of "default"'),
    "mixed without modes": (document(FIXED, mode="mixed"), r"experiments\[0\]: lacks \"mode\""),
    "mutation of nothing": (document({**FIXED, "mode": "mutation"}), r"lacks \"mutate\""),
    "a level as text": (
        document({**MUTANT, "design": {"name": "factorial", "levels": {"epochs": [5, "x"]}}}),
        r"design\.levels\.epochs\[1\]: must be of type number, is a string",
    ),
    "a number as design": (
        document({**MUTANT, "design": 5}),
        r"design: must be of type string or o",
    ),
    "a design of the file that every entry overrides": (
        document({**MUTANT, "design": "sobol"}, design="sobel"),
        r"\$\.design: must be one of .*; did you mean 'sobol'",
    ),
    "design of nothing": (document({**FIXED, "design": "sobol"}), r"design: .*nothing is mutated"),
    "design beside a fixed foreground": (
        document({"foreground": FIXED, "background": FIXED, "design": "sobol"}),
        r"experiments\[0\]\.design: .*nothing is mutated",
    ),
    "seed of an entry": (document({**FIXED, "seed": 3}), r"\.seed: .*at the top of the file"),
    "timeout of a foreground": (
        document({**PARALLEL, "foreground": {**MUTANT, "timeout_seconds": 9}}),
        r"foreground\.timeout_seconds: .*beside the foreground",
    ),
    "repetitions of a load": (
        document({**PARALLEL, "background": {**FIXED, "repetitions": 9}}),
        r"background\.repetitions: .*beside the foreground",
    ),
    "a load with a name of another kind to mutate": (
        document({**PARALLEL, "background": {**FIXED, "mutate": [5]}}),
        r"background\.mutate: the load is not mutated",
    ),
    "mutated load": (document({**PARALLEL, "background": MUTANT}), r"mutate: the load is not mut"),
    "default with mutate": (document({**MUTANT, "mode": "default"}), r"mutate: does not go with"),
    "a name to mutate twice": (
        document({**FIXED, "mutate": ["epochs", "epochs"]}),
        r"mutate: names something twice",
    ),
    "empty mutate": (document({**FIXED, "mutate": []}), r"mutate: must not be empty"),
    "unknown name to mutate": (document({**FIXED, "mutate": ["epoch"]}), r"'epoch'.*'epochs'"),
    "fixed and mutated": (
        document({**MUTANT, "hyperparameters": {"epochs": 3}}),
        r"mutate\[0\]: 'epochs' is also fixed",
    ),
    "all and another": (document({**FIXED, "mutate": ["all", "epochs"]}), r"\"all\" stands alone"),
    "all of nothing": (
        document({**FIXED, "mutate": ["all"], "hyperparameters": dict.fromkeys(PARAMETERS, 1)}),
        r"mutate: toy has nothing left to mutate",
    ),
    "a load that is never ready": (
        document({**PARALLEL, "background": [FIXED, {**FIXED, "ready_pattern": "(["}]}),
        r"background\[1\]\.ready_pattern: is not a regular expression",
    ),
    "a pause above its limit": (
        document(FIXED, cooldown_seconds=601),
        r"cooldown_seconds: is above cooldown_limit_seconds \(600 s\)",
    ),
    "a misspelt value": (
        document({**FIXED, "hyperparameters": {"epoch": 3}}),
        r"hyperparameters\.epoch: is not passed: .*; did you mean 'epochs'\?",
    ),
    "a boolean as text": (
        document(PARALLEL, baseline="true"),
        r'baseline: must be one of true, false, "alone", .* is "true"',
    ),
    "half a path": (
        document(FIXED, historical_csvs=["a\0b"]),
        r"historical_csvs\[0\]: .*control characters",
    ),
    "a fraction for an int": (
        document({**FIXED, "hyperparameters": {"epochs": 2.5}}),
        r"hyperparameters\.epochs: must be an int",
    ),
    "a value as text": (
        document({**FIXED, "hyperparameters": {"epochs": "2; rm -rf /"}}),
        r"hyperparameters\.epochs: must be of type number",
    ),
    "too many mutants": (document(MUTANT, runs_per_config=500), r"experiments\[0\].*19.*500"),
    "no foreground": (document({"mode": "parallel", "background": FIXED}), r"lacks 'foreground'"),
    "no background": (document({"mode": "parallel", "foreground": MUTANT}), r"lacks 'background'"),
    "background with default mode": (
        document({**PARALLEL, "mode": "default"}),
        r"'parallel|\"paral",
    ),
    "a newline in a model": (document({**FIXED, "model": "a\nb"}), r"model: .*control characters"),
    "background unknown model": (
        document({**PARALLEL, "background": {**FIXED, "model": "x"}}),
        r"background\.model: 'x' is not a model",
    ),
}


@pytest.mark.parametrize("name", BROKEN_SETTINGS)
def test_a_fault_in_settings_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    content, expected = BROKEN_SETTINGS[name]
    lines = faults_of(tmp_path, content)
    assert any(re.search(expected, line) for line in lines), lines
    assert all(line.startswith("test.json") for line in lines), lines


@pytest.mark.parametrize("name", ["no experiments", "unknown model", "too many mutants"])
def test_broken_settings_stop_pytest_with_exit_4(project: Project, name: str) -> None:
    content, expected = BROKEN_SETTINGS[name]
    (project.path / "settings").mkdir()
    (project.path / "settings/test.json").write_text(json.dumps(content), encoding="utf-8")
    assert_refused(project, expected, "settings/test.json")


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, r"no such file .*; check the name and the directory"),
    "misspelt": (
        lambda path: path.with_name("tset.json").touch(),
        r"no such file .*; did you mean tset.json\?",
    ),
    "directory": (lambda path: path.mkdir(), r"is a directory"),
    "empty": (lambda path: path.write_text(""), r"is not JSON: it is empty"),
    "a pipe": (lambda path: os.mkfifo(path), r"cannot be read: is no regular file"),
    "a link to nothing": (
        lambda path: path.symlink_to("moved.json"),
        r"test.json points to .*moved.json, which is not there",
    ),
    "a comment": (
        lambda path: path.write_text('{"seed": 1 // mine\n}'),
        r"is not JSON: .*line 1.*; names and texts stand in double quotes, with no comment",
    ),
    "not JSON": (lambda path: path.write_text('{"experiments": [}'), r"is not JSON: .*line 1"),
    "not UTF-8": (lambda path: path.write_bytes(b'{"a": "\xff\xfe"}'), r"is not UTF-8"),
    "NaN": (lambda path: path.write_text('{"experiments": NaN}'), r"experiments: NaN is no number"),
    "infinite": (
        lambda path: path.write_text('{"experiments": 1e999}'),
        r"experiments: 1e999 is no",
    ),
    "key twice": (
        lambda path: path.write_text('{"seed": 1, "seed": 2, "experiments": []}'),
        r"\$\.seed: is given twice",
    ),
    "half a surrogate pair": (
        lambda path: path.write_text('{"experiment_name": "\\ud83d"}'),
        r"experiment_name: holds half of a surrogate pair",
    ),
    "deep objects": (
        lambda path: path.write_text('{"a": ' * 150 + "1" + "}" * 150),
        r"nested too deeply",
    ),
    "too long a number": (
        lambda path: path.write_text('{"seed": ' + "9" * 5000 + "}"),
        r"seed: 9999999999\.\.\. is no number that can be used; .* at most 19 digits",
    ),
    "deep": (lambda path: path.write_text("[" * 100_000), r"nested too deeply|is not JSON"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_file_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    make, expected = UNREADABLE[name]
    make(tmp_path / "test.json")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(tmp_path / "test.json", known_programs(tmp_path), "test.json")
    lines = str(caught.value).splitlines()
    assert any(re.search(expected, line) for line in lines), lines
    assert all(line.startswith("test.json") for line in lines), lines


@pytest.mark.parametrize("name", ["missing", "directory", "not UTF-8"])
def test_an_unreadable_file_stops_pytest_with_exit_4(project: Project, name: str) -> None:
    make, expected = UNREADABLE[name]
    path = project.path / "settings/test.json"
    path.parent.mkdir()
    make(path)
    assert_refused(project, expected, "settings/test.json")


def test_all_faults_of_a_file_are_said_at_once(project: Project) -> None:
    project.settings({**FIXED, "model": "x"}, {**FIXED, "repo": "y"}, {**FIXED, "mode": "default"})
    assert len(assert_refused(project, "", "settings/test.json")) == 2


def test_every_fault_is_one_line_whatever_a_name_holds(tmp_path: Path) -> None:
    registry = toy_registry()
    registry["models"]["toy"]["models"] = ["small\nERROR: \x1b[31m", "large\u2028"]
    content = document({**FIXED, "model": "x"}, {**FIXED, "model": "y"})
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, content, registry)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert all(line.endswith(r"known: small\nERROR: \x1b[31m, large\u2028") for line in lines)


def test_a_fault_hides_no_other(tmp_path: Path) -> None:
    odd = {**MUTANT, "model": "smal", "mutate": ["epoch"], "hyperparameters": {"learning_rat": 1}}
    content = document(
        {**FIXED, "max_retries": -1},
        odd,
        {"foreground": odd, "mutate": ["epochs"]},
        design="sobel",
        cooldown_seconds="long",
    )
    lines = faults_of(tmp_path, content)
    of_odd = ("model", "hyperparameters.learning_rat", "mutate[0]")
    assert [line.split(": ")[0].removeprefix("test.json::$.") for line in lines] == [
        "design",
        "cooldown_seconds",
        "experiments[0].max_retries",
        *(f"experiments[1].{name}" for name in of_odd),
        "experiments[2]",
        "experiments[2].mutate",
        *(f"experiments[2].foreground.{name}" for name in of_odd),
    ]


def test_a_name_that_cannot_be_looked_at_is_a_missing_file(project: Project) -> None:
    for name in ("n" * 300, "~nobody-of-this-name/x.json"):
        result = project.refusal("--config", f"{name}.json")
        result.stderr.fnmatch_lines(["ERROR: *"])


def test_json_paths_quote_odd_keys() -> None:
    assert json_path(["a", 0, "b-c"]) == "$.a[0]['b-c']"
