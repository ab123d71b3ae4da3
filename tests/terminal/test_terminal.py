"""What a person sees: paths from where they stand, and names as they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from wattest.terminal import shown, summary_lines


def test_a_path_is_shown_from_the_current_folder_while_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert shown(here / "a" / "b") == "a/b"
    assert shown(tmp_path / "a") == str(tmp_path / "a")
    here.rmdir()
    assert shown(here / "a") == str(here / "a")


def test_a_name_in_the_table_is_no_markup_and_no_emoji() -> None:
    headline = {
        "test_id": "toy-[bold]:bug:-1", "mutated": {}, "duration_seconds": 1.0,
        "cpu_energy_total_joules": None, "cpu_energy_estimated_joules": None,
        "gpu_energy_total_joules": None, "performance_metrics": {"hits:top:5": 0.5},
        "load_alive_share": None, "flags": [], "verdict": "valid",
    }  # fmt: skip
    _, row = summary_lines([headline])
    assert row.split() == [
        "toy-[bold]:bug:-1",
        "1.0",
        "s",
        "-",
        "-",
        "hits:top:5=0.5",
        "-",
        "valid",
    ]
