"""Keys that the schema does not know: free text, harmless ones, and those that must not pass."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from planning import FIXED, MUTANT, PARALLEL, document, faults_of, known_programs, load

from conftest import toy_registry
from wattest.config.schema import load_schema
from wattest.config.suggest import near_miss


def test_annotations_are_free_and_other_unknown_keys_are_warned_about(tmp_path: Path) -> None:
    content = document({**FIXED, "note": "x", "_mine": 1}, notes=["a"], version="4", comment="c")
    settings = load(tmp_path, content)
    assert settings.warnings == ("test.json::$.version: is not a known key and is ignored",)


def test_an_ignored_key_is_not_read(tmp_path: Path) -> None:
    settings = load(tmp_path, document({**FIXED, "ready_pattern": 5}))
    assert settings.entries[0].foreground.ready_pattern is None
    assert len(settings.warnings) == 1


@pytest.mark.parametrize("name", ["settings", "models_config"])
def test_an_editor_that_checks_the_schema_takes_free_text_for_what_it_is(name: str) -> None:
    strict = list(objects_with_known_keys(load_schema(name)))
    assert len(strict) >= 4
    for one in strict:
        (pattern,) = one["patternProperties"]
        for key in ("comment", "note_2", "notes", "description", "_todo", "$schema"):
            assert re.search(pattern, key)
        assert not any(re.search(pattern, key) for key in one["properties"] if key[0] != "$")
        assert not re.search(pattern, "commentary")


def objects_with_known_keys(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("additionalProperties") is False:
            yield schema
        for inner in schema.values():
            yield from objects_with_known_keys(inner)


def test_a_near_miss_whose_real_key_stands_beside_it_is_a_warning(tmp_path: Path) -> None:
    entries = [
        {**MUTANT, "mutate_params": ["epochs"]},
        {**PARALLEL, "foreground": {**MUTANT, "repository": "toy"}},
    ]
    settings = load(tmp_path, document(*entries, num_mutations=2, runs_per_config=1))
    tail = "is not a known key and is ignored"
    assert sorted(settings.warnings) == [
        f"test.json::$.experiments[0].mutate_params: {tail}: 'mutate' stands beside it",
        f"test.json::$.experiments[1].foreground.repository: {tail}: 'repo' stands beside it",
        f"test.json::$.num_mutations: {tail}: 'runs_per_config' stands beside it",
    ]


def test_a_near_miss_whose_real_key_stands_elsewhere_is_a_fault(tmp_path: Path) -> None:
    entry = {**FIXED, "mutate_params": ["epochs"]}
    (line,) = faults_of(tmp_path, document(entry, MUTANT))
    assert line == (
        "test.json::$.experiments[0].mutate_params: is not a known key;"
        " did you mean 'mutate'? (free text: begin it with _)"
    )


def test_the_registry_has_near_misses_too(tmp_path: Path) -> None:
    registry = copy.deepcopy(toy_registry())
    registry["models"].pop("busy")
    toy = registry["models"]["toy"]
    toy["supported_hyperparams"]["epochs"]["ranges"] = [1, 2]
    toy["performance_metrics"]["speed"] = "x"
    toy["year"] = 2025
    tail = "is not a known key and is ignored"
    assert sorted(known_programs(tmp_path, registry).warnings) == [
        f"registry.json::$.models.toy.performance_metrics.speed: {tail}",
        f"registry.json::$.models.toy.supported_hyperparams.epochs.ranges: {tail}:"
        " 'range' stands beside it",
        f"registry.json::$.models.toy.year: {tail}",
    ]
    del toy["supported_hyperparams"]["epochs"]["range"]
    lines = faults_of(tmp_path, document(FIXED), registry)
    assert [line.split(": ")[1].split(";")[0] for line in lines] == [
        "is not a known key",
        "lacks 'range'",
    ]


def test_remarks_among_names_are_no_names(tmp_path: Path) -> None:
    registry = copy.deepcopy(toy_registry())
    toy = registry["models"]["toy"]
    registry["models"].update(_why="these two", note="mine")
    toy["required_args"] = {"_why": "none", "comment": "see the README", "data": "-d x"}
    toy["performance_metrics"]["log_patterns"]["note"] = "the last match counts"
    toy["environment"] = {"_comment": "not a variable", "_JAVA_OPTIONS": "-Xmx1g"}
    toy["supported_hyperparams"].update(_todo="more", comment="of mine")
    toy["performance_metrics"]["log_patterns"]["_old"] = "("
    values = {"_why": "as published", "comment": "x", "epochs": 3}
    settings = load(tmp_path, document({**FIXED, "hyperparameters": values}), registry)
    (entry,) = settings.entries
    program = entry.foreground.program
    assert entry.foreground.fixed == {"epochs": 3}
    assert entry.foreground.ignored == {}
    assert program.required_arguments == ("-d", "x")
    assert program.environment == {"_JAVA_OPTIONS": "-Xmx1g"}
    assert set(program.log_patterns) == {"accuracy"}


def test_a_name_may_read_like_a_remark_where_its_value_is_that_of_a_name(tmp_path: Path) -> None:
    registry = copy.deepcopy(toy_registry())
    parameters = registry["models"]["toy"]["supported_hyperparams"]
    parameters["note"] = {**parameters["epochs"], "flag": "--note", "comment": "a real one"}
    parameters["environment"] = {**parameters["epochs"], "flag": "--environment"}
    values = {"note": 3, "environment": 4}
    settings = load(tmp_path, document({**FIXED, "hyperparameters": values}), registry)
    assert settings.entries[0].foreground.fixed == values
    levels = {"note": [1, 2], "notes": ["both of them"], "epochs": [3, 4]}
    mutant = {**FIXED, "mutate": ["note", "epochs"], "design": {"name": "random", "levels": levels}}
    (entry,) = load(tmp_path, document(mutant), registry).entries
    assert entry.design.levels == {"note": (1, 2), "epochs": (3, 4)}
    digest = known_programs(tmp_path, registry).programs["toy"].digest
    parameters["environment"]["_WHY"] = "free text in what is no environment"
    assert known_programs(tmp_path, registry).programs["toy"].digest == digest


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("mutate_params", "mutate"),
        ("repository", "repo"),
        ("num_mutations", "runs_per_config"),
        ("hyperparameters_to_mutate", "mutate"),
        ("fixed_hyperparams", "hyperparameters"),
        ("Mode", "mode"),
        ("mdoe", "mode"),
        ("mode_2", "mode"),
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
