"""All live processes that this user may look into, with the marks they carry."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from wattest.process.mark import OWNER_VARIABLE, ROLE_VARIABLE, TREE_VARIABLE, Owner
from wattest.process.supervisor import linux, proc


@dataclass(frozen=True)
class Process:
    """A live process; `owner` is None where its environment carries no mark.

    `tree` is the mark of one tree, and `is_guard` tells a guard or supervisor from a training.
    """

    pid: int
    started_ticks: int
    parent: int
    uid: int
    owner: Owner | None
    tree: str
    is_guard: bool


def take(proc_root: Path) -> dict[int, Process]:
    """Return every live process by PID; zombies are none."""
    found = (_look(pid, proc_root) for pid in proc.all_pids(str(proc_root)))
    return {process.pid: process for process in found if process is not None}


def own_line(processes: dict[int, Process]) -> set[int]:
    """Return the PIDs of this process and its ancestors."""
    line: set[int] = set()
    pid = os.getpid()
    while pid and pid not in line:
        line.add(pid)
        pid = processes[pid].parent if pid in processes else 0
    return line


def kill(process: Process, proc_root: Path) -> bool:
    """SIGKILL exactly this process; return whether it was there and may be killed."""
    try:
        pidfd = linux.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        stat = proc.read_stat(process.pid, str(proc_root))
        if stat is None or stat.started_ticks != process.started_ticks:
            return False
        linux.pidfd_send_signal(pidfd, signal.SIGKILL)
        return True
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(pidfd)


def _look(pid: int, proc_root: Path) -> Process | None:
    root = str(proc_root)
    stat = proc.read_stat(pid, root)
    if stat is None or stat.state in "ZX":
        return None
    variables = _variables(pid, root)
    try:
        uid = (proc_root / str(pid)).stat().st_uid
    except OSError:
        return None
    return Process(
        pid=pid,
        started_ticks=stat.started_ticks,
        parent=stat.parent,
        uid=uid,
        owner=Owner.parse(variables.get(OWNER_VARIABLE, "")),
        tree=variables.get(TREE_VARIABLE, ""),
        is_guard=variables.get(ROLE_VARIABLE) == "guard",
    )


def _variables(pid: int, root: str) -> dict[str, str]:
    """Return the variables of ours in the environment that a process was started with."""
    environment = proc.read(f"{root}/{pid}/environ") or b""
    if b"WATTEST_" not in environment:
        return {}
    pairs = (entry.partition(b"=") for entry in environment.split(b"\0"))
    return {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, _, value in pairs
        if name.startswith(b"WATTEST_")
    }
