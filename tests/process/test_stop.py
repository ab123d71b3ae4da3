"""The end of a tree: by itself with what it leaves, and by a stop in order."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from oracle import Oracle
from zoo.helpers import MakeTree, await_text, finish

from wattest.errors import ProcessError
from wattest.process import Rung

pytest_plugins = ["zoo.fixtures"]


def test_orphans_are_killed_when_the_main_process_has_ended(
    make_tree: MakeTree, rung: Rung, oracle: Oracle
) -> None:
    tree = make_tree(*oracle.argv("leaver", sys.executable), rung=rung)
    tree.start()
    exit = finish(tree)
    assert (exit.exit_code, exit.leftovers_killed) == (0, 2)
    assert oracle.sightings() == []
    assert tree.stop().was_running is False


def test_an_orphan_that_ends_soon_may_finish_its_output(make_tree: MakeTree, log: Path) -> None:
    tree = make_tree("bash", "-c", "(sleep 0.03; echo late) & exit 0", linger_seconds=2)
    tree.start()
    exit = finish(tree)
    assert exit.leftovers_killed == 0
    assert log.read_text() == "late\n"
    assert exit.ended_ns - exit.started_ns < 1e9


def test_the_window_ends_with_the_training_and_not_with_the_clean_up(make_tree: MakeTree) -> None:
    tree = make_tree("bash", "-c", "sleep 60 & exit 0", linger_seconds=1)
    tree.start()
    exit = finish(tree)
    assert exit.leftovers_killed == 1
    assert exit.ended_ns - exit.started_ns < 0.8e9
    assert time.monotonic_ns() - exit.ended_ns >= 1e9


def test_a_supervisor_that_is_held_up_lengthens_no_training(make_tree: MakeTree) -> None:
    tree = make_tree("sleep", "0.3")
    pid = tree.start()
    os.kill(tree.supervisor_pid, signal.SIGSTOP)
    link, main = tree.filenos()
    assert select.select([main], [], [], 10)[0], f"PID {pid} does not end"
    assert tree.poll() is None
    assert tree.filenos() == [link]
    time.sleep(0.5)  # the time by which its end would be wrong
    os.kill(tree.supervisor_pid, signal.SIGCONT)
    exit = finish(tree)
    assert exit.exit_code == 0
    assert exit.ended_ns - exit.started_ns < 0.75e9


def test_what_is_out_of_time_is_ended_though_nobody_asks(
    make_tree: MakeTree, oracle: Oracle
) -> None:
    tree = make_tree(*oracle.argv("polite", sys.executable))
    tree.start(0.6)
    oracle.await_births(3)
    assert oracle.await_end(5) == []
    exit = finish(tree)
    assert exit.ended_ns - exit.started_ns > 0.5e9
    assert tree.stop().was_running is False


def test_a_training_in_time_is_left_alone(make_tree: MakeTree) -> None:
    tree = make_tree("sleep", "0.2")
    tree.start(1.0)
    exit = finish(tree)
    assert (exit.exit_code, exit.leftovers_killed) == (0, 0)


def test_a_polite_tree_ends_at_once_without_sigkill(
    make_tree: MakeTree, rung: Rung, tmp_path: Path
) -> None:
    seconds = []
    for _ in range(5):
        oracle = Oracle(tmp_path)
        tree = make_tree(*oracle.argv("polite", sys.executable), rung=rung)
        tree.start()
        oracle.await_births(3)
        report = tree.stop()
        assert (report.was_running, report.sigkill_needed, report.survivors) == (True, False, ())
        assert oracle.sightings() == []
        seconds.append(report.duration_seconds)
    assert max(seconds) < 5, "the grace of 10 s was waited for"


def test_a_tree_that_ignores_sigterm_gets_its_grace_and_is_killed(
    make_tree: MakeTree, rung: Rung, oracle: Oracle
) -> None:
    tree = make_tree(*oracle.argv("stubborn", sys.executable), rung=rung)
    tree.start()
    oracle.await_births(3)
    report = tree.stop(grace_seconds=0.3)
    assert report.sigkill_needed
    assert report.survivors == ()
    assert 0.3 <= report.duration_seconds < 5
    assert oracle.sightings() == []
    exit = tree.poll()
    assert exit is not None
    assert exit.signal == signal.SIGKILL
    # The workers did not outlive their main process: all were killed at once.
    assert exit.leftovers_killed == 0


def test_a_program_may_clean_up_with_helpers_in_its_grace(make_tree: MakeTree, log: Path) -> None:
    script = "trap 'sleep 0.3; echo saved; exit 5' TERM; echo up; while :; do sleep 0.05; done"
    tree = make_tree("bash", "-c", script)
    tree.start()
    await_text(log, "up")
    report = tree.stop(grace_seconds=5)
    assert not report.sigkill_needed
    exit = tree.poll()
    assert exit is not None
    assert exit.exit_code == 5
    # The helper that was running was told to end, as everybody was; the new one was not.
    assert log.read_text() == "up\nTerminated\nsaved\n"


def test_a_helper_that_is_left_behind_is_told_to_end_too(make_tree: MakeTree, log: Path) -> None:
    script = "trap 'sleep 60 & exit 0' TERM; echo up; while :; do sleep 0.05; done"
    tree = make_tree("bash", "-c", script)
    tree.start()
    await_text(log, "up")
    report = tree.stop(grace_seconds=10)
    assert not report.sigkill_needed
    assert report.duration_seconds < 5, "the grace of 10 s was waited for"


BEFORE_EXEC = """
import os, signal
from wattest.process.supervisor import kernel
gate, release = os.pipe()
kernel.shield()
child = os.fork()
if child == 0:
    os.read(gate, 1)
    kernel.unshield()
    os._exit(0)
os.kill(child, signal.SIGTERM)
os.write(release, b"!")
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_sigterm_that_comes_before_the_exec_is_not_lost() -> None:
    source = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    command = [sys.executable, "-c", BEFORE_EXEC]
    told = subprocess.run(command, env=source, capture_output=True, text=True, check=True)
    assert int(told.stdout) == -signal.SIGTERM


def test_stopping_again_is_harmless(make_tree: MakeTree) -> None:
    tree = make_tree("sleep", "60")
    tree.start()
    assert tree.stop().was_running
    assert not tree.stop().was_running
    tree.close()
    assert not tree.stop().was_running


def test_stopping_before_the_start_is_harmless_and_final(make_tree: MakeTree) -> None:
    tree = make_tree("sleep", "60")
    assert tree.stop().was_running is False
    with pytest.raises(ProcessError, match="a process tree that is closed"):
        tree.start()


def test_a_second_interrupt_shortens_the_grace(make_tree: MakeTree, oracle: Oracle) -> None:
    tree = make_tree(*oracle.argv("stubborn", sys.executable))
    tree.start()
    oracle.await_births(3)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        tree.stop(grace_seconds=30)
    report = tree.stop(grace_seconds=0)
    assert report.was_running
    assert report.duration_seconds < 5
    assert oracle.sightings() == []
