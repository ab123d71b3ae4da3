"""Records with parts that no version wrote: named as damage, or passed over; never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import wattest
from benchmarks.campaigns import Campaign, Figures
from wattest.cli import main

OUTCOME, WINDOW = ("foreground_result",), ("background_info", "window")
DOMAINS = (*OUTCOME, "energy_provenance", "domains")
FAULTY: list[tuple[tuple[str | int, ...], Any]] = [
    ((*OUTCOME, "duration_seconds"), "1e999"),
    ((*OUTCOME, "duration_seconds"), "9" * 400),
    ((*OUTCOME, "cpu_use"), "true"),
    ((*OUTCOME, "cpu_use", "other_share"), "{}"),
    ((*OUTCOME, "attempts"), "[null]"),
    ((*OUTCOME, "attempts", 0, "energy_folder"), "true"),
    ((*OUTCOME, "epochs"), '[{"epoch": 1, "seen_seconds": "late"}]'),
    ((*OUTCOME, "quality", "thresholds"), "true"),
    ((*OUTCOME, "energy_provenance", "window"), "7"),
    ((*OUTCOME, "energy_provenance", "window", "duration_seconds"), '"long"'),
    ((*DOMAINS, "gpu", "uuids"), "[{}]"),
    ((*DOMAINS, "gpu", "resolution_joules"), "[]"),
    ((*DOMAINS, "gpu", "gpus", 0, "throttled_seconds", "power_cap"), '""'),
    ((*DOMAINS, "cpu_pkg", "source"), "{}"),
    (("environment", "idle"), '{"watts": true}'),
    (("background_info", "hyperparameters"), "true"),
    ((*WINDOW, "alive_share"), '""'),
    ((*WINDOW, "runs"), '[{"started_seconds": "soon"}]'),
]
HARMLESS: list[tuple[tuple[str | int, ...], Any]] = [
    (("timestamp",), '"yesterday"'),
    (("timestamp",), '"2026-11-01T10:00:00+01:00"'),
    ((*OUTCOME, "duration_seconds"), "1e308"),
    ((*OUTCOME, "quality", "reasons"), "[null]"),
    ((*OUTCOME, "energy_provenance", "window", "duration_seconds"), "-1"),
    (("plan", "position"), "[]"),
    (("environment", "host"), "[]"),
    (("environment", "gpus"), '{"gpus": {}}'),
    ((*WINDOW, "work"), '{"unit": [], "amount": "much"}'),
]


def replaced(path: Path, place: tuple[str | int, ...], text: str) -> None:
    """Put JSON at a place of a record."""
    document = json.loads(path.read_text())
    part = document
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = "HERE"
    path.write_text(json.dumps(document).replace('"HERE"', text))


def leave(folder: Path, place: tuple[str | int, ...], text: str) -> Path:
    """Leave two pairs, one half of which is odd; returns that."""
    campaign = Campaign(folder)
    campaign.pair({"learning_rate": 0.1}, Figures(), Figures().times(1.2, 1.1, 1.3))
    odd, _ = campaign.pair({"learning_rate": 0.2}, Figures(), Figures().times(1.3, 1.2, 1.4))
    replaced(odd, place, text)
    return odd


@pytest.mark.parametrize(("place", "text"), FAULTY)
def test_what_cannot_be_true_is_named_and_counts_for_nothing(
    place: tuple[str | int, ...], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = leave(tmp_path, place, text)
    for form in ("markdown", "json"):
        assert main(["report", str(tmp_path), "--format", form]) == 0
        assert f"{odd.name}: is no valid record" in capsys.readouterr().err
    assert main(["attribute", str(tmp_path)]) == 0
    assert len(wattest.read_rows(tmp_path)) == 3
    assert main(["show", str(odd)]) == 4
    assert "cannot be read as a record" in capsys.readouterr().err


@pytest.mark.parametrize(("place", "text"), HARMLESS)
def test_what_nobody_needs_may_be_anything(
    place: tuple[str | int, ...], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = leave(tmp_path, place, text)
    for form in ("markdown", "json", "csv"):
        assert main(["report", str(tmp_path), "--format", form]) == 0
        assert "warning" not in capsys.readouterr().err
    assert main(["attribute", str(tmp_path)]) == 0
    assert len(wattest.read_results(tmp_path)) == 4
    assert main(["show", str(odd)]) == 0
    assert main(["show", str(odd), "-o", str(tmp_path / "odd.svg")]) == 0
