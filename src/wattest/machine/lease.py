"""One measurer per counter: a host-wide lock for every counter that a session reads.

The lock is the kernel's (`flock`), so it ends with its holder however that ends; the file's content
only tells others who holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from wattest.errors import LeaseError

if TYPE_CHECKING:
    from wattest.energy import Finding

_POLL_SECONDS = 0.2
_FOLDERS = (Path("/run/lock/wattest"), Path(tempfile.gettempdir()) / "wattest-locks")


def counters_of(findings: Iterable[Finding], sys_root: Path) -> list[str]:
    """Return names for the counters that are measured, the same for every session on this host."""
    packages = packages_lease(sys_root)
    return [
        packages if finding.domain == "cpu" else finding.name
        for finding in findings
        if finding.status == "measured"
    ]


def packages_lease(sys_root: Path) -> str:
    """Return the name of the CPU's counters: the same by whatever path their tree is reached."""
    try:
        tree = (sys_root / "class" / "powercap").stat()
    except OSError:
        return "cpu-packages"
    return f"cpu-packages (powercap tree {tree.st_dev}-{tree.st_ino})"


def take(
    counters: Iterable[str],
    wait_seconds: float = 0.0,
    announce: Callable[[str], None] = lambda _: None,
) -> contextlib.ExitStack:
    """Lock every counter, in one order for all sessions, or none; close the result to let go.

    Args:
        counters: names of the counters, the same in every session on this host.
        wait_seconds: how long to wait for other holders altogether.
        announce: is told once per counter who is waited for.

    Raises:
        LeaseError: another session holds one; the message names its PID.
    """
    deadline = time.monotonic() + wait_seconds
    with contextlib.ExitStack() as held:
        for counter in sorted(set(counters)):
            held.callback(os.close, _lock(counter, deadline, announce))
        return held.pop_all()


def _lock(counter: str, deadline: float, announce: Callable[[str], None]) -> int:
    descriptor = _open(_folder() / (re.sub(r"[^A-Za-z0-9._-]+", "_", counter) + ".lock"))
    announced = False
    while not _try_lock(descriptor):
        holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip() or "unknown"
        held = f"PID {holder} already measures on {counter}"
        left = deadline - time.monotonic()
        if left <= 0:
            os.close(descriptor)
            raise LeaseError(
                f"{held}: two sessions would count each other's energy; wait for it with"
                " --wait-for-counters"
            )
        if not announced:
            announce(f"{held}; waiting up to {left:.0f} s")
            announced = True
        time.sleep(_POLL_SECONDS)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _folder() -> Path:
    """Return a folder that every user of the host can lock in."""
    named = os.environ.get("WATTEST_LOCK_DIR")
    for folder in (Path(named),) if named else _FOLDERS:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True)
            folder.chmod(0o1777)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise LeaseError("no folder for locks can be written; name one in WATTEST_LOCK_DIR")


def _open(path: Path) -> int:
    """Open a lock file for everybody.

    It is first opened without O_CREAT: the kernel's ``fs.protected_regular`` refuses O_CREAT on a
    file of another user in a sticky folder, even to root.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            descriptor = os.open(path, flags | os.O_CREAT, 0o666)
            os.fchmod(descriptor, 0o666)
            return descriptor
    except OSError as error:
        raise LeaseError(f"lock {path} cannot be opened: {error.strerror}") from None
