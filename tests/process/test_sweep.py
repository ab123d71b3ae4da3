"""Clearing up after sessions that were killed with their guards and supervisors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle import Oracle
from zoo.faults import FAULTS, running
from zoo.helpers import needs

from wattest.process import Command, Rung, Swept, Tree, sweep
from wattest.process.cgroup import own_folder
from wattest.process.owner import Owner
from wattest.process.supervisor.kernel import signal_exactly

pytest_plugins = ["zoo.fixtures"]
# What is left here on purpose, a session of another worker would end.
pytestmark = pytest.mark.usefixtures("alone")

SLEEP = ("sleep", "60")


@pytest.fixture
def dead_owner() -> Owner:
    """Return the identity of a process of ours that has ended."""
    process = subprocess.Popen(SLEEP)
    here = Owner.current()
    started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    process.kill()
    process.wait()
    return Owner(process.pid, int(started), here.boot_id, here.namespace, here.uid)


@pytest.fixture
def marked() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Hold processes that a test has marked, and end them."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def mark(
    processes: list[subprocess.Popen[bytes]], owner: object, *argv: str
) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ["PATH"], "WATTEST_OWNER": str(owner)}
    process = subprocess.Popen(argv or SLEEP, env=environment)
    processes.append(process)
    return process


def swept_of(*owners: int) -> dict[int, Swept]:
    """Sweep, and return what belonged to these owners: others may be swept beside them."""
    return {one.pid: one for one in sweep() if one.owner_pid in owners}


def is_running(process: subprocess.Popen[bytes]) -> bool:
    time.sleep(0.05)
    return process.poll() is None


@pytest.mark.parametrize("child", ["stubborn", "spawner"])
def test_what_a_session_left_is_swept(child: str, oracle: Oracle, tmp_path: Path) -> None:
    with running(oracle, child, tmp_path) as session:
        FAULTS["SIGKILL of all three"](session)
        session.process.wait()
        assert alive(oracle)
        swept = swept_of(session.process.pid)
        assert any("creature.py" in one.command for one in swept.values())
        assert not alive(oracle)
        assert swept_of(session.process.pid) == {}


def alive(oracle: Oracle) -> list[int]:
    return [one.pid for one in oracle.sightings() if one.state not in "ZX"]


def test_a_leaf_is_swept_with_those_who_forgot_their_environment(
    oracle: Oracle, tmp_path: Path
) -> None:
    needs(Rung.CGROUP)
    with running(oracle, "bare-daemon", tmp_path, rung="cgroup") as session:
        leaf = leaf_of(session.supervisor, alive(oracle)[0])
        FAULTS["SIGKILL of all three"](session)
        session.process.wait()
        assert alive(oracle)
        assert "cgroup" in {one.found_by for one in swept_of(session.process.pid).values()}
        assert not alive(oracle)
        assert not leaf.exists()


def leaf_of(supervisor: int, pid: int) -> Path:
    def path(of: int) -> str:
        lines = Path(f"/proc/{of}/cgroup").read_text().splitlines()
        return next(line[3:] for line in lines if line.startswith("0::"))

    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    mount = next(line.split()[4] for line in mounts if " - cgroup2 " in line)
    assert path(pid) != path(supervisor)
    return Path(mount) / path(pid).lstrip("/")


def test_a_leaf_that_another_user_made_is_left_alone(dead_owner: Owner) -> None:
    needs(Rung.CGROUP)
    if os.geteuid() != 0:
        pytest.skip("only root can give a leaf to another user")
    leaf = own_folder() / dead_owner.new_leaf_name()
    leaf.mkdir()
    os.chown(leaf, 65534, 65534)
    sweep()
    assert leaf.exists()
    os.chown(leaf, 0, 0)
    sweep()
    assert not leaf.exists()


def test_processes_of_a_living_owner_are_never_touched(
    marked: list[subprocess.Popen[bytes]], tmp_path: Path, rung: Rung
) -> None:
    mine = mark(marked, Owner.current())
    command = Command(SLEEP, tmp_path, dict(os.environ))
    with Tree(command, tmp_path / "log", rung=rung) as tree:
        pid = tree.start()
        assert swept_of(os.getpid()) == {}
        assert tree.pids() == (pid,)
    assert is_running(mine)


def test_a_pid_that_was_given_to_another_process_is_no_living_owner(
    marked: list[subprocess.Popen[bytes]],
) -> None:
    here = Owner.current()
    earlier = Owner(here.pid, here.started_ticks - 1, here.boot_id, here.namespace, here.uid)
    process = mark(marked, earlier)
    assert list(swept_of(here.pid)) == [process.pid]
    assert process.wait(2) == -signal.SIGKILL


def test_a_process_that_got_the_pid_meanwhile_is_not_killed(
    marked: list[subprocess.Popen[bytes]],
) -> None:
    process = mark(marked, "")
    assert not signal_exactly(process.pid, signal.SIGKILL, lambda stat: stat.started_ticks == 0)
    assert is_running(process)
    assert signal_exactly(process.pid, signal.SIGKILL, lambda stat: stat.pid == process.pid)


def test_an_owner_of_another_boot_is_dead(marked: list[subprocess.Popen[bytes]]) -> None:
    here = Owner.current()
    boot = "00000000-0000-0000-0000-000000000000"
    process = mark(marked, Owner(here.pid, here.started_ticks, boot, here.namespace, here.uid))
    assert list(swept_of(here.pid)) == [process.pid]


@pytest.mark.parametrize(
    "text",
    ["", "1", "1:2:boot", "a:b:c:3:4", "1:2::3:4", "-1:2:boot:3:4", "1:2:boot:x:0", "1:2:b:3:4:5"],
)
def test_what_is_no_mark_is_left_alone(text: str, marked: list[subprocess.Popen[bytes]]) -> None:
    process = mark(marked, text)
    sweep()
    assert is_running(process)


def test_owners_of_other_users_and_other_containers_are_none_of_our_business(
    marked: list[subprocess.Popen[bytes]], dead_owner: Owner
) -> None:
    pid, ticks, boot = dead_owner.pid, dead_owner.started_ticks, dead_owner.boot_id
    assert dead_owner.namespace is not None
    assert dead_owner.uid is not None
    other_user = mark(marked, Owner(pid, ticks, boot, dead_owner.namespace, dead_owner.uid + 1))
    container = mark(marked, Owner(pid, ticks, boot, dead_owner.namespace + 1, dead_owner.uid))
    sweep()
    assert is_running(other_user)
    assert is_running(container)


def test_children_with_a_cleared_environment_go_with_their_parent(
    marked: list[subprocess.Popen[bytes]], dead_owner: Owner
) -> None:
    script = "env -i sleep 61 & echo $!; wait"
    environment = {"PATH": os.environ["PATH"], "WATTEST_OWNER": str(dead_owner)}
    process = subprocess.Popen(["sh", "-c", script], env=environment, stdout=subprocess.PIPE)
    marked.append(process)
    assert process.stdout is not None
    with process.stdout as told:
        child = int(told.readline())
    deadline = time.monotonic() + 5
    while not Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"sleep"):
        assert time.monotonic() < deadline
    found = {pid: one.found_by for pid, one in swept_of(dead_owner.pid).items()}
    assert found == {process.pid: "mark", child: "descent"}


def test_a_session_that_inherited_the_mark_of_a_dead_one_spares_itself(
    dead_owner: Owner,
) -> None:
    source = Path(__file__).parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source), "WATTEST_OWNER": str(dead_owner)}
    code = "from wattest.process import sweep; sweep(); print('python')"
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{code}"; echo shell'],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "python\nshell\n"


@pytest.mark.parametrize("digits", [20, 400, 5000])
def test_a_mark_of_absurd_numbers_is_none(
    marked: list[subprocess.Popen[bytes]], digits: int
) -> None:
    process = mark(marked, f"{'9' * digits}:1:boot:1:{os.geteuid()}")
    sweep()
    assert process.poll() is None


def test_what_was_swept_is_told_in_one_harmless_line() -> None:
    told = str(Swept(17, "python\x1b]0;owned\x07\n" + "x" * 100_000, 16, "mark"))
    assert told.startswith("PID 17 ('python\\x1b]0;owned\\x07\\nxxx")
    assert len(told) < 300
