"""A design as settings ask for it, and every fault in it."""

from __future__ import annotations

import pytest

from wattest.config.design import DESIGNS, RANDOM, Design, parse_design
from wattest.config.schema import properties_of
from wattest.errors import Fault


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design_is_its_name_or_an_object_with_it(name: str):
    keys = ("experiments", 0, "design")
    assert parse_design(name, keys, "s.json") == Design(name)
    assert parse_design({"name": name}, keys, "s.json") == Design(name)


def test_levels_are_read_by_name():
    value = {"name": "factorial", "levels": {"rate": [0.1, 1], "epochs": [5]}}
    design = parse_design(value, ("design",), "s.json")
    assert design == Design("factorial", {"rate": (0.1, 1), "epochs": (5,)})


def test_designs_are_hashable_and_random_by_default():
    assert Design("random", {}) == RANDOM
    assert len({RANDOM, Design(), Design("sobol"), Design("sobol", {"rate": (1,)})}) == 3


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        ("sobel", ["$.design: 'sobel' is not a design; did you mean 'sobol'?"]),
        ({"name": "grid"}, ["$.design.name: 'grid' is not a design; "]),
        ({}, ["$.design: lacks the name"]),
        ({"name": 3}, ["$.design: lacks the name"]),
        (None, ["$.design: must be the name of a design"]),
        (["sobol"], ["$.design: must be the name of a design"]),
        (True, ["$.design: must be the name of a design"]),
        (
            {"name": "sobol", "level": {}},
            ["$.design.level: is not a key of a design; did you mean"],
        ),
        ({"name": "sobol", "xyz": 1}, ["$.design.xyz: is not a key of a design; known: name"]),
        ({"name": "factorial", "levels": [1]}, ["$.design.levels: must be an object"]),
        ({"name": "factorial", "levels": {"a": []}}, ["$.design.levels.a: must be a list"]),
        ({"name": "factorial", "levels": {"a": 1}}, ["$.design.levels.a: must be a list"]),
        ({"name": "factorial", "levels": {"a": "12"}}, ["$.design.levels.a: must be a list"]),
        ({"name": "factorial", "levels": {"a": [1, "x"]}}, ["$.design.levels.a: holds 'x'"]),
        ({"name": "factorial", "levels": {"a": [True]}}, ["$.design.levels.a: holds True"]),
        ({"name": "factorial", "levels": {"a": [1, 1.0]}}, ["$.design.levels.a: names a level"]),
        ({"nam": "x", "levels": 1}, ["$.design.nam:", "$.design: lacks", "$.design.levels: must"]),
    ],
)
def test_every_fault_in_a_design_is_found_and_named(value, faults: list[str]):
    found = parse_design(value, ("design",), "s.json")
    assert isinstance(found, list)
    assert all(isinstance(fault, Fault) for fault in found)
    for fault, start in zip(found, faults, strict=True):
        assert str(fault).startswith(f"s.json::{start}")


def test_the_schema_knows_the_same_designs():
    name, whole = properties_of("settings")["design"]["anyOf"]
    assert tuple(name["enum"]) == tuple(whole["properties"]["name"]["enum"]) == DESIGNS
