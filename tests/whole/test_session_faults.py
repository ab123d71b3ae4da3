"""Whatever ends a session: nothing of it survives, and what was interrupted says so."""

from __future__ import annotations

import json
import os
import signal
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from livesession import LiveSession, Stage
from oracle import proc_file

from conftest import Project

INTERRUPTED = 2
ENDINGS: dict[str, Callable[[LiveSession], None]] = {
    "SIGINT": lambda session: session.send(signal.SIGINT),
    "SIGTERM": lambda session: session.send(signal.SIGTERM),
    "SIGHUP": lambda session: session.send(signal.SIGHUP),
    "Ctrl-C on a terminal": lambda session: session.type(b"\x03"),
    "hang-up of the terminal": lambda session: session.hang_up(),
}
SIGNAL_OF = {"Ctrl-C on a terminal": "SIGINT", "hang-up of the terminal": "SIGHUP"}


def foreground_of(project: Project) -> dict[str, Any]:
    """Return the foreground's part of the only record."""
    record = project.record()
    result: dict[str, Any] = record.get("foreground_result", record)
    return result


def assert_whole(results: Path) -> None:
    """Assert that every document in the folder is one, and that nothing half-written is left."""
    for path in results.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    assert not list(results.rglob("*.tmp"))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_session_ended_in_order_leaves_a_record_and_no_process(
    project: Project, ending: str
) -> None:
    stage = Stage(project, foreground="loader", load="polite")
    with LiveSession(project, "--junitxml=report.xml", terminal="terminal" in ending) as session:
        stage.await_births(session)
        ENDINGS[ending](session)
        assert session.wait() == INTERRUPTED, session.output()
        assert session.left(*stage.oracles) == []
    result = foreground_of(project)
    assert result["training_success"] is False
    name = SIGNAL_OF.get(ending, ending)
    assert f"interrupted before the experiment was done ({name} " in result["error_message"]
    assert result["attempts"][0]["interrupted"] is True
    assert result["duration_seconds"] > 0
    assert_whole(project.path / "results")
    suite = ElementTree.parse(project.path / "report.xml").getroot()
    assert suite.find("testsuite") is not None
    if "hang-up" not in ending and ending != "SIGHUP":
        assert "nothing left" in session.output()
        assert "Traceback" not in session.output()


def test_a_second_ctrl_c_cuts_the_grace_short_and_leaks_nothing(project: Project) -> None:
    stage = Stage(project, foreground="polite", load="stubborn")
    foreground, _ = stage.oracles
    with LiveSession(project, terminal=True) as session:
        stage.await_births(session)
        session.type(b"\x03")
        session.until(lambda: not foreground.sightings(), "the foreground is gone")
        session.type(b"\x03")
        assert session.wait(8) == INTERRUPTED, session.output()
        assert session.left(*stage.oracles) == []
    assert "interrupted" in foreground_of(project)["error_message"]


def test_many_signals_at_once_leave_a_record_and_no_process(project: Project) -> None:
    stage = Stage(project)
    with LiveSession(project) as session:
        stage.await_births(session)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            session.send(number)
        assert session.wait() == INTERRUPTED, session.output()
        assert session.left(*stage.oracles) == []
    assert "interrupted" in foreground_of(project)["error_message"]


@pytest.mark.parametrize("child", ["zoo", "session-hopper"])
def test_sigkill_of_pytest_leaves_no_process_and_nothing_half_written(
    project: Project, child: str
) -> None:
    stage = Stage(project, foreground=child, load="zoo")
    with LiveSession(project) as session:
        stage.await_births(session, 15)
        session.send(signal.SIGKILL)
        assert session.wait() == -signal.SIGKILL
        assert session.left(*stage.oracles) == []
    assert project.records() == []
    assert_whole(project.path / "results")


