"""What is said of a load that failed: how its runs ended, and what it wrote last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from conftest import Project
from wattest.errors import ProcessError
from wattest.run.running import RunningLoad, explain_failure


class StubLoop:
    """A loop whose runs have ended like this; without codes it does not answer."""

    def __init__(self, codes: Mapping[str, int] | None) -> None:
        self._codes = codes

    def status(self) -> Any:
        if self._codes is None:
            raise ProcessError("the supervisor did not answer")
        return SimpleNamespace(exit_codes=self._codes)


def explained(folder: Path, codes: Mapping[str, int] | None) -> str:
    training: Any = SimpleNamespace(program=SimpleNamespace(name="busy"), model="large")
    loop: Any = StubLoop(codes)
    return explain_failure(RunningLoad(training, (), folder, loop), "is no load")


def test_the_exit_codes_so_far_are_named(tmp_path: Path) -> None:
    told = explained(tmp_path, {"7": 5, "signal 9": 1})
    codes = "exit codes so far: 7 (5 times), signal 9 (once)"
    assert told.startswith(f"background load busy/large is no load; {codes}; its last lines (")


def test_a_loop_that_does_not_answer_or_has_ended_no_run_is_explained_too(tmp_path: Path) -> None:
    for codes in (None, {}):
        assert explained(tmp_path, codes).startswith("background load busy/large is no load; its")


def test_the_end_of_a_load_cannot_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "run_1.log").write_bytes(b"\x1b]0;title\x07 \x1b[2J goodbye\n")
    told = explained(tmp_path, None)
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
