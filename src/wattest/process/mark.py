"""The owner's mark on every process of ours, by which a later session knows what was left."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from wattest.errors import ProcessError
from wattest.process.supervisor import proc

OWNER_VARIABLE = "WATTEST_OWNER"
TREE_VARIABLE = "WATTEST_TREE"
ROLE_VARIABLE = "WATTEST_ROLE"
LEAF_PREFIX = "wattest-"


@dataclass(frozen=True)
class Owner:
    """A process beyond doubt: PID, start since boot in clock ticks, boot id.

    `namespace` is the inode of its PID namespace, because a PID means nothing in another one,
    and `uid` its user, because another user's processes are none of our business; both are None
    in a mark that does not tell.
    """

    pid: int
    started_ticks: int
    boot_id: str
    namespace: int | None = None
    uid: int | None = None

    @classmethod
    def current(cls, proc_root: Path = Path("/proc")) -> Owner:
        """Return this process.

        Raises:
            ProcessError: /proc is not there, or belongs to another PID namespace.
        """
        pid = os.getpid()
        stat = proc.read_stat(pid, str(proc_root))
        if stat is None or (proc_root / "self").readlink().name != str(pid):
            raise ProcessError(
                f"{proc_root} does not show this process (PID {pid}): mount a proc file system"
                " of this PID namespace there"
            )
        namespace = (proc_root / str(pid) / "ns" / "pid").stat().st_ino
        return cls(pid, stat.started_ticks, boot_id(proc_root), namespace, os.geteuid())

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Return the owner that a mark names, None where it is no mark."""
        pid, _, rest = text.partition(":")
        ticks, _, rest = rest.partition(":")
        boot, *more = rest.split(":")
        numbers = [pid, ticks, *more]
        if not boot or len(more) > 2 or not all(number.isdecimal() for number in numbers):
            return None
        extra = [int(number) for number in more]
        return cls(int(pid), int(ticks), boot, *extra)

    def __str__(self) -> str:
        known = [self.pid, self.started_ticks, self.boot_id, self.namespace, self.uid]
        return ":".join(str(part) for part in known if part is not None)

    def is_alive(self, proc_root: Path = Path("/proc")) -> bool:
        """Return whether exactly this process still runs (a zombie does not)."""
        if self.boot_id != boot_id(proc_root):
            return False
        stat = proc.read_stat(self.pid, str(proc_root))
        return (
            stat is not None and stat.started_ticks == self.started_ticks and stat.state not in "ZX"
        )

    def leaf_name(self) -> str:
        """Return a new name for a cgroup of this owner."""
        parts = f"{self.pid}-{self.started_ticks}-{self.namespace}"
        return f"{LEAF_PREFIX}{parts}-{secrets.token_hex(4)}"


def owner_of_leaf(name: str, uid: int, proc_root: Path = Path("/proc")) -> Owner | None:
    """Return the owner that the name of a cgroup tells, None where it is none of ours."""
    parts = name.removeprefix(LEAF_PREFIX).split("-")
    if not name.startswith(LEAF_PREFIX) or len(parts) != 4:
        return None
    if not all(part.isdecimal() for part in parts[:3]):
        return None
    pid, ticks, namespace = (int(part) for part in parts[:3])
    return Owner(pid, ticks, boot_id(proc_root), namespace, uid)


def boot_id(proc_root: Path = Path("/proc")) -> str:
    """Return the kernel's random id of this boot."""
    path = proc_root / "sys" / "kernel" / "random" / "boot_id"
    return path.read_text(encoding="ascii").strip()