FATAL = """\
import ctypes, os, time
import pytest

@pytest.fixture
def ending():
    {ending}

def test_training(experiment, background_load, foreground, recorder, request):
    with recorder.recording(experiment) as outcome:
        with background_load.running(experiment, outcome) as load:
            request.getfixturevalue("ending")
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [("os._exit(3)", 3), ("ctypes.string_at(0)", -signal.SIGSEGV)],
)
def test_a_crash_of_pytest_leaves_no_process(project: Project, ending: str, code: int) -> None:
    stage = Stage(project, load="zoo")
    (project.path / "experiments" / "test_training.py").write_text(FATAL.format(ending=ending))
    with LiveSession(project, "-p", "no:faulthandler") as session:
        assert session.wait() == code, session.output()
        assert session.left(*stage.oracles) == []
    assert stage.oracles[1].births()
    assert_whole(project.path / "results")


def test_an_error_in_the_test_itself_stops_the_load_and_is_recorded(project: Project) -> None:
    stage = Stage(project, load="polite")
    program = FATAL.format(ending="raise RuntimeError('a fault of the test')")
    (project.path / "experiments" / "test_training.py").write_text(program)
    with LiveSession(project) as session:
        assert session.wait() == 1, session.output()
        assert session.left(*stage.oracles) == []
    assert "a fault of the test" in foreground_of(project)["error_message"]


def worker_of(session: LiveSession) -> int:
    """Return the PID of the one xdist worker."""
    children = Path(f"/proc/{session.pid}/task/{session.pid}/children").read_text().split()
    lines = {int(pid): proc_file(int(pid), "cmdline") for pid in children}
    (worker,) = [pid for pid, line in lines.items() if b"execnet" in line or b"exec(eval" in line]
    return worker


def test_a_killed_xdist_worker_leaves_no_process(project: Project) -> None:
    stage = Stage(project)
    with LiveSession(project, "-n", "1", "--max-worker-restart=0") as session:
        stage.await_births(session)
        os.kill(worker_of(session), signal.SIGKILL)
        assert session.wait() == 1, session.output()
        assert session.left(*stage.oracles) == []
    assert_whole(project.path / "results")


def test_a_killed_xdist_controller_leaves_no_process(project: Project) -> None:
    stage = Stage(project)
    with LiveSession(project, "-n", "1") as session:
        stage.await_births(session)
        session.send(signal.SIGKILL)
        session.wait()
        assert session.left(*stage.oracles) == []
    assert_whole(project.path / "results")


def test_sigterm_of_an_xdist_controller_ends_its_worker_in_order(project: Project) -> None:
    stage = Stage(project)
    with LiveSession(project, "-n", "1") as session:
        stage.await_births(session)
        session.send(signal.SIGTERM)
        assert session.wait() == INTERRUPTED, session.output()
        assert session.left(*stage.oracles) == []
    assert "interrupted" in foreground_of(project)["error_message"]


def test_a_timeout_ends_the_tree_and_is_tried_again(project: Project) -> None:
    stage = Stage(project, foreground="loader", load="polite")
    stage.settings(timeout_seconds=0.7, max_retries=1)
    with LiveSession(project) as session:
        assert session.wait(40) == 1, session.output()
        assert session.left(*stage.oracles) == []
    result = foreground_of(project)
    assert [attempt["timed_out"] for attempt in result["attempts"]] == [True, True]
    assert "timed out after 0.7 s" in result["error_message"]
    assert result["duration_seconds"] >= 0.7
    assert result["attempts"][0]["last_lines"] == ["toy begins"]


def test_a_timeout_ends_the_tree_while_pytest_is_held_up(project: Project) -> None:
    stage = Stage(project, foreground="polite", load="polite")
    stage.settings(timeout_seconds=2)
    foreground, _ = stage.oracles
    with LiveSession(project) as session:
        stage.await_births(session)
        session.send(signal.SIGSTOP)
        assert foreground.await_end(10) == []
        session.send(signal.SIGCONT)
        assert session.wait() == 1, session.output()
        assert session.left(*stage.oracles) == []
    result = foreground_of(project)
    assert "timed out after 2 s" in result["error_message"]
    assert result["attempts"][0]["timed_out"] is True
