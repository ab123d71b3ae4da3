"""A load that is there and does nothing is no load: it is found out while the training runs."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from conftest import Project

OVER_A_LOAD: dict[str, Any] = {
    "foreground": {"repo": "toy", "model": "small", "hyperparameters": {"seconds": 60}},
    "background": {"repo": "busy", "model": "large", "hyperparameters": {}},
}
STOPS_ITSELF = f"""\
#!{sys.executable}
import os, signal, subprocess, sys
# A worker that sleeps stays behind; the one that works stops.
subprocess.Popen(["sleep", "600"])
sum(range(20_000_000))
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_load_that_is_stopped_midway_is_found_out(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wattest.run.activeload._LOOK_NS", 1_000_000_000)
    project.load(STOPS_ITSELF)
    project.settings(OVER_A_LOAD)
    result = project.run_here()
    assert result.ret == 1, result.stdout.str()
    came_to = project.records()[0]["foreground_result"]
    assert came_to["training_success"] is False
    assert came_to["duration_seconds"] < 40
    assert "busy/large was stopped (state T)" in came_to["error_message"]


def test_a_load_that_rests_is_flagged_and_counts(project: Project) -> None:
    project.load("#!/bin/sh\nexec sleep 600\n")
    foreground = {**OVER_A_LOAD["foreground"], "hyperparameters": {"seconds": 1.2}}
    project.settings({**OVER_A_LOAD, "foreground": foreground})
    assert project.run_here().ret == 0
    flags = project.records()[0]["foreground_result"]["quality"]["flags"]
    assert any("hardly was a load" in flag for flag in flags), flags
