"""What /proc tells about processes. A process that is gone is None or absent, never an error."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_GONE = (errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM, errno.ENOTDIR)


class Stat:
    """The fields of `/proc/PID/stat` that count here (proc_pid_stat(5)).

    `cpu_ticks` is user and system time of the process and of its reaped children;
    `started_ticks` its start since boot; both in clock ticks.
    """

    __slots__ = ("cpu_ticks", "parent", "pid", "started_ticks", "state")

    def __init__(self, text: bytes) -> None:
        # The command may hold spaces and parentheses: only the last one ends it.
        head, _, tail = text.rpartition(b")")
        fields = tail.split()
        self.pid = int(head.split(b" ", 1)[0])
        self.state = fields[0].decode()
        self.parent = int(fields[1])
        self.cpu_ticks = sum(int(field) for field in fields[11:15])
        self.started_ticks = int(fields[19])


def read(path: str) -> bytes | None:
    """Return the whole file, or None where the process is gone or hidden from this user."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    finally:
        os.close(descriptor)


def read_stat(pid: int, root: str = "/proc") -> Stat | None:
    """Return the state of process `pid`, None where it is gone or hidden."""
    text = read(f"{root}/{pid}/stat")
    return Stat(text) if text else None


def command_line(pid: int, root: str = "/proc") -> str:
    """Return the command line for a reader, or `[name]` where a process has none."""
    text = read(f"{root}/{pid}/cmdline")
    if text:
        return text.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    name = read(f"{root}/{pid}/comm")
    return f"[{name.decode(errors='replace').strip()}]" if name else "[gone]"


def all_pids(root: str = "/proc") -> Iterator[int]:
    """Yield every process that /proc lists."""
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.name.isdigit():
                yield int(entry.name)


class Lister:
    """Lists the descendants of a process, by the kernel's own lists of children if it has them."""

    def __init__(self, kernel_lists: bool | None = None) -> None:
        """Probe for `/proc/PID/task/TID/children` (CONFIG_PROC_CHILDREN) unless told."""
        if kernel_lists is None:
            own = os.getpid()
            kernel_lists = read(f"/proc/{own}/task/{own}/children") is not None
        self._kernel_lists = kernel_lists

    def descendants(self, root: int) -> list[tuple[int, int]]:
        """Return (PID, parent's PID) of all descendants of `root`, parents before children.

        Zombies are among them. A process that forks or ends meanwhile may be missed: ask again.
        """
        children_of = _children_from_kernel if self._kernel_lists else _children_from_scan()
        found: list[tuple[int, int]] = []
        seen = {root}
        queue = [root]
        for parent in queue:
            for pid in children_of(parent):
                if pid not in seen:
                    seen.add(pid)
                    queue.append(pid)
                    found.append((pid, parent))
        return found


def _children_from_kernel(parent: int) -> list[int]:
    """Read the children of every thread: a child belongs to the thread that made it."""
    folder = f"/proc/{parent}/task"
    try:
        with os.scandir(folder) as entries:
            threads = [entry.name for entry in entries]
    except OSError as error:
        if error.errno in _GONE:
            return []
        raise
    lists = (read(f"{folder}/{thread}/children") for thread in threads)
    return [int(pid) for listed in lists if listed for pid in listed.split()]


def _children_from_scan() -> Callable[[int], list[int]]:
    """Read the parent of every process, once."""
    children: dict[int, list[int]] = {}
    for pid in all_pids():
        stat = read_stat(pid)
        if stat is not None:
            children.setdefault(stat.parent, []).append(pid)
    return lambda parent: children.get(parent, [])
