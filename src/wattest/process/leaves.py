"""The cgroup leaves of all sessions on this machine, living and dead."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from wattest.process.cgroup import hierarchy
from wattest.process.mark import LEAF_PREFIX, Owner, owner_of_leaf
from wattest.process.supervisor.enclosure import remove_cgroup

_MOST_CGROUPS = 20_000
_LOOK_SECONDS = 0.005


def all_leaves(proc_root: Path = Path("/proc")) -> list[tuple[Path, Owner]]:
    """Return every leaf of ours with the owner that its name tells."""
    mounted = hierarchy(proc_root)
    if mounted is None:
        return []
    found = []
    for folder in _folders(mounted[0]):
        if not folder.name.startswith(LEAF_PREFIX):
            continue
        try:
            owner = owner_of_leaf(folder.name, folder.stat().st_uid, proc_root)
        except FileNotFoundError:
            continue
        if owner is not None:
            found.append((folder, owner))
    return found


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


def end(leaf: Path, deadline: float) -> bool:
    """Kill everything in a leaf and remove it; return whether it is gone by the deadline."""
    while not remove_cgroup(str(leaf)):
        if time.monotonic() >= deadline:
            return False
        try:
            (leaf / "cgroup.kill").write_text("1", encoding="ascii")
        except OSError:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _folders(mount: Path) -> Iterator[Path]:
    """Yield the cgroups below `mount`, breadth first, so that the bound cuts off the deepest."""
    queue = [mount]
    for folder in queue:
        yield folder
        try:
            with os.scandir(folder) as entries:
                below = [Path(entry.path) for entry in entries if entry.is_dir()]
        except OSError:
            continue
        queue += below[: _MOST_CGROUPS - len(queue)]
