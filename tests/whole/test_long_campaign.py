"""A campaign as it happens: baselines, two loads, a program that fails, a kill, and a resume."""

from __future__ import annotations

import signal
import sys
from collections import Counter

from livesession import LiveSession

from conftest import Project

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
        entry, runs_per_config=2, repetitions=2, baseline=True, max_retries=2, startup_seconds=0.2
    )
    with LiveSession(project) as session:
        session.until(lambda: len(project.records()) >= 3, "three records", 60)
        session.send(signal.SIGKILL)
        session.wait()
    resumed = project.run("--resume", timeout=120)
    assert resumed.ret == 0, resumed.stdout.str()
    rows = project.rows(newest=True)
    assert len(rows) == 8
    assert len({row["test_id"] for row in rows}) == 8
    assert Counter(row["mode"] for row in rows) == {"parallel": 4, "mutation": 4}
    assert Counter(row["block"] for row in rows) == {"1": 4, "2": 4}
    assert set(Counter(row["hyperparam_learning_rate"] for row in rows).values()) == {4}
    assert {row["training_success"] for row in rows} == {"True"}
    assert sum(int(row["retries"]) for row in rows) >= 2
    assert sum(bool(row["pair_slowdown"]) for row in rows) == 4
    loads = Counter((row["bg_repository"], row["bg_model"]) for row in rows)
    assert loads == {("", ""): 4, ("busy+busy", "large+small"): 4}
    assert {float(row["bg_alive_share"]) > 0.9 for row in rows if row["bg_model"]} == {True}
    again = project.run_here("--resume")
    assert again.ret == 0
    again.stdout.fnmatch_lines(["resume: 8 of 8 experiments found finished, 0 left"])
