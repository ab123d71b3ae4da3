"""Clearing up after sessions whose pytest, supervisor and guard were killed all at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wattest.process import cgroup
from wattest.process.owner import OWNER_VARIABLE, ROLE_VARIABLE, TREE_VARIABLE, Owner
from wattest.process.supervisor import kernel

_PATIENCE_SECONDS = 5.0
# Guards of a dead owner kill their tree and restore the governor themselves, within this time.
_GUARDS_SECONDS = 2.0
_LOOK_SECONDS = 0.005
_LONGEST_COMMAND = 200


@dataclass(frozen=True)
class Swept:
    """A process that an earlier session left, and that was killed.

    `found_by` is `"mark"` (its environment), `"descent"` (child of a marked one) or `"cgroup"`.
    """

    pid: int
    command: str
    owner_pid: int
    found_by: str

    def __str__(self) -> str:
        return f"PID {self.pid} ({self.command[:_LONGEST_COMMAND]!r})"


@dataclass(frozen=True)
class _Process:
    """A live process; `owner` is None where its environment carries no mark.

    `tree` is the mark of one tree, and `is_guard` tells a guard or supervisor from a training.
    """

    stat: kernel.Stat
    owner: Owner | None
    tree: str
    is_guard: bool


_Verdict = Callable[[_Process, Owner], bool]
# By PID and start time, which together no other process has.
_Killed = dict[tuple[int, int], Swept]


def sweep() -> tuple[Swept, ...]:
    """Kill what sessions left whose owner is dead; return what was killed.

    The owner is dead when no process has its PID *and* start time *and* boot id. Processes of
    other users, of owners in other PID namespaces, and of living owners are never touched. What
    cannot be killed within five seconds is left. Meant for the start of a session, before it
    changes anything that a keeper of the earlier one may still have to restore.

    Raises:
        ProcessError: /proc does not belong to this PID namespace.
    """
    here = Owner.current()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    swept = _sweep_leaves(here, deadline)
    swept |= _kill_rounds(lambda process, owner: owner.is_dead_beside(here), deadline)
    return tuple(swept.values())


def kill_tree(tree: str) -> int:
    """Kill what carries the mark of one tree, and its descendants; return how many there were.

    For the case that its guard and supervisor were killed at once while its owner lives.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    return len(_kill_rounds(lambda process, owner: process.tree == tree, deadline))


def _sweep_leaves(here: Owner, deadline: float) -> _Killed:
    """End and remove the leaves of dead owners; return the processes that were in them."""
    killed: _Killed = {}
    for leaf, owner in cgroup.leaves():
        if owner.is_dead_beside(here):
            for pid in cgroup.pids_in(leaf):
                stat = kernel.read_stat(pid)
                if stat is not None and not stat.is_dead:
                    command = kernel.command_line(pid)
                    killed[pid, stat.started_ticks] = Swept(pid, command, owner.pid, "cgroup")
            cgroup.end(leaf, deadline)
    return killed


def _kill_rounds(is_left: _Verdict, deadline: float) -> _Killed:
    """Kill whatever `is_left` says, with its descendants, until a round finds nothing.

    A guard that lost its owner a moment ago is at work: it may first end its tree, or restore
    what it promised to.
    """
    killed: _Killed = {}
    first_seen: dict[tuple[int, int], float] = {}
    while True:
        found = list(_left_behind(is_left))
        now = time.monotonic()
        for process, owner_pid, how in found:
            key = pid, ticks = process.stat.pid, process.stat.started_ticks
            if process.is_guard and now - first_seen.setdefault(key, now) < _GUARDS_SECONDS:
                continue
            command = kernel.command_line(pid)
            if _kill(pid, ticks):
                killed.setdefault(key, Swept(pid, command, owner_pid, how))
        if not found or now >= deadline:
            return killed
        time.sleep(_LOOK_SECONDS)


def _kill(pid: int, started_ticks: int) -> bool:
    """SIGKILL exactly this process; return whether it was there and may be killed."""
    return kernel.signal_exactly(
        pid, signal.SIGKILL, lambda stat: stat.started_ticks == started_ticks
    )


def _left_behind(is_left: _Verdict) -> Iterator[tuple[_Process, int, str]]:
    """Yield (process, PID of its owner, how it was found) of all that must go."""
    looked = (_look(pid) for pid in kernel.all_pids())
    processes = {process.stat.pid: process for process in looked if process is not None}
    spared = {process.stat.pid for process in _line(processes, os.getpid())}
    for process in processes.values():
        # A mark of its own decides about a process: it may belong to a living owner.
        for top in _line(processes, process.stat.pid):
            if top.owner is None:
                continue
            if not {process.stat.pid, top.stat.pid} & spared and is_left(top, top.owner):
                yield process, top.owner.pid, "mark" if top is process else "descent"
            break


def _line(processes: dict[int, _Process], pid: int) -> Iterator[_Process]:
    """Yield a process and its ancestors."""
    # PIDs that are given anew while /proc is read could make a circle.
    for _ in range(len(processes)):
        if pid not in processes:
            return
        yield processes[pid]
        pid = processes[pid].stat.parent


def _look(pid: int) -> _Process | None:
    """Return a process with the marks in the environment that it was started with."""
    stat = kernel.read_stat(pid)
    if stat is None or stat.is_dead:
        return None
    environment = kernel.read(f"/proc/{pid}/environ") or b""
    marks: dict[str, str] = {}
    if b"WATTEST_" in environment:
        entries = environment.decode(errors="replace").split("\0")
        marks = {name: value for name, _, value in (entry.partition("=") for entry in entries)}
    owner, tree = Owner.parse(marks.get(OWNER_VARIABLE, "")), marks.get(TREE_VARIABLE, "")
    return _Process(stat, owner, tree, is_guard=marks.get(ROLE_VARIABLE) == "guard")
