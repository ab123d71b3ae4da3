"""Clearing up after sessions whose pytest, supervisor and guard were killed all at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wattest.process import census, leaves
from wattest.process.census import Process
from wattest.process.mark import Owner
from wattest.process.supervisor import proc

_PATIENCE_SECONDS = 5.0
# Guards of a dead owner kill their tree and restore the governor themselves, within this time.
_GUARDS_SECONDS = 2.0
_LOOK_SECONDS = 0.005

_Verdict = Callable[[Process], bool]


@dataclass(frozen=True)
class Swept:
    """A process that an earlier session left, and that was killed.

    `found_by` is `"mark"` (its environment), `"descent"` (child of a marked one) or `"cgroup"`.
    """

    pid: int
    command: str
    owner_pid: int
    found_by: str


def sweep(proc_root: Path = Path("/proc")) -> tuple[Swept, ...]:
    """Kill what sessions left whose owner is dead; return what was killed.

    The owner is dead when no process has its PID *and* start time *and* boot id. Processes of
    other users, of owners in other PID namespaces, and of living owners are never touched. What
    cannot be killed within five seconds is left. Meant for the start of a session, before it
    changes anything that a keeper of the earlier one may still have to restore.

    Raises:
        ProcessError: /proc does not belong to this PID namespace.
    """
    here = Owner.current(proc_root)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    swept = _sweep_cgroups(here, proc_root, deadline)
    swept |= _kill_rounds(lambda one: _was_left(one, here, proc_root), proc_root, deadline)
    return tuple(swept.values())


def kill_tree(tree: str) -> int:
    """Kill what carries the mark of one tree, and its descendants; return how many there were.

    For the case that its guard and supervisor were killed at once while their owner lives.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    return len(_kill_rounds(lambda one: one.tree == tree, Path("/proc"), deadline))


def _was_left(process: Process, here: Owner, proc_root: Path) -> bool:
    """Return whether a dead owner of this user in this PID namespace has left `process`."""
    owner = process.owner
    if owner is None:
        return False
    namespace, uid = owner.namespace, owner.uid
    if namespace is None:
        try:
            namespace = (proc_root / str(process.pid) / "ns" / "pid").stat().st_ino
        except OSError:
            return False
    if uid is None:
        uid = process.uid
    return namespace == here.namespace and uid == here.uid and not owner.is_alive(proc_root)


def _kill_rounds(
    is_left: _Verdict, proc_root: Path, deadline: float
) -> dict[tuple[int, int], Swept]:
    """Kill whatever `is_left` says, with its descendants, until a round finds nothing.

    A guard that lost its owner a moment ago is at work: it may first end its tree, or restore
    what it promised to.
    """
    killed: dict[tuple[int, int], Swept] = {}
    first_seen: dict[tuple[int, int], float] = {}
    while True:
        found = _left_behind(is_left, proc_root)
        now = time.monotonic()
        for process, owner_pid, how in found:
            key = (process.pid, process.started_ticks)
            if process.is_guard and now - first_seen.setdefault(key, now) < _GUARDS_SECONDS:
                continue
            command = proc.command_line(process.pid, str(proc_root))
            if census.kill(process, proc_root):
                killed.setdefault(key, Swept(process.pid, command, owner_pid, how))
        if not found or now >= deadline:
            return killed
        time.sleep(_LOOK_SECONDS)


def _left_behind(is_left: _Verdict, proc_root: Path) -> list[tuple[Process, int, str]]:
    """Return (process, PID of its owner, how it was found) of all that must go, parents first."""
    processes = census.take(proc_root)
    children: dict[int, list[Process]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process)
    seen = census.own_line(processes)
    queue = [
        (process, process.owner.pid, "mark")
        for process in processes.values()
        if process.owner is not None and process.pid not in seen and is_left(process)
    ]
    seen |= {process.pid for process, _, _ in queue}
    for process, owner_pid, _ in queue:
        for child in children.get(process.pid, []):
            # A mark of its own decides about a child: it may belong to a living owner.
            if child.pid not in seen and child.owner is None:
                seen.add(child.pid)
                queue.append((child, owner_pid, "descent"))
    return queue


def _sweep_cgroups(here: Owner, proc_root: Path, deadline: float) -> dict[tuple[int, int], Swept]:
    """End and remove the leaves of dead owners; return the processes that were in them."""
    killed: dict[tuple[int, int], Swept] = {}
    for leaf, owner in leaves.all_leaves(proc_root):
        is_ours = owner.uid == here.uid and owner.namespace == here.namespace
        if not is_ours or owner.is_alive(proc_root):
            continue
        for pid in leaves.pids_in(leaf):
            stat = proc.read_stat(pid, str(proc_root))
            if stat is not None and stat.state not in "ZX":
                command = proc.command_line(pid, str(proc_root))
                swept = Swept(pid, command, owner.pid, "cgroup")
                killed[pid, stat.started_ticks] = swept
        leaves.end(leaf, deadline)
    return killed
