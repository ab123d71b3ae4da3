"""Whatever is wrong in the registry is said in one line each, before anything runs."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planning import FIXED, assert_refused, document, faults_of

from conftest import Project, toy_registry


def change(*keys: str, to: object) -> Callable[[dict[str, Any]], None]:
    def apply(registry: dict[str, Any]) -> None:
        place = registry
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return apply


def misspell(registry: dict[str, Any]) -> None:
    toy = registry["models"]["toy"]
    toy["trainscript"] = toy.pop("train_script")


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
    "a variable without a name": (
        change("models", "toy", "environment", to={"": "1"}),
        r"environment.*\"\" must be the name of a variable",
    ),
    "one flag for two": (
        change(*RATE, "flag", to="-e"),
        r"epochs\.flag: '-e' is the flag of learning_rate, too; give each its own",
    ),
    "a flag that chooses the model": (
        change("models", "toy", "model_flag", to="--lr"),
        r"learning_rate\.flag: '--lr' is the flag of the model \(model_flag\), too",
    ),
    "levels outside the range": (
        change(*RATE, "levels", to=[0.1, 7]),
        r"learning_rate\.levels: 7.0 is outside the range",
    ),
    "log range from zero": (change(*RATE, "range", to=[0, 1]), r"log_uniform range must be above"),
    "probability above one": (change(*RATE, "zero_probability", to=1.5), r"must be at most 1"),
    "odd distribution": (change(*RATE, "distribution", to="normal"), r"must be one of \"uniform\""),
    "odd type": (change(*RATE, "type", to="string"), r"type: must be one of \"int\", \"float\""),
    "a way that is none": (
        change(*PATTERNS[:3], "better", to={"accuracy": "up"}),
        r'"higher", "lower"',
    ),
    "a way of no metric": (
        change(*PATTERNS[:3], "better", to={"acuracy": "higher"}),
        r"better\.acuracy: no log pattern finds this metric; did you mean 'accuracy'\?",
    ),
    "pattern that is too large": (
        change(*PATTERNS, to={"accuracy": "(a{99999999999999})"}),
        r"not a regular expression",
    ),
    "pattern that is too deep": (
        change(*PATTERNS, to={"accuracy": "(" * 500 + "a" + ")" * 500}),
        r"accuracy: (is not a regular expression|needs 1)",
    ),
    "misspelt required key": (misspell, r"trainscript: is not a known key; .* 'train_script'"),
    "broken pattern": (change(*PATTERNS, to={"accuracy": "("}), r"not a regular expression"),
    "no group": (change(*PATTERNS, to={"accuracy": "x"}), r"needs 1 capturing group, has 0"),
    "two groups": (change(*PATTERNS, to={"accuracy": "(x)(y)"}), r"needs 1 capturing group, has 2"),
    "no patterns": (change(*PATTERNS, to={}), r"log_patterns: must not be empty"),
    "path leads outside": (change("models", "toy", "path", to="../x"), r"leads outside"),
    "script leads outside": (
        change("models", "toy", "train_script", to="../../x.sh"),
        r"leads outside",
    ),
    "open quote": (
        change("models", "toy", "required_args", to={"data": "-d 'x"}),
        r"required_args\.data: cannot be split",
    ),
    "no such folder": (change("models", "toy", "path", to="repos/none"), r"no such folder"),
    "no such script": (change("models", "toy", "train_script", to="./no.sh"), r"no such file"),
    "no such Python": (
        change("models", "toy", "interpreter", to="python3"),
        r"interpreter: no such program: .*/toy/python3; give the path of a Python",
    ),
}

# Found when the selected programs are looked at, not when the file is read.
UNSTARTABLE = ("no such folder", "no such script", "no such Python")


@pytest.mark.parametrize("name", [name for name in BROKEN_REGISTRIES if name not in UNSTARTABLE])
def test_a_fault_in_the_registry_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    spoil, expected = BROKEN_REGISTRIES[name]
    registry = copy.deepcopy(toy_registry())
    spoil(registry)
    lines = faults_of(tmp_path, document(FIXED), registry)
    assert any(re.search(expected, line) for line in lines), lines
    assert all(line.startswith("registry.json") for line in lines), lines


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


def test_a_fault_hides_none_of_another_program(tmp_path: Path) -> None:
    toy = toy_registry()["models"]["toy"]
    models = {"toy": {**toy, "train_script": 5}, "toy2": {**toy, "path": "../x"}}
    lines = faults_of(tmp_path, document(FIXED), {"models": models})
    assert [line.split(": ")[0].removeprefix("registry.json::$.models.") for line in lines] == [
        "toy.train_script",
        "toy2.path",
    ]
