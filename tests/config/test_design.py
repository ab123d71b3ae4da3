"""A design as settings ask for it, and every fault in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from planning import MUTANT, document, faults_of, load

from wattest.config.design import RANDOM, Design
from wattest.config.schema import load_schema

DESIGNS = load_schema("settings")["$defs"]["design_name"]["enum"]


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design_is_its_name_or_an_object_with_it(tmp_path: Path, name: str):
    entries = [{**MUTANT, "design": design} for design in (name, {"name": name, "note": "mine"})]
    assert [one.design for one in load(tmp_path, document(*entries)).entries] == [Design(name)] * 2


def test_levels_are_read_by_name():
    value = {"name": "factorial", "levels": {"rate": [0.1, 1], "epochs": [5]}}
    assert Design.of(value) == Design("factorial", {"rate": (0.1, 1), "epochs": (5,)})


def test_designs_are_hashable_and_random_by_default(tmp_path: Path):
    assert Design("random", {}) == RANDOM
    assert len({RANDOM, Design(), Design("sobol"), Design("sobol", {"rate": (1,)})}) == 3
    assert load(tmp_path, document(MUTANT)).entries[0].design == RANDOM


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        ("sobel", [r': must be one of .*, is "sobel"; did you mean \'sobol\'\?']),
        ({"name": "grid"}, [r'\.name: must be one of "random", .* is "grid"$']),
        ({}, [": lacks 'name'"]),
        ({"name": 3}, [r'\.name: must be one of "random"']),
        (None, [": must be of type string or object, is null"]),
        (["sobol"], [": must be of type string or object, is a list"]),
        (True, [": must be of type string or object, is a boolean"]),
        ({"name": "sobol", "level": {}}, [r"\.level: is not a known key; did you mean 'levels'"]),
        ({"name": "factorial", "levels": [1]}, [r"\.levels: must be of type object"]),
        ({"name": "factorial", "levels": {"a": []}}, [r"\.levels\.a: must not be empty"]),
        ({"name": "factorial", "levels": {"a": 1}}, [r"\.levels\.a: must be of type array"]),
        ({"name": "factorial", "levels": {"a": "12"}}, [r"\.levels\.a: must be of type array"]),
        ({"name": "factorial", "levels": {"a": [1, "x"]}}, [r"\.levels\.a\[1\]: must be of type"]),
        ({"name": "factorial", "levels": {"a": [True]}}, [r"\.levels\.a\[0\]: must be of type"]),
        ({"name": "factorial", "levels": {"a": [1, 1.0]}}, [r"\.levels\.a: names something twice"]),
        ({"nam": "x", "levels": 1}, [r"\.nam: .*'name'", ": lacks 'name'", r"\.levels: must be"]),
    ],
)
def test_every_fault_in_a_design_is_found_and_named(tmp_path: Path, value: Any, faults: list[str]):
    found = faults_of(tmp_path, document(MUTANT, design=value))
    assert len(found) == len(faults)
    for start in faults:
        assert any(re.match(rf"test\.json::\$\.design{start}", line) for line in found), found


def test_a_foreign_key_in_a_design_is_warned_about(tmp_path: Path):
    settings = load(tmp_path, document({**MUTANT, "design": {"name": "sobol", "xyz": 1}}))
    place = "test.json::$.experiments[0].design.xyz"
    assert settings.warnings == (f"{place}: is not a known key and is ignored",)
