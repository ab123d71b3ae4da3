"""One training under supervision: its exit, its processes, its cost."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

import pytest
from oracle import own_zombies
from zoo.helpers import MakeTree, await_text, finish, kilobytes, needs, python, voluntary_switches

from wattest.errors import ProcessError
from wattest.process import Command, Rung, Tree

pytest_plugins = ["zoo.fixtures"]


def test_an_exit_code_comes_back_with_times_and_usage(make_tree: MakeTree, rung: Rung) -> None:
    code = "import time; x = bytearray(50 << 20); time.sleep(0.2); raise SystemExit(7)"
    tree = make_tree(*python(code), rung=rung)
    before_ns = time.monotonic_ns()
    tree.start()
    exit = finish(tree)
    assert (exit.exit_code, exit.signal, exit.leftovers_killed) == (7, None, 0)
    assert before_ns < exit.started_ns < exit.ended_ns < time.monotonic_ns()
    assert 0.2 < (exit.ended_ns - exit.started_ns) / 1e9 < 2
    assert exit.user_cpu_seconds + exit.system_cpu_seconds > 0
    assert exit.max_rss_bytes > 50 << 20


def test_a_signal_is_told_apart_from_an_exit_code(make_tree: MakeTree) -> None:
    tree = make_tree(*python("import os; os.kill(os.getpid(), 11)"))
    tree.start()
    exit = finish(tree)
    assert (exit.exit_code, exit.signal) == (None, signal.SIGSEGV)


def test_the_exit_is_the_same_however_often_it_is_asked_for(make_tree: MakeTree) -> None:
    tree = make_tree("true")
    tree.start()
    exit = finish(tree)
    assert tree.poll() is exit
    tree.close()
    assert tree.poll() is exit


def test_no_other_question_takes_the_news_away_from_who_waits_for_it(
    make_tree: MakeTree,
) -> None:
    tree = make_tree("true")
    pid = tree.start()
    while tree.pids() or Path(f"/proc/{pid}").exists():
        tree.cpu_seconds()
    assert select.select([tree.fileno()], [], [], 5)[0]
    assert tree.poll() is not None
    assert not select.select([tree.fileno()], [], [], 0)[0]


def test_nothing_runs_before_start(make_tree: MakeTree, log: Path) -> None:
    tree = make_tree("sh", "-c", "echo ran")
    assert tree.pids() == ()
    assert tree.poll() is None
    tree.close()
    assert log.read_text() == ""


def test_pids_are_host_pids_of_the_whole_tree(make_tree: MakeTree, rung: Rung) -> None:
    tree = make_tree("bash", "-c", "sleep 60 & sleep 61 & (setsid sleep 62 &) ; wait", rung=rung)
    pid = tree.start()
    deadline = time.monotonic() + 5
    while sum(command(one).startswith("sleep ") for one in tree.pids()) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # The shell between setsid and its sleep may still be about to end.
    while len(tree.pids()) > 4:
        assert time.monotonic() < deadline
    assert pid in tree.pids()
    assert len(tree.pids()) == 4
    report = tree.stop(grace_seconds=0)
    assert (report.was_running, report.sigkill_needed, report.survivors) == (True, True, ())
    assert tree.pids() == ()


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def test_a_pid_namespace_has_a_proc_of_its_own(make_tree: MakeTree, log: Path) -> None:
    needs(Rung.PID_NAMESPACE)
    code = "import os; print(os.getpid(), os.readlink('/proc/self'), len(os.listdir('/proc')))"
    tree = make_tree(*python(code), rung=Rung.PID_NAMESPACE)
    pid = tree.start()
    finish(tree)
    inside, own, _ = log.read_text().split()
    assert inside == own != str(pid)
    assert Path("/proc/self").readlink().name == str(os.getpid())


BUSY = """
import os, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
for _ in range(2):
    if os.fork() == 0:
        if os.fork():
            os._exit(0)
        burn(0.1)
        os._exit(0)
burn(0.1)
print("burnt", flush=True)
time.sleep({sleep})
"""


def test_cpu_time_is_that_of_the_whole_tree(make_tree: MakeTree, rung: Rung, log: Path) -> None:
    tree = make_tree(*python(BUSY.replace("{sleep}", "0.5")), rung=rung)
    tree.start()
    await_text(log, "burnt")
    readings = []
    deadline = time.monotonic() + 5
    while not readings or readings[-1] < 0.3:
        assert time.monotonic() < deadline, f"CPU time stays at {readings[-1]}"
        readings.append(tree.cpu_seconds())
        time.sleep(0.05)
    assert readings == sorted(readings)
    exit = finish(tree)
    total = exit.user_cpu_seconds + exit.system_cpu_seconds
    assert 0.3 <= total < 0.7
    assert tree.cpu_seconds() == total


def test_a_log_that_cannot_be_written_is_an_error_before_anything_runs(tmp_path: Path) -> None:
    command = Command(("true",), tmp_path, {})
    with pytest.raises(ProcessError, match="No such file or directory"):
        Tree(command, tmp_path / "missing" / "training.log")
    assert own_zombies() == []


def test_a_tree_is_started_only_once(make_tree: MakeTree) -> None:
    tree = make_tree("true")
    tree.start()
    with pytest.raises(ProcessError, match="only once"):
        tree.start()


def test_a_python_without_pidfd_open_will_do(
    make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.delattr(signal, "pidfd_send_signal", raising=False)
    tree = make_tree("true")
    tree.start()
    assert finish(tree).exit_code == 0


def test_a_flood_of_output_costs_the_owner_nothing(make_tree: MakeTree, log: Path) -> None:
    tree = make_tree("sh", "-c", "head -c 100000000 /dev/zero")
    before = kilobytes("self", "VmHWM")
    tree.start()
    assert finish(tree, 30).exit_code == 0
    assert log.stat().st_size == 100_000_000
    assert kilobytes("self", "VmHWM") - before < 4096


def test_guard_and_supervisor_sleep_while_a_training_runs(make_tree: MakeTree) -> None:
    tree = make_tree("sleep", "60")
    tree.start()
    time.sleep(0.05)
    pids = (tree.guard_pid, tree.supervisor_pid)
    before = [voluntary_switches(pid) for pid in pids]
    time.sleep(0.5)
    assert [voluntary_switches(pid) for pid in pids] == before
