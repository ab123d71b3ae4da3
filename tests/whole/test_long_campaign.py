"""A campaign as it happens: baselines, two loads, a program that fails, a kill, and a resume."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from conftest import Project, quick_pytest

# Fails every third time that it is run.
FLAKY = f"""\
#!{sys.executable}
import fcntl, sys, time
with open("count", "a+") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write("x")
    file.flush()
    file.seek(0)
    runs = len(file.read())
time.sleep(0.15)
print("Accuracy: 80")
sys.exit(1 if runs % 3 == 0 else 0)
"""
LOAD = f"#!{sys.executable}\nwhile True: sum(range(1000))\n"


def test_a_killed_campaign_is_resumed_to_a_complete_and_balanced_table(project: Project) -> None:
    project.program("toy", FLAKY)
    project.load(LOAD)
    load = {"repo": "busy", "model": "large", "hyperparameters": {}}
    entry = {
        "foreground": {"repo": "toy", "model": "small", "mutate": ["learning_rate"]},
        "background": [load, {**load, "model": "small"}],
    }
    project.settings(
        entry, runs_per_config=3, repetitions=2, baseline=True, max_retries=2, startup_seconds=0.2
    )
    kill_midway(project, records=4)
    resumed = project.run("--resume", timeout=120)
    assert resumed.ret == 0, resumed.stdout.str()
    rows = table(project)
    assert len(rows) == 12
    assert len({row["test_id"] for row in rows}) == 12
    assert Counter(row["mode"] for row in rows) == {"parallel": 6, "mutation": 6}
    assert Counter(row["block"] for row in rows) == {"1": 6, "2": 6}
    assert set(Counter(row["hyperparam_learning_rate"] for row in rows).values()) == {4}
    assert {row["training_success"] for row in rows} == {"True"}
    assert sum(int(row["retries"]) for row in rows) >= 3
    assert sum(bool(row["pair_slowdown"]) for row in rows) == 6
    loads = Counter((row["bg_repository"], row["bg_model"]) for row in rows)
    assert loads == {("", ""): 6, ("busy+busy", "large+small"): 6}
    assert {float(row["bg_alive_share"]) > 0.9 for row in rows if row["bg_model"]} == {True}
    again = project.run_here("--resume")
    assert again.ret == 0
    again.stdout.fnmatch_lines(["resume: 12 of 12 experiments found finished, 0 left"])


def kill_midway(project: Project, records: int) -> None:
    """Run the campaign and kill it with SIGKILL once it has left some records."""
    command = quick_pytest("experiments")
    process = subprocess.Popen(
        [*command, "--config", "settings/test.json"],
        cwd=project.path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while len(list((project.path / "results").glob("*.json"))) < records:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)


def table(project: Project) -> list[dict[str, str]]:
    """Return the rows of the latest session."""
    sessions = sorted((project.path / "results/sessions").glob("*/experiments.csv"), key=when)
    with sessions[-1].open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def when(path: Path) -> float:
    return path.stat().st_mtime
