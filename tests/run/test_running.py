"""What is said of a load that failed, and of one that wants to run and cannot."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conftest import Project
from wattest.errors import ProcessError
from wattest.process import LoopStatus
from wattest.run.running import RunningLoad


class StubLoop:
    """A loop of this very process whose runs have ended like this; without codes it is mute."""

    def __init__(self, codes: Mapping[str, int] | None = None) -> None:
        self._codes = codes

    def pids(self) -> tuple[int, ...]:
        return (os.getpid(),)

    def status(self) -> Any:
        if self._codes is None:
            raise ProcessError("the supervisor did not answer")
        return SimpleNamespace(exit_codes=self._codes)


def load(folder: Path = Path(), codes: Mapping[str, int] | None = None) -> RunningLoad:
    training: Any = SimpleNamespace(program=SimpleNamespace(name="busy"), model="large")
    loop: Any = StubLoop(codes)
    return RunningLoad(training, (), folder, loop)


def status(at_seconds: float) -> LoopStatus:
    """Return the state of a loop that is always alive and uses no CPU time."""
    now_ns = int(at_seconds * 1e9)
    return cast(LoopStatus, SimpleNamespace(now_ns=now_ns, alive_ns=now_ns, cpu_seconds=0.0))


def test_the_exit_codes_so_far_are_named(tmp_path: Path) -> None:
    told = load(tmp_path, {"7": 5, "signal 9": 1}).explain("is no load")
    codes = "exit codes so far: 7 (5 times), signal 9 (once)"
    assert told.startswith(f"background load busy/large is no load; {codes}; its last lines (")
    assert told.endswith("out of memory: see dmesg | grep -i oom")


def test_a_loop_that_does_not_answer_or_has_ended_no_run_is_explained_too(tmp_path: Path) -> None:
    for codes in (None, {}):
        told = load(tmp_path, codes).explain("is no load")
        assert told.startswith("background load busy/large is no load; its")


def test_the_end_of_a_load_cannot_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "run_1.log").write_bytes(b"\x1b]0;title\x07 \x1b[2J goodbye\n")
    told = load(tmp_path).explain("is no load")
    assert "\x1b" not in told
    assert r"\x1b]0;title\x07 \x1b[2J goodbye" in told


def test_a_load_that_dies_at_once_fails_the_experiment_with_its_exit_codes(
    project: Project,
) -> None:
    project.load("#!/bin/sh\nexit 7\n")
    training = {"model": "small", "hyperparameters": {"seconds": 30}}
    entry = {"foreground": {"repo": "toy", **training}, "background": {"repo": "busy", **training}}
    project.settings(entry, startup_seconds=5)
    result = project.run_here()
    assert result.ret == 1
    result.stdout.re_match_lines([r".*busy/small.*; exit codes so far: 7 \(\d+ times\);.*"])


def test_a_load_that_wants_to_run_and_gets_no_cpu_time_is_starved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here the scheduler is a stub: starving a process for real takes rights that tests lack."""
    delays = iter([3.0, 4.9])
    monkeypatch.setattr("wattest.run.liveness.run_delay_seconds", lambda pids: next(delays))
    first, second, third = (status(at) for at in (0, 2, 4))
    one = load()
    assert one.falls_short(first, first, second) is None
    trouble = one.falls_short(first, second, third)
    assert trouble is not None
    assert "busy/large was starved: in 2.0 s it was ready to run for 1.9 s" in trouble


def test_a_load_that_wants_nothing_is_not_starved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wattest.run.liveness.run_delay_seconds", lambda pids: 3.0)
    one, states = load(), [status(at) for at in (0, 2, 4, 6)]
    for before, after in pairwise(states):
        assert one.falls_short(states[0], before, after) is None
