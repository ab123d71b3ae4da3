"""What is left when the supervision is forgotten, interrupted, or killed: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from oracle import Oracle, own_zombies
from zoo.helpers import MakeTree, finish

from wattest.errors import ProcessError
from wattest.process import Command, Tree

pytest_plugins = ["zoo.fixtures"]


def test_a_tree_that_was_forgotten_dies(tmp_path: Path, oracle: Oracle) -> None:
    environment = {"PATH": os.environ["PATH"]}
    command = Command(oracle.argv("zoo", sys.executable), tmp_path, environment)
    supervisor = forget_a_tree(command, tmp_path / "forgotten.log", oracle)
    assert oracle.await_end() == []
    while Path(f"/proc/{supervisor}").exists():
        time.sleep(0.001)
    Tree(command, tmp_path / "next.log").close()
    assert own_zombies() == []


def forget_a_tree(command: Command, log: Path, oracle: Oracle) -> int:
    tree = Tree(command, log)
    tree.start()
    oracle.await_births(20)
    return tree.supervisor_pid


def test_garbage_collection_does_not_wait_for_a_supervisor_that_hangs(
    tmp_path: Path, oracle: Oracle
) -> None:
    command = Command(oracle.argv("stubborn", sys.executable), tmp_path, {})
    tree = Tree(command, tmp_path / "log")
    tree.start()
    oracle.await_births(3)
    os.kill(tree.supervisor_pid, signal.SIGSTOP)
    os.kill(tree.guard_pid, signal.SIGSTOP)
    before = time.monotonic()
    del tree
    assert time.monotonic() - before < 0.5
    assert oracle.await_end() == []


def test_a_fork_of_the_owner_cannot_hold_or_end_the_tree(make_tree: MakeTree) -> None:
    tree = make_tree("sleep", "60")
    pid = tree.start()
    fork = os.fork()
    if fork == 0:
        tree.close()
        os._exit(0)
    os.waitpid(fork, 0)
    assert tree.pids() == (pid,)
    holder = os.fork()
    if holder == 0:
        time.sleep(30)
        os._exit(0)
    try:
        began = time.monotonic()
        tree.close()
        assert time.monotonic() - began < 2
        assert not Path(f"/proc/{pid}").exists()
    finally:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)


@pytest.mark.parametrize("victim", ["guard_pid", "supervisor_pid"])
def test_the_death_of_guard_or_supervisor_is_told_when_the_tree_is_dead(
    victim: str, make_tree: MakeTree, oracle: Oracle
) -> None:
    tree = make_tree(*oracle.argv("zoo", sys.executable))
    tree.start()
    oracle.await_births(20)
    os.kill(getattr(tree, victim), signal.SIGKILL)
    told = f"the {victim.removesuffix('_pid')} of a process tree died .*; its tree was killed"
    with pytest.raises(ProcessError, match=told):
        finish(tree)
    assert oracle.sightings() == []
    assert tree.pids() == ()
    assert tree.stop().survivors == ()


def test_the_death_of_both_is_told_when_the_marked_tree_is_dead(
    make_tree: MakeTree, oracle: Oracle
) -> None:
    tree = make_tree(*oracle.argv("stubborn", sys.executable))
    tree.start()
    oracle.await_births(3)
    os.kill(tree.guard_pid, signal.SIGSTOP)
    for pid in (tree.supervisor_pid, tree.guard_pid):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(ProcessError, match="guard and supervisor"):
        finish(tree)
    assert [one for one in oracle.await_end() if one.state not in "ZX"] == []


def test_a_supervisor_that_does_not_answer_is_overruled(
    make_tree: MakeTree, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wattest.process.tree._ANSWER_SECONDS", 0.1)
    monkeypatch.setattr("wattest.process.client._END_SECONDS", 0.2)
    tree = make_tree(*oracle.argv("stubborn", sys.executable))
    tree.start()
    oracle.await_births(3)
    os.kill(tree.supervisor_pid, signal.SIGSTOP)
    with pytest.raises(ProcessError, match="did not answer"):
        tree.cpu_seconds()
    tree.close()
    assert oracle.await_end() == []


def test_a_training_that_kills_its_supervisor_takes_itself_along(
    make_tree: MakeTree, oracle: Oracle
) -> None:
    tree = make_tree(*oracle.argv("killer-of-parent", sys.executable))
    tree.start()
    with pytest.raises(ProcessError, match="supervisor"):
        finish(tree)
    assert oracle.sightings() == []


def test_an_owner_that_is_gone_already_is_an_error(make_tree: MakeTree) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(ProcessError, match=f"owner PID {gone.pid} is gone"):
        make_tree("true", owners=[gone.pid])


def test_an_interrupt_while_a_tree_comes_up_leaves_no_guard(tmp_path: Path) -> None:
    code = f"""
import os, signal, sys, threading, time
from pathlib import Path
from wattest.process import Command, Tree
command = Command(("true",), Path({str(tmp_path)!r}), {{}})
delay = float(sys.argv[1])
try:
    threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
    tree = Tree(command, Path({str(tmp_path)!r}, "log"))
    time.sleep(5)
except KeyboardInterrupt:
    tree = None
deadline = time.monotonic() + 5
def children():
    pids = [p for p in os.listdir("/proc") if p.isdigit()]
    stats = []
    for pid in pids:
        try:
            stats.append(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split())
        except OSError:
            pass
    return [stat for stat in stats if stat[1] == str(os.getpid())]
while children():
    assert time.monotonic() < deadline, children()
    time.sleep(0.01)
"""
    source = Path(__file__).parents[2] / "src"
    for delay in (0.0, 0.002, 0.01, 0.02):
        run = [sys.executable, "-c", code, str(delay)]
        done = subprocess.run(run, env={**os.environ, "PYTHONPATH": str(source)}, check=False)
        assert done.returncode == 0, f"after {delay} s"
