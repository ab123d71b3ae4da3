"""The owner's mark on every process of ours, by which a later session knows what was left."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import astuple, dataclass
from pathlib import Path

from wattest.errors import ProcessError
from wattest.files import read_text
from wattest.process.supervisor import kernel

OWNER_VARIABLE = "WATTEST_OWNER"
TREE_VARIABLE = "WATTEST_TREE"
ROLE_VARIABLE = "WATTEST_ROLE"
_LEAF_PREFIX = "wattest-"


def marks(tree: str) -> dict[str, str]:
    """Return the variables by which a process is known to be of this owner, and of one tree."""
    return {OWNER_VARIABLE: str(Owner.current()), TREE_VARIABLE: tree}


@dataclass(frozen=True)
class Owner:
    """A process beyond doubt: PID, start since boot in clock ticks, boot id.

    `namespace` is the inode of its PID namespace, because a PID means nothing in another one,
    and `uid` its user, because another user's processes are none of our business.
    """

    pid: int
    started_ticks: int
    boot_id: str
    namespace: int
    uid: int

    @classmethod
    def current(cls) -> Owner:
        """Return this process.

        Raises:
            ProcessError: /proc is not there, or belongs to another PID namespace.
        """
        pid = os.getpid()
        stat = kernel.read_stat(pid)
        if stat is None or Path("/proc/self").readlink().name != str(pid):
            raise ProcessError(
                f"/proc does not show this process (PID {pid}): mount a proc file system"
                " of this PID namespace there"
            )
        namespace = Path("/proc/self/ns/pid").stat().st_ino
        return cls(pid, stat.started_ticks, _boot_id(), namespace, os.geteuid())

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Return the owner that a mark names, None where it is no mark."""
        match = re.fullmatch(r"(\d{1,19}):(\d{1,19}):([^:]+):(\d{1,19}):(\d{1,19})", text, re.ASCII)
        if match is None:
            return None
        pid, ticks, boot, namespace, uid = match.groups()
        return cls(int(pid), int(ticks), boot, int(namespace), int(uid))

    @classmethod
    def of_leaf(cls, name: str) -> Owner | None:
        """Return the owner that the name of a cgroup tells, None where it is none of ours."""
        mark = name.removeprefix(_LEAF_PREFIX).rpartition("_")[0].replace("_", ":")
        return cls.parse(mark) if name.startswith(_LEAF_PREFIX) else None

    def __str__(self) -> str:
        return ":".join(str(part) for part in astuple(self))

    def new_leaf_name(self) -> str:
        """Return a new name for a cgroup of this owner."""
        return f"{_LEAF_PREFIX}{str(self).replace(':', '_')}_{secrets.token_hex(4)}"

    def is_alive(self) -> bool:
        """Return whether exactly this process still runs (a zombie does not)."""
        if self.boot_id != _boot_id():
            return False
        stat = kernel.read_stat(self.pid)
        return stat is not None and stat.started_ticks == self.started_ticks and not stat.is_dead

    def is_dead_beside(self, here: Owner) -> bool:
        """Return whether this was an owner of the same user and PID namespace, and has ended."""
        is_ours = (self.namespace, self.uid) == (here.namespace, here.uid)
        return is_ours and not self.is_alive()


def _boot_id() -> str:
    """Return the kernel's random id of this boot; nothing of ours lives through another one."""
    return read_text(Path("/proc/sys/kernel/random/boot_id")) or "unknown"
