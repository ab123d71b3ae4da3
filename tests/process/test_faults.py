"""The fault matrix: real sessions, hostile children, and an oracle that shares no code with us."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from oracle import Oracle, own_zombies
from zoo.faults import (
    BIRTHS,
    FAULTS,
    NEEDS_NAMESPACE,
    Session,
    await_end_of_marked,
    running,
)
from zoo.helpers import needs

from wattest.process import Rung

pytest_plugins = ["zoo.fixtures"]
# What is left here on purpose, a session of another worker would end.
pytestmark = pytest.mark.usefixtures("alone")

PATIENCE_SECONDS = 5.0


def assert_nothing_is_left(oracle: Oracle, session: Session) -> None:
    assert oracle.await_end(PATIENCE_SECONDS) == []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left := [pid for pid in (session.guard, session.supervisor) if is_alive(pid)]:
        if session.process.poll() is None:
            # The session itself was not ended: its guard and supervisor may wait for it.
            break
        assert time.monotonic() < deadline, f"guard or supervisor live on: {left}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.parametrize("child", ["stubborn", "daemon", "spawner"])
def test_the_oracle_catches_a_shell_loop_that_is_ended_by_its_group(
    child: str, oracle: Oracle
) -> None:
    command = shlex.join(oracle.argv(child, sys.executable))
    loop = subprocess.Popen(
        ["bash", "-c", f"while :; do {command}; done"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    oracle.await_births(BIRTHS[child])
    os.killpg(loop.pid, signal.SIGTERM)
    loop.wait(10)
    assert oracle.await_end(0.3), "the oracle sees nothing, so it proves nothing"


def test_the_oracle_sees_a_zombie(oracle: Oracle) -> None:
    child = subprocess.Popen(oracle.argv("fails", sys.executable))
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert [one.state for one in oracle.sightings()] == ["Z"]
    assert own_zombies() == [child.pid]
    child.wait()
    assert oracle.sightings() == []


FOR_EVERY_CHILD = ("stop in order", "SIGKILL of the session")


@pytest.mark.parametrize("fault", FOR_EVERY_CHILD)
@pytest.mark.parametrize("child", BIRTHS)
def test_no_child_outlives(child: str, fault: str, oracle: Oracle, tmp_path: Path) -> None:
    with running(oracle, child, tmp_path) as session:
        FAULTS[fault](session)
        assert_nothing_is_left(oracle, session)


@pytest.mark.parametrize("fault", sorted({*FAULTS} - {*NEEDS_NAMESPACE, *FOR_EVERY_CHILD}))
def test_no_fault_leaves(fault: str, oracle: Oracle, tmp_path: Path) -> None:
    with running(oracle, "zoo", tmp_path) as session:
        FAULTS[fault](session)
        assert_nothing_is_left(oracle, session)


@pytest.mark.parametrize("fault", ["stop in order", "SIGKILL of the session"])
@pytest.mark.parametrize("child", ["polite", "spawner", "fails"])
def test_no_load_outlives(child: str, fault: str, oracle: Oracle, tmp_path: Path) -> None:
    with running(oracle, child, tmp_path, kind="loop") as session:
        FAULTS[fault](session)
        assert_nothing_is_left(oracle, session)


@pytest.mark.parametrize("fault", ["stop in order", "SIGKILL of supervisor and session"])
@pytest.mark.parametrize("child", ["zoo", "bomb"])
@pytest.mark.parametrize("rung", [Rung.CGROUP, Rung.PID_NAMESPACE], ids=lambda rung: rung.value)
def test_the_other_rungs_hold_what_guard_holds(
    rung: Rung, child: str, fault: str, oracle: Oracle, tmp_path: Path
) -> None:
    needs(rung)
    with running(oracle, child, tmp_path, rung=rung.value) as session:
        FAULTS[fault](session)
        assert_nothing_is_left(oracle, session)


@pytest.mark.parametrize("child", ["zoo", "session-hopper"])
def test_a_pid_namespace_holds_when_all_three_are_killed(
    child: str, oracle: Oracle, tmp_path: Path
) -> None:
    needs(Rung.PID_NAMESPACE)
    with running(oracle, child, tmp_path, rung=Rung.PID_NAMESPACE.value) as session:
        FAULTS["SIGKILL of all three"](session)
        assert_nothing_is_left(oracle, session)


@pytest.mark.parametrize("seed", range(5))
def test_a_session_killed_while_it_starts_leaves_nothing(
    seed: int, oracle: Oracle, tmp_path: Path
) -> None:
    with running(oracle, "zoo", tmp_path, await_start=False) as session:
        delay = random.Random(seed).uniform(0, 0.25)
        until = time.monotonic() + delay
        while time.monotonic() < until:
            time.sleep(0.001)
        session.process.kill()
        session.process.wait()
        # Nothing may be born later either, by a guard that did not know yet.
        assert await_end_of_marked(session.process.pid, PATIENCE_SECONDS) == []
        assert oracle.await_end(PATIENCE_SECONDS) == []


def test_the_end_of_an_extra_owner_ends_the_tree(oracle: Oracle, tmp_path: Path) -> None:
    controller = subprocess.Popen(["sleep", "60"])
    try:
        with running(oracle, "zoo", tmp_path, owners=[controller.pid]) as session:
            controller.kill()
            assert oracle.await_end(PATIENCE_SECONDS) == []
            assert session.process.poll() is None
    finally:
        controller.kill()
        controller.wait()


def test_a_tree_started_from_a_thread_lives_on_when_the_thread_has_ended(
    oracle: Oracle, tmp_path: Path
) -> None:
    with running(oracle, "stubborn", tmp_path, from_thread=True) as session:
        time.sleep(0.2)
        assert len(oracle.sightings()) == BIRTHS["stubborn"]
        session.process.kill()
        assert_nothing_is_left(oracle, session)


def test_a_training_that_kills_its_supervisor_dies_with_it(oracle: Oracle, tmp_path: Path) -> None:
    with running(oracle, "polite", tmp_path) as session:
        os.kill(session.supervisor, signal.SIGKILL)
        assert_nothing_is_left(oracle, session)


def test_a_stopped_supervisor_does_not_keep_the_tree_alive(oracle: Oracle, tmp_path: Path) -> None:
    with running(oracle, "stubborn", tmp_path) as session:
        os.kill(session.supervisor, signal.SIGSTOP)
        session.process.kill()
        assert_nothing_is_left(oracle, session)


def test_a_stopped_guard_does_not_keep_the_tree_alive(oracle: Oracle, tmp_path: Path) -> None:
    with running(oracle, "stubborn", tmp_path) as session:
        os.kill(session.guard, signal.SIGSTOP)
        session.process.kill()
        assert oracle.await_end(PATIENCE_SECONDS) == []
        os.kill(session.guard, signal.SIGCONT)
        assert_nothing_is_left(oracle, session)


def test_guard_and_supervisor_ignore_what_a_terminal_or_a_batch_system_sends(
    oracle: Oracle, tmp_path: Path
) -> None:
    with running(oracle, "stubborn", tmp_path) as session:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            os.kill(session.guard, number)
            os.kill(session.supervisor, number)
        time.sleep(0.1)
        assert is_alive(session.guard)
        assert is_alive(session.supervisor)
        assert len(oracle.sightings()) == BIRTHS["stubborn"]
