"""The arms of an experiment: over its load, alone, and the load alone, each with its record."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from conftest import LOAD, Project
from wattest.config.schema import schema_faults

FOREGROUND: dict[str, Any] = {
    "repo": "toy", "model": "small", "mutate": ["epochs"], "hyperparameters": {"seconds": 0.3},
}  # fmt: skip
BOTH: dict[str, Any] = {"foreground": FOREGROUND, "background": LOAD, "baseline": "both"}


def by_arm(project: Project) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for record in project.records():
        assert schema_faults(record, "result", "record") == []
        arm = {"parallel": "parallel", "load": "load"}.get(record["mode"], "alone")
        found.setdefault(arm, []).append(record)
    return found


def test_the_load_is_measured_alone_as_long_as_its_partner_took(
    project: Project, sysfs: Path
) -> None:
    project.settings(BOTH, seed=5)
    result = project.run_here("--sysfs", str(sysfs))
    assert result.ret == 0, result.stdout.str()
    arms = by_arm(project)
    assert {name: len(records) for name, records in arms.items()} == dict.fromkeys(arms, 1)
    ((loaded,), (alone,), (load,)) = (arms[name] for name in ("parallel", "alone", "load"))
    partner = loaded["foreground_result"]
    assert load["plan"]["partner"] == loaded["plan"]["test_id"]
    assert load["load_alone"]["seconds"] == partner["duration_seconds"]
    assert load["load_alone"]["reason"] == f"as long as {loaded['plan']['test_id']} took"
    assert load["duration_seconds"] == pytest.approx(partner["duration_seconds"], abs=0.1)
    assert (load["repository"], load["model"]) == ("busy", "large")
    assert load["energy_metrics"]["attribution"] == "load"
    watts = load["energy_metrics"]["cpu_energy_pkg_joules"] / load["duration_seconds"]
    assert watts == pytest.approx(50, rel=0.1)
    assert load["background_info"]["window"]["alive_share"] == 1
    half = load["load_alone"]["half_seconds"]
    assert half == pytest.approx(load["duration_seconds"] / 2, abs=0.1)
    # Counted at that moment: within so short a window the counter is never due.
    whole = load["energy_metrics"]["cpu_energy_pkg_joules"]
    assert 0 < load["load_alone"]["half_cpu_joules"] < whole
    (pair,) = [half["pair"] for half in (loaded, alone) if half.get("pair")]
    assert pair["alone_experiment_id"] == alone["experiment_id"]
    assert load.get("pair") is None
    assert {row["mode"] for row in project.rows()} == {"parallel", "mutation", "load"}


def test_arms_are_selected_by_name_and_mark(project: Project) -> None:
    project.settings(BOTH, repetitions=3, runs_per_config=2, seed=5)

    def ids(*words: str) -> set[str]:
        shown = project.run_here("--collect-only", "-q", *words).stdout.str()
        return set(re.findall(r"test_training\[(.*)\]", shown))

    assert len(ids()) == 18
    loads = ids("-m", "experiment(arm='load')")
    assert loads == ids("-k", "load") == ids("-m", "load")
    assert len(loads) == 6
    assert ids("-m", "experiment(arm='parallel')") == ids("-m", "parallel")
    plan = project.plan()
    place = {one.id: (one.block, at) for at, one in enumerate(plan.experiments)}
    for one in plan.experiments:
        if one.arm == "load":
            assert place[one.partner or ""][0] == one.block
            assert place[one.partner or ""] < place[one.id], "the partner comes first"


@pytest.mark.parametrize(
    ("said", "arms"),
    [
        (False, {"parallel"}),
        (True, {"parallel", "alone"}),
        ("alone", {"parallel", "alone"}),
        ("load", {"parallel", "load"}),
    ],
)
def test_only_the_arms_that_are_asked_for_run(
    project: Project, said: object, arms: set[str]
) -> None:
    project.settings({**BOTH, "baseline": said}, seed=5)
    assert {one.arm for one in project.plan().experiments} == arms


def test_without_a_partner_that_ended_the_settings_say_how_long(project: Project) -> None:
    project.settings(BOTH, seed=5, load_seconds=0.4)
    assert project.run_here("-m", "load").ret == 0
    (load,) = project.records()
    assert load["duration_seconds"] == pytest.approx(0.4, abs=0.1)
    assert load["load_alone"]["reason"].startswith("load_seconds: ")


def test_a_load_that_dies_alone_does_not_count(project: Project) -> None:
    project.load("#!/bin/sh\nsleep 0.6\nexit 3\n")
    project.settings({**BOTH, "baseline": "load"}, seed=5, load_seconds=20)
    result = project.run_here("-m", "load")
    assert result.ret == 1
    (load,) = project.records()
    assert load["quality"]["verdict"] == "invalid"
    assert load["duration_seconds"] is None or load["duration_seconds"] < 19


def test_idle_is_measured_anew_for_each_block(project: Project, sysfs: Path) -> None:
    entry = {"repo": "toy", "model": "small", "hyperparameters": {"seconds": 0.3}}
    project.settings(entry, repetitions=2, idle="block", idle_baseline_seconds=0.6, seed=5)
    assert project.run_here("--sysfs", str(sysfs)).ret == 0
    told = [record["environment"]["idle"] for record in project.records()]
    assert sorted(one["block"] for one in told) == [1, 2]
    assert told[0]["watts"]["package-0"] != told[1]["watts"]["package-0"]
    folders = {path.name for path in (project.path / "results").glob("sessions/*/idle*")}
    assert folders == {"idle_1", "idle_2"}
