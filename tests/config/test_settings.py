"""What settings say becomes values: the nearest place counts, the schema says the rest."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from planning import FIXED, MUTANT, PARALLEL, document, known_programs, load, plan

from conftest import toy_registry
from wattest.config.design import Design
from wattest.config.schema import defaults_of
from wattest.config.settings import Limits

# An entry as settings of older campaigns have them, with all that people wrote around it.
OLD = {
    "repo": "placeholder",
    "model": "placeholder",
    "mode": "parallel",
    "comment": "all of it",
    "baseline_runs": 2,
    "foreground": {**MUTANT, "mode": "mutation", "comment": "measured", "description": "x"},
    "background": {**FIXED, "description": "load only", "note": "default values"},
}
OLD_TOP: dict[str, Any] = {
    "comment": "fast models",
    "notes": ["1. placeholders", "2. load"],
    "version": "4.7.1-fixed",
    "created": "2025-12-05",
    "estimated_experiments": 43,
    "cleanup_gpu_memory": True,
    "target_completion": {"parameters": 45, "goal": "all"},
}


def test_what_is_not_said_is_the_default_of_the_schema(tmp_path: Path) -> None:
    settings = load(tmp_path, document(FIXED))
    (entry,) = settings.entries
    assert entry.limits == Limits(2, 36000, 5, None, 60)
    assert (entry.runs_per_config, entry.repetitions, entry.arms) == (None, 1, ())
    assert entry.design == Design("random")
    assert not entry.is_design_said
    assert (settings.idle_baseline_seconds, settings.cooldown_seconds) == (0, 0)
    assert settings.cooldown_limit_seconds == defaults_of("settings")["cooldown_limit_seconds"]
    assert (settings.use_deduplication, settings.historical_csvs) == (False, ())
    assert settings.experiment_name == "test"


def test_an_experiment_knows_its_place_and_its_limits(tmp_path: Path) -> None:
    own = {**PARALLEL, "timeout_seconds": 60, "gpu_memory_limit_mb": 900}
    made = plan(tmp_path, FIXED, own, max_retries=0, startup_seconds=1)
    assert [one.path for one in made.experiments] == ["$.experiments[0]", "$.experiments[1]"]
    assert [one.limits for one in made.experiments] == [
        Limits(0, 36000, 1, None),
        Limits(0, 60, 1, 900),
    ]


def test_a_load_keeps_the_pattern_that_shows_it_ready(tmp_path: Path) -> None:
    entry = {**PARALLEL, "background": {**FIXED, "ready_pattern": "^ready"}}
    (experiment,) = plan(tmp_path, entry).experiments
    pattern = experiment.backgrounds[0].ready_pattern
    assert pattern is not None
    assert pattern.search("loading\nready")
    assert experiment.foreground.ready_pattern is None


def test_runs_come_from_the_entry_then_the_foreground_then_the_file(tmp_path: Path) -> None:
    inner = {**MUTANT, "runs_per_config": 3}
    entries = [
        {**PARALLEL, "foreground": inner, "runs_per_config": 4},
        {**PARALLEL, "foreground": inner},
        PARALLEL,
    ]
    settings = load(tmp_path, document(*entries, runs_per_config=2))
    assert [entry.runs_per_config for entry in settings.entries] == [4, 3, 2]


def test_a_design_comes_from_the_entry_then_the_foreground_then_the_file(tmp_path: Path) -> None:
    inner = {**MUTANT, "design": "sobol"}
    entries = [
        {**PARALLEL, "foreground": inner, "design": {"name": "latin_hypercube"}},
        {**PARALLEL, "foreground": inner},
        MUTANT,
        FIXED,
    ]
    settings = load(tmp_path, document(*entries, design="one_at_a_time"))
    names = [entry.design.name for entry in settings.entries]
    assert names == ["latin_hypercube", "sobol", "one_at_a_time", "one_at_a_time"]


def test_free_text_in_a_design_is_none_of_its_keys(tmp_path: Path) -> None:
    levels = {"epochs": [5, 6], "_why": [1], "comment": ["of", "two"]}
    design = {"name": "factorial", "levels": levels, "_why": 1, "comment": ""}
    (entry,) = load(tmp_path, document({**MUTANT, "design": design})).entries
    assert entry.design == Design("factorial", {"epochs": (5, 6)})


def test_the_mode_follows_from_the_keys_where_none_is_named(tmp_path: Path) -> None:
    settings = load(tmp_path, document(FIXED, MUTANT, PARALLEL))
    assert [entry.mode for entry in settings.entries] == ["default", "mutation", "parallel"]


def test_all_stands_for_what_is_not_fixed(tmp_path: Path) -> None:
    entry = {**FIXED, "mutate": ["all"], "hyperparameters": {"epochs": 3}}
    foreground = load(tmp_path, document(entry)).entries[0].foreground
    assert foreground.mutate == ("learning_rate", "seconds", "exit", "metric")


def test_an_unknown_hyperparameter_is_ignored_with_a_warning(tmp_path: Path) -> None:
    settings = load(tmp_path, document({**FIXED, "hyperparameters": {"dropout": 0.5}}))
    assert settings.entries[0].foreground.ignored == {"dropout": 0.5}
    assert settings.entries[0].foreground.fixed == {}
    assert "dropout: is not passed" in settings.warnings[0]
    both = {"epochs": 3, "epoch": 4}
    settings = load(tmp_path, document({**FIXED, "hyperparameters": both}))
    assert settings.entries[0].foreground.fixed == {"epochs": 3}
    assert "epoch: is not passed" in settings.warnings[0]


def test_settings_of_older_campaigns_load_as_they_are(tmp_path: Path) -> None:
    settings = load(tmp_path, document(OLD, mode="mutation", **OLD_TOP))
    assert [(entry.mode, entry.foreground.mutate) for entry in settings.entries] == [
        ("parallel", ("epochs",))
    ]
    ignored = ["cleanup_gpu_memory", "created", "estimated_experiments", "target_completion"]
    ignored += ["version", "experiments[0].baseline_runs"]
    assert sorted(settings.warnings) == sorted(
        f"test.json::$.{key}: is not a known key and is ignored" for key in ignored
    )


@pytest.mark.parametrize("script", ["train.sh", "./train.sh", "bin/train.sh", "/bin/train.sh"])
def test_a_script_is_never_looked_for_on_the_path(tmp_path: Path, script: str) -> None:
    registry = toy_registry()
    registry["models"]["toy"]["train_script"] = script
    program = known_programs(tmp_path, registry).programs["toy"]
    assert program.script == ("./train.sh" if script == "train.sh" else script)


def test_what_has_no_effect_is_warned_about(tmp_path: Path) -> None:
    settings = load(tmp_path, document({**FIXED, "baseline": "both"}, historical_csvs=["old.csv"]))
    assert settings.warnings == (
        "test.json::$.experiments[0].baseline: is ignored: only a parallel experiment has a load",
        "test.json::$.historical_csvs: is not used unless use_deduplication is true",
    )


def test_a_model_beside_a_foreground_that_trains_another_is_warned_about(tmp_path: Path) -> None:
    settings = load(tmp_path, document({"repo": "toy", "model": "large", **PARALLEL}))
    (warning,) = settings.warnings
    assert warning.endswith("[0].model: is ignored: the foreground trains 'small'")


def test_free_text_changes_no_digest_and_everything_else_does(tmp_path: Path) -> None:
    plain = load(tmp_path, document(FIXED)).digest
    assert load(tmp_path, document({**FIXED, "note": "x"}, _why=["y"])).digest == plain
    assert load(tmp_path, document({**FIXED, "max_retries": 2})).digest != plain
    registry = copy.deepcopy(toy_registry())
    before = plan(tmp_path, FIXED).program_digests
    registry["models"]["toy"]["notes"] = "mine"
    assert plan(tmp_path, FIXED, known=registry).program_digests == before
    registry["models"]["toy"]["required_args"] = {"data": "-d x"}
    assert plan(tmp_path, FIXED, known=registry).program_digests != before


@pytest.mark.parametrize(
    ("entry", "programs"),
    [
        (FIXED, ["toy"]),
        ({**PARALLEL, "background": {"repo": "busy", "model": "small"}}, ["busy", "toy"]),
    ],
)
def test_a_plan_holds_the_digest_of_every_program_that_it_runs(
    tmp_path: Path, entry: dict[str, Any], programs: list[str]
) -> None:
    made = plan(tmp_path, entry)
    assert list(made.program_digests) == programs
    assert made.experiments[0].program_digests == made.program_digests
    assert made.settings_digest == made.settings.digest
