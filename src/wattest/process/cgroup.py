"""Cgroup v2, unified or hybrid: where this process stands in it, and the leaves of all sessions."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from wattest.errors import ProcessError
from wattest.process.owner import Owner
from wattest.process.supervisor.containment import remove_cgroup

_MOST_CGROUPS = 20_000
_LOOK_SECONDS = 0.005


def own_folder() -> Path:
    """Return the folder of this process's own cgroup.

    Raises:
        ProcessError: there is no cgroup v2 here, or this process lies outside of what is mounted.
    """
    if (mounted := _hierarchy()) is None:
        raise ProcessError("no cgroup v2 file system is mounted")
    point, root = mounted
    for line in _lines("/proc/self/cgroup"):
        if line.startswith("0::"):
            own, prefix = line[3:], root.rstrip("/")
            rest = own.removeprefix(prefix)
            # In a cgroup namespace, what lies outside of its root has a path with dots.
            if not f"{own}/".startswith(f"{prefix}/") or ".." in rest.split("/"):
                break
            return point / rest.lstrip("/")
    raise ProcessError(f"this process's own cgroup is not mounted under {point}")


def new_leaf() -> str:
    """Return the path of a leaf that the supervisor may create.

    Raises:
        ProcessError: there is no cgroup v2 here.
    """
    return str(own_folder() / Owner.current().new_leaf_name())


def oom_kills() -> int:
    """Return how many processes of this cgroup, and of those below, were out of memory so far.

    0 where no memory controller counts them (`memory.events`).
    """
    try:
        events = _lines(str(own_folder() / "memory.events"))
    except (OSError, ProcessError):
        return 0
    return sum(int(line.split()[1]) for line in events if line.startswith("oom_kill "))


def leaves() -> Iterator[tuple[Path, Owner]]:
    """Yield every leaf of this user's sessions, living and dead, with the owner in its name."""
    mounted = _hierarchy()
    for path, _, _ in islice(os.walk(mounted[0]), _MOST_CGROUPS) if mounted is not None else ():
        folder = Path(path)
        owner = Owner.of_leaf(folder.name)
        try:
            # Whoever made it: a name alone could lie.
            if owner is not None and owner.uid == os.geteuid() == folder.stat().st_uid:
                yield folder, owner
        except FileNotFoundError:
            pass


def pids_in(leaf: Path) -> list[int]:
    """Return the processes of a leaf and of the cgroups below it."""
    pids: list[int] = []
    for folder, _, _ in os.walk(leaf):
        try:
            text = (Path(folder) / "cgroup.procs").read_text(encoding="ascii")
        except OSError:
            # Gone meanwhile, or a threaded cgroup: its processes are listed above it.
            continue
        pids += [int(line) for line in text.split()]
    return pids


def end(leaf: Path, deadline: float) -> None:
    """Kill everything in a leaf and remove it, as far as that succeeds by the deadline."""
    while not remove_cgroup(str(leaf)) and time.monotonic() < deadline:
        try:
            (leaf / "cgroup.kill").write_text("1", encoding="ascii")
        except OSError:
            return
        time.sleep(_LOOK_SECONDS)


def _hierarchy() -> tuple[Path, str] | None:
    """Return the mount point of cgroup v2 and the cgroup that is mounted there; None without."""
    for line in _lines("/proc/self/mountinfo"):
        mount, _, kind = line.partition(" - ")
        if kind.split()[0] == "cgroup2":
            _, _, _, root, point, *_ = mount.split()
            return Path(_unescaped(point)), _unescaped(root)
    return None


def _lines(path: str) -> list[str]:
    # Of the characters that end lines elsewhere, names may hold all but the line feed.
    return os.fsdecode(Path(path).read_bytes()).rstrip("\n").split("\n")


def _unescaped(text: str) -> str:
    """Undo the octal escapes of mountinfo (proc_pid_mountinfo(5))."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
