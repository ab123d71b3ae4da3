"""Whatever is wrong in settings or registry is said in one line each, before anything runs."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Project, settings_in, toy_registry
from wattest.config.registry import load_registry
from wattest.config.settings import load_settings
from wattest.config.suggest import near_miss
from wattest.errors import ConfigurationError, json_path
from wattest.plan.expand import expand

FIXED: dict[str, Any] = {"repo": "toy", "model": "small", "hyperparameters": {}}
MUTANT: dict[str, Any] = {"repo": "toy", "model": "small", "mutate": ["epochs"]}
PARALLEL: dict[str, Any] = {"foreground": MUTANT, "background": FIXED}


def document(*entries: object, **top: object) -> dict[str, Any]:
    return {"experiments": list(entries), **top}


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
    "foreign mode": (document({**FIXED, "mode": "nonparallel"}), r"mode: must be one of 'default'"),
    "mixed without modes": (document(FIXED, mode="mixed"), r"experiments\[0\]: lacks \"mode\""),
    "mutation of nothing": (document({**FIXED, "mode": "mutation"}), r"lacks \"mutate\""),
    "a level as text": (
        document({**MUTANT, "design": {"name": "factorial", "levels": {"epochs": [5, "x"]}}}),
        r"design\.levels\.epochs: holds 'x', which is not a number",
    ),
    "a number as design": (document({**MUTANT, "design": 5}), r"design: must be the name of a des"),
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
    "mutated load": (document({**PARALLEL, "background": MUTANT}), r"mutate: the load is not mut"),
    "default with mutate": (document({**MUTANT, "mode": "default"}), r"mutate: does not go with"),
    "empty mutate": (document({**FIXED, "mutate": []}), r"mutate: must not be empty"),
    "unknown name to mutate": (document({**FIXED, "mutate": ["epoch"]}), r"'epoch'.*'epochs'"),
    "fixed and mutated": (
        document({**MUTANT, "hyperparameters": {"epochs": 3}}),
        r"mutate\[0\]: 'epochs' is also fixed",
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
    (tmp_path / "test.json").write_text(json.dumps(content), encoding="utf-8")
    assert_named(tmp_path, expected, "test.json")


@pytest.mark.parametrize("name", ["no experiments", "unknown model", "too many mutants"])
def test_broken_settings_stop_pytest_with_exit_4(project: Project, name: str) -> None:
    content, expected = BROKEN_SETTINGS[name]
    (project.path / "settings").mkdir()
    (project.path / "settings/test.json").write_text(json.dumps(content), encoding="utf-8")
    assert_refused(project, expected, "settings/test.json")


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, r"no such file"),
    "directory": (lambda path: path.mkdir(), r"is a directory"),
    "empty": (lambda path: path.write_text(""), r"is not JSON: .* line 1"),
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
    "deep": (lambda path: path.write_text("[" * 100_000), r"nested too deeply|is not JSON"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_file_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    make, expected = UNREADABLE[name]
    make(tmp_path / "test.json")
    assert_named(tmp_path, expected, "test.json")


@pytest.mark.parametrize("name", ["missing", "directory", "not UTF-8"])
def test_an_unreadable_file_stops_pytest_with_exit_4(project: Project, name: str) -> None:
    make, expected = UNREADABLE[name]
    path = project.path / "settings/test.json"
    path.parent.mkdir()
    make(path)
    assert_refused(project, expected, "settings/test.json")


def change(*keys: str, to: object) -> Callable[[dict[str, Any]], None]:
    def apply(registry: dict[str, Any]) -> None:
        place = registry
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return apply


PATTERNS = ("models", "toy", "performance_metrics", "log_patterns")
EPOCHS = ("models", "toy", "supported_hyperparams", "epochs")
RATE = ("models", "toy", "supported_hyperparams", "learning_rate")

BROKEN_REGISTRIES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no programs": (change("models", to={}), r"\$\.models: must not be empty"),
    "programs as a list": (change("models", to=[]), r"\$\.models: must be of type object"),
    "no path": (lambda registry: registry["models"]["toy"].pop("path"), r"toy: lacks 'path'"),
    "upside-down range": (change(*EPOCHS, "range", to=[9, 1]), r"range: .*upside down"),
    "one bound": (change(*EPOCHS, "range", to=[9]), r"epochs\.range"),
    "fraction in an int range": (change(*EPOCHS, "range", to=[1, 2.5]), r"2\.5 is not an int"),
    "range of one": (change(*RATE, "range", to=[0.1]), r"range: must be two numbers, \["),
    "not a variable": (
        change("models", "toy", "environment", to={"A=B": "1"}),
        r"environment.*\"A=B\" must be the name of a variable",
    ),
    "a flag that chooses the model": (
        change("models", "toy", "model_flag", to="--lr"),
        r"learning_rate\.flag: is the model_flag",
    ),
    "levels outside the range": (
        change(*RATE, "levels", to=[0.1, 7]),
        r"learning_rate\.levels: 7.0 is outside the range",
    ),
    "log range from zero": (change(*RATE, "range", to=[0, 1]), r"log_uniform range must be above"),
    "probability above one": (change(*RATE, "zero_probability", to=1.5), r"must be at most 1"),
    "odd distribution": (change(*RATE, "distribution", to="normal"), r"must be one of 'uniform'"),
    "odd type": (change(*RATE, "type", to="string"), r"type: must be one of 'int', 'float'"),
    "pattern that is too large": (
        change(*PATTERNS, to={"accuracy": "(a{99999999999999})"}),
        r"not a regular expression",
    ),
    "pattern that is too deep": (
        change(*PATTERNS, to={"accuracy": "(" * 500 + "a" + ")" * 500}),
        r"accuracy: (is not a regular expression|needs 1)",
    ),
    "misspelt required key": (
        lambda registry: registry["models"]["toy"].update(trainscript="./train.sh"),
        r"trainscript: is not a known key; did you mean 'train_script'",
    ),
    "broken pattern": (change(*PATTERNS, to={"accuracy": "("}), r"not a regular expression"),
    "no group": (change(*PATTERNS, to={"accuracy": "x"}), r"needs 1 capturing group, has 0"),
    "two groups": (change(*PATTERNS, to={"accuracy": "(x)(y)"}), r"needs 1 capturing group, has 2"),
    "no patterns": (change(*PATTERNS, to={}), r"log_patterns: must not be empty"),
    "path leads outside": (change("models", "toy", "path", to="../x"), r"leads outside"),
    "script leads outside": (
        change("models", "toy", "train_script", to="../../x.sh"),
        r"leads outside",
    ),
    "misspelt key": (change("models", "toy", "trainscript", to="./x"), r"mean 'train_script'"),
    "open quote": (
        change("models", "toy", "required_args", to={"data": "-d 'x"}),
        r"required_args\.data: cannot be split",
    ),
    "no such folder": (change("models", "toy", "path", to="repos/none"), r"no such folder"),
    "no such script": (change("models", "toy", "train_script", to="./no.sh"), r"no such file"),
}

# Found when the selected programs are looked at, not when the file is read.
UNSTARTABLE = ("no such folder", "no such script")


@pytest.mark.parametrize("name", [name for name in BROKEN_REGISTRIES if name not in UNSTARTABLE])
def test_a_fault_in_the_registry_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    spoil, expected = BROKEN_REGISTRIES[name]
    registry = copy.deepcopy(toy_registry())
    spoil(registry)
    (tmp_path / "test.json").write_text(json.dumps(document(FIXED)), encoding="utf-8")
    assert_named(tmp_path, expected, "registry.json", registry)


@pytest.mark.parametrize("name", [*UNSTARTABLE, "broken pattern"])
def test_a_broken_registry_stops_pytest_with_exit_4(project: Project, name: str) -> None:
    spoil, expected = BROKEN_REGISTRIES[name]
    registry = copy.deepcopy(toy_registry())
    spoil(registry)
    project.registry(registry)
    project.settings(FIXED)
    assert_refused(project, expected, "config/models_config.json")


def test_a_script_that_is_not_executable_stops_with_the_remedy(project: Project) -> None:
    project.settings(FIXED)
    (project.path / "repos/toy/train.sh").chmod(0o644)
    assert_refused(project, r"is not executable; run: chmod \+x", "config/models_config.json")


def test_all_faults_of_a_file_are_said_at_once(project: Project) -> None:
    project.settings({**FIXED, "model": "x"}, {**FIXED, "repo": "y"}, {**FIXED, "mode": "default"})
    assert len(faults_of(project.refusal())) == 2


def assert_named(
    folder: Path, expected: str, file: str, registry: dict[str, Any] | None = None
) -> None:
    """Assert that planning what `folder` holds names its faults, each in one line of `file`."""
    content = json.dumps(registry or toy_registry())
    (folder / "registry.json").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        plan_in(folder)
    lines = str(caught.value).splitlines()
    assert any(re.search(expected, line) for line in lines), lines
    assert all(line.startswith(file) for line in lines), lines


def plan_in(folder: Path) -> None:
    known = load_registry(folder / "registry.json", folder, "registry.json")
    expand(load_settings(folder / "test.json", known, "test.json"), seed=1)


def assert_refused(project: Project, expected: str, file: str) -> None:
    lines = faults_of(project.refusal())
    assert any(re.search(expected, line) for line in lines), lines
    assert all(line.startswith(f"ERROR: {file}") for line in lines), lines
    assert not list((project.path / "results").glob("training_*"))


def faults_of(result: pytest.RunResult) -> list[str]:
    return [line for line in result.stderr.str().splitlines() if line.startswith("ERROR:")]


def test_annotations_are_free_and_other_unknown_keys_are_warned_about(tmp_path: Path) -> None:
    fixed = {**FIXED, "note": "x", "_mine": 1}
    settings = settings_in(tmp_path, fixed, notes=["a"], version="4", comment="c")
    assert settings.warnings == ("settings.json::$.version: is not a known key and is ignored",)


def test_remarks_among_names_are_no_names(tmp_path: Path) -> None:
    registry = copy.deepcopy(toy_registry())
    toy = registry["models"]["toy"]
    registry["models"].update(_why="these two", note="mine")
    toy["required_args"] = {"_comment": "not an argument", "data": "-d x"}
    toy["environment"] = {"_comment": "not a variable", "_JAVA_OPTIONS": "-Xmx1g"}
    toy["supported_hyperparams"].update(_todo="more", comment="of mine")
    toy["performance_metrics"]["log_patterns"]["_old"] = "("
    values = {"_why": "as published", "comment": "x", "epochs": 3}
    fixed = {**FIXED, "hyperparameters": values}
    (entry,) = settings_in(tmp_path, fixed, registry=registry).entries
    program = entry.foreground.program
    assert entry.foreground.fixed == {"epochs": 3}
    assert entry.foreground.ignored == {}
    assert program.required_arguments == ("-d", "x")
    assert program.environment == {"_JAVA_OPTIONS": "-Xmx1g"}
    assert set(program.log_patterns) == {"accuracy"}


def test_an_unknown_hyperparameter_is_ignored_with_a_warning(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, {**FIXED, "hyperparameters": {"dropout": 0.5}})
    assert settings.entries[0].foreground.ignored == {"dropout": 0.5}
    assert settings.entries[0].foreground.fixed == {}
    assert "dropout: is not passed" in settings.warnings[0]


def test_runs_come_from_the_entry_then_the_foreground_then_the_file(tmp_path: Path) -> None:
    inner = {**MUTANT, "runs_per_config": 3}
    entries = [
        {**PARALLEL, "foreground": inner, "runs_per_config": 4},
        {**PARALLEL, "foreground": inner},
        PARALLEL,
    ]
    settings = settings_in(tmp_path, *entries, runs_per_config=2)
    assert [entry.runs_per_config for entry in settings.entries] == [4, 3, 2]


def test_the_mode_follows_from_the_keys_where_none_is_named(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, FIXED, MUTANT, PARALLEL)
    assert [entry.mode for entry in settings.entries] == ["default", "mutation", "parallel"]


def test_placeholders_beside_a_foreground_are_accepted_silently(tmp_path: Path) -> None:
    entry = {"repo": "placeholder", "model": "placeholder", **PARALLEL}
    assert settings_in(tmp_path, entry).warnings == ()


def test_all_stands_for_what_is_not_fixed(tmp_path: Path) -> None:
    entry = {**FIXED, "mutate": ["all"], "hyperparameters": {"epochs": 3}}
    foreground = settings_in(tmp_path, entry).entries[0].foreground
    assert foreground.mutate == ("learning_rate", "seconds", "exit", "metric")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("mutate_params", "mutate"),
        ("repository", "repo"),
        ("num_mutations", "runs_per_config"),
        ("hyperparameters_to_mutate", "mutate"),
        ("fixed_hyperparams", "hyperparameters"),
        ("Mode", "mode"),
        ("maxRetries", "max_retries"),
        ("estimated_experiments", None),
        ("version", None),
        ("cleanup_gpu_memory", None),
    ],
)
def test_near_misses(word: str, meant: str | None) -> None:
    known = ["mode", "repo", "mutate", "runs_per_config", "max_retries", "hyperparameters",
             "experiments"]  # fmt: skip
    assert near_miss(word, known) == meant


def test_json_paths_quote_odd_keys() -> None:
    assert json_path(["a", 0, "b-c"]) == "$.a[0]['b-c']"


def test_every_fault_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings_in(tmp_path, {**FIXED, "model": "x"}, {**FIXED, "model": "y"})
    assert len(str(caught.value).splitlines()) == 2


def test_faults_of_every_kind_are_named_at_once(tmp_path: Path) -> None:
    entries = [{**FIXED, "repo": "toi"}, {**FIXED, "max_retries": -1}, {**FIXED, "model": "smal"}]
    (tmp_path / "test.json").write_text(json.dumps(document(*entries)), encoding="utf-8")
    (tmp_path / "registry.json").write_text(json.dumps(toy_registry()), encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        plan_in(tmp_path)
    places = [line.split(": ")[0] for line in str(caught.value).splitlines()]
    assert sorted(places) == [
        "test.json::$.experiments[0].repo",
        "test.json::$.experiments[1].max_retries",
        "test.json::$.experiments[2].model",
    ]


def test_a_name_that_cannot_be_looked_at_is_a_missing_file(project: Project) -> None:
    for name in ("n" * 300, "~nobody-of-this-name/x.json"):
        result = project.refusal("--config", f"{name}.json")
        result.stderr.fnmatch_lines(["ERROR: *"])
