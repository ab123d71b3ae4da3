"""Campaigns as a whole: baselines and pairs, pauses, several loads, and the CSV of a session."""

from __future__ import annotations

import re
from typing import Any

import pytest

from conftest import LOAD, Project

TOY: dict[str, Any] = {"repo": "toy", "model": "small", "hyperparameters": {"seconds": 0.3}}


def test_a_baseline_runs_the_same_values_alone_and_the_second_tells_the_slowdown(
    project: Project,
) -> None:
    foreground = {**TOY, "mutate": ["learning_rate"]}
    entry = {"foreground": foreground, "background": LOAD, "baseline": True}
    project.settings(entry, runs_per_config=2, seed=8)
    result = project.run_here()
    assert result.ret == 0, result.stdout.str()
    records = {record["plan"]["test_id"]: record for record in project.records()}
    assert len(records) == 4
    loaded = [one for one in records.values() if one["mode"] == "parallel"]
    assert len(loaded) == 2
    for one in loaded:
        alone = records[one["plan"]["partner"]]
        values = one["foreground_result"]["hyperparameters"]
        assert alone["hyperparameters"] == values
        assert "background_info" not in alone
        assert alone["plan"]["partner"] == one["plan"]["test_id"]
        (pair,) = [half["pair"] for half in (one, alone) if half.get("pair")]
        assert pair["loaded_experiment_id"] == one["experiment_id"]
        assert pair["alone_experiment_id"] == alone["experiment_id"]
        durations = one["foreground_result"]["duration_seconds"], alone["duration_seconds"]
        assert abs(pair["slowdown"] - durations[0] / durations[1]) < 1e-9
        assert pair["metric_differences"] == {"accuracy": 0.0}
    rows = project.rows()
    assert sorted(row["experiment_id"] for row in rows) == sorted(
        record["experiment_id"] for record in records.values()
    )
    assert sum(bool(row["pair_slowdown"]) for row in rows) == 2
    result.stdout.fnmatch_lines(["*pair *with load against alone: duration x*"])


def test_the_pair_of_a_resumed_campaign_finds_its_first_half(project: Project) -> None:
    entry = {"foreground": TOY, "background": LOAD, "baseline": True}
    project.settings(entry, seed=8)
    assert project.run_here("-m", "parallel").ret == 0
    assert project.run_here("--resume").ret == 0
    (alone,) = [record for record in project.records() if record["mode"] == "default"]
    (loaded,) = [record for record in project.records() if record["mode"] == "parallel"]
    assert alone["pair"]["loaded_experiment_id"] == loaded["experiment_id"]


def test_a_pause_waits_for_the_machine_but_not_beyond_its_limit(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wattest.session.preflight.REFERENCE_SECONDS", 0.2)
    monkeypatch.setattr("wattest.session.preflight._PERIOD_SECONDS", 0.2)
    project.settings(
        TOY, {**TOY, "model": "large"}, cooldown_seconds=0.3, cooldown_limit_seconds=0.5
    )
    result = project.run_here()
    assert result.ret == 0, result.stdout.str()
    first, second = sorted(project.records(), key=lambda record: record["plan"]["position"])
    assert first["cooldown"] is None
    assert 0.3 <= second["cooldown"]["waited_seconds"] < 5
    assert second["cooldown"]["limit_seconds"] == 0.5
    assert second["cooldown"]["reached_idle"] in (True, False)
    result.stdout.fnmatch_lines(["*cool-down *idle*after * s"])


def test_several_loads_run_at_once_each_with_logs_of_its_own(project: Project) -> None:
    project.settings({"foreground": TOY, "background": [LOAD, {**LOAD, "model": "small"}]})
    result = project.run_here()
    assert result.ret == 0, result.stdout.str()
    (record,) = project.records()
    loads = [record["background_info"], *record["further_backgrounds"]]
    assert [load["model"] for load in loads] == ["large", "small"]
    for load in loads:
        assert load["window"]["alive_share"] > 0.9
        assert load["stop"]["survivors"] == []
    folder = project.path / "results" / f"background_logs_{record['experiment_id']}"
    logs = sorted(str(log.relative_to(folder)) for log in folder.rglob("run_*.log"))
    assert logs == ["1_large/run_1.log", "2_small/run_1.log"]
    for log, model in zip(logs, ("large", "small"), strict=True):
        assert re.search(rf"\|-n\|{model}\|", (folder / log).read_text())


def test_the_csv_has_one_row_per_experiment_also_for_those_that_failed(project: Project) -> None:
    failing = {**TOY, "model": "large", "hyperparameters": {"seconds": 0.1, "exit": 3}}
    project.settings(TOY, failing)
    assert project.run_here().ret == 1
    rows = {row["model"]: row for row in project.rows()}
    assert rows["small"]["training_success"] == "True"
    assert rows["small"]["perf_accuracy"] == "91.5"
    assert float(rows["small"]["hyperparam_seconds"]) == 0.3
    assert rows["large"]["training_success"] == "False"
    assert "exit code 3" in rows["large"]["error_message"]
    for record in project.records():
        joules = record["energy_metrics"]["gpu_energy_total_joules"]
        told = rows[record["model"]]["energy_gpu_total_joules"]
        assert told == ("" if joules is None else str(joules)), "not measured is empty, never 0"
