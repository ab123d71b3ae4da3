"""Where this process stands in the cgroup v2 hierarchy, unified or hybrid."""

from __future__ import annotations

import re
from pathlib import Path

from wattest.errors import ProcessError
from wattest.process.mark import Owner


def hierarchy(proc_root: Path = Path("/proc")) -> tuple[Path, str] | None:
    """Return the mount point of cgroup v2 and the cgroup that is mounted there; None without."""
    for line in _lines(proc_root / "self" / "mountinfo"):
        mount, _, kind = line.partition(" - ")
        if kind.split()[0] == "cgroup2":
            _, _, _, root, point, *_ = mount.split()
            return Path(_unescaped(point)), _unescaped(root)
    return None


def own_folder(proc_root: Path = Path("/proc")) -> Path:
    """Return the folder of this process's own cgroup.

    Raises:
        ProcessError: there is no cgroup v2 here, or this process lies outside of what is mounted.
    """
    mounted = hierarchy(proc_root)
    if mounted is None:
        raise ProcessError("no cgroup v2 file system is mounted")
    point, root = mounted
    for line in _lines(proc_root / "self" / "cgroup"):
        if line.startswith("0::"):
            own = line[3:]
            prefix = root.rstrip("/")
            if own != prefix and not own.startswith(f"{prefix}/"):
                break
            return point / own.removeprefix(prefix).lstrip("/")
    raise ProcessError(f"this process's own cgroup is not mounted under {point}")


def new_leaf() -> str:
    """Return the path of a leaf that the supervisor may create.

    Raises:
        ProcessError: there is no cgroup v2 here.
    """
    return str(own_folder() / Owner.current().leaf_name())


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


def _unescaped(text: str) -> str:
    """Undo the octal escapes of mountinfo (proc_pid_mountinfo(5))."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
