"""A load that is there and does nothing is no load: it is found out while the training runs."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conftest import Project, await_until
from wattest.process import LoopStatus
from wattest.run.judge import ActiveLoad, LoadEdge
from wattest.run.running import RunningLoad, run_delay_seconds

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


def refusal(project: Project) -> str:
    """Run, and return why the experiment did not count, long before the training's end."""
    project.settings(OVER_A_LOAD)
    result = project.run(timeout=50)
    assert result.ret == 1, result.stdout.str()
    result_of = project.records()[0]["foreground_result"]
    assert result_of["training_success"] is False
    assert result_of["duration_seconds"] < 40
    return str(result_of["error_message"])


def test_a_load_that_is_stopped_midway_is_found_out(project: Project) -> None:
    project.load(STOPS_ITSELF)
    assert "busy/large was stopped (state T)" in refusal(project)


def test_a_load_that_wants_to_run_and_gets_no_cpu_time_is_starved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here the scheduler is a stub: starving a process for real takes rights that tests lack."""
    delays = iter([3.0, 4.9])
    monkeypatch.setattr("wattest.run.judge.run_delay_seconds", lambda pids: next(delays))
    load = ActiveLoad([running_load(pids=(os.getpid(),))])
    edges = [LoadEdge((status(at),)) for at in (0, 2, 4)]
    assert load.falls_short(edges[0], edges[0], edges[1]) is None
    trouble = load.falls_short(edges[0], edges[1], edges[2])
    assert trouble is not None
    assert "busy/large was starved: in 2.0 s it was ready to run for 1.9 s" in trouble


def test_a_load_that_wants_nothing_is_not_starved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wattest.run.judge.run_delay_seconds", lambda pids: 3.0)
    load = ActiveLoad([running_load(pids=(os.getpid(),))])
    edges = [LoadEdge((status(at),)) for at in (0, 2, 4, 6)]
    for before, after in pairwise(edges):
        assert load.falls_short(edges[0], before, after) is None


def test_the_run_delay_of_two_that_share_a_cpu_grows() -> None:
    cpu = min(os.sched_getaffinity(0))
    source = f"import os; os.sched_setaffinity(0, {{{cpu}}})\nwhile True: pass"
    rivals = [subprocess.Popen([sys.executable, "-c", source]) for _ in range(2)]
    try:
        pids = [one.pid for one in rivals]
        await_until(lambda: run_delay_seconds(pids) >= 0.3, "they wait for each other")
    finally:
        for one in rivals:
            one.kill()
            one.wait()


def running_load(pids: tuple[int, ...]) -> RunningLoad:
    """Return a load whose loop is a stub with these processes."""
    training = SimpleNamespace(program=SimpleNamespace(name="busy"), model="large")
    loop = SimpleNamespace(pids=lambda: pids)
    return RunningLoad(training, (), Path(), loop)  # type: ignore[arg-type]


def status(at_seconds: float) -> LoopStatus:
    """Return the state of a loop that is always alive and uses no CPU time."""
    now_ns = int(at_seconds * 1e9)
    return cast(LoopStatus, SimpleNamespace(now_ns=now_ns, alive_ns=now_ns, cpu_seconds=0.0))


def test_a_load_that_rests_is_flagged_and_counts(project: Project) -> None:
    project.load("#!/bin/sh\nexec sleep 600\n")
    foreground = {**OVER_A_LOAD["foreground"], "hyperparameters": {"seconds": 2.5}}
    project.settings({**OVER_A_LOAD, "foreground": foreground})
    assert project.run_here().ret == 0
    flags = project.records()[0]["foreground_result"]["quality"]["flags"]
    assert any("hardly was a load" in flag for flag in flags), flags


def with_pattern(project: Project, load: str, pattern: str) -> None:
    """Let this program be a load that is ready once its log shows the pattern."""
    project.load(load)
    foreground = {**OVER_A_LOAD["foreground"], "hyperparameters": {"seconds": 0.3}}
    background = {**OVER_A_LOAD["background"], "ready_pattern": pattern}
    project.settings({"foreground": foreground, "background": background})


def test_a_load_that_was_ready_stays_ready_whatever_it_says_later(project: Project) -> None:
    load = "#!/bin/sh\necho READY\nyes 'another line' | head -n 100000\nexec sleep 60\n"
    with_pattern(project, load, "^READY$")
    assert project.run_here().ret == 0
    proof = project.records()[0]["background_info"]["start"]
    assert proof["ready_pattern_matched"] is True
    assert proof["waited_seconds"] < 5


def test_a_load_that_never_becomes_ready_fails_the_experiment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wattest.run.background.READY_LIMIT_SECONDS", 1.0)
    with_pattern(project, "#!/bin/sh\necho NOT READY\nexec sleep 60\n", "^READY$")
    result = project.run_here()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*busy/large is not ready after 1 s*", "*NOT READY*"])
