"""One measurer per counter: a host-wide lock on every counter that a session reads.

The lock is the kernel's (`flock`), so it ends with its holder however that ends. It lies on a file
of the counter itself below /sys, which is the same for all users, temporary folders and mount
namespaces; where there is none, on a file of that name in every folder for locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from wattest.errors import LeaseError
from wattest.files import where_offered

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Claim:
    """What to lock: a name, the same in every session on this host, and the counter's own file.

    Attributes:
        name: How messages call it, and the lock in the folder.
        file: The counter's own file; None if it has none.
        shared: Whether others may hold it too, who also share.
    """

    name: str
    file: Path | None = None
    shared: bool = False


def take(
    claims: Iterable[Claim | str],
    wait_seconds: float = 0.0,
    announce: Callable[[str], None] = lambda _: None,
) -> contextlib.ExitStack:
    """Lock all that is claimed, in one order for all sessions, or none; close it to let go.

    Args:
        claims: What to lock; a name alone is locked in the folder.
        wait_seconds: How long to wait for other holders altogether.
        announce: is told once per claim who is waited for.

    Raises:
        LeaseError: another session holds one; the message names its PID.
    """
    deadline = time.monotonic() + wait_seconds
    wanted = {one if isinstance(one, Claim) else Claim(one) for one in claims}
    with contextlib.ExitStack() as held:
        for claim in sorted(wanted, key=lambda one: one.name):
            for path in lock_files(claim):
                held.callback(_let_go, _lock(claim, path, deadline, announce), os.getpid())
        return held.pop_all()


def _let_go(descriptor: int, holder: int) -> None:
    """Unlock before closing: a child that was forked has the descriptor, too, and lives on.

    In such a child nothing is unlocked: the lock is its parent's.
    """
    if os.getpid() == holder:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def lock_files(claim: Claim) -> list[Path]:
    """Return where a claim is locked: on its own file, else in the folders, and in one if named.

    Raises:
        LeaseError: it has no file of its own, and there is no folder for locks.
    """
    own = [claim.file] if claim.file is not None and os.access(claim.file, os.R_OK) else []
    if own and not os.environ.get("WATTEST_LOCK_DIR"):
        return own
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", claim.name)
    return [*own, *(folder / f"{name}.lock" for folder in lock_folders())]


def _lock(claim: Claim, path: Path, deadline: float, announce: Callable[[str], None]) -> int:
    is_own = path == claim.file
    with contextlib.ExitStack() as closing:
        descriptor = _open_counter(path) if is_own else open_for_all(path)
        closing.callback(os.close, descriptor)
        announced = False
        while not try_lock(descriptor, path, shared=claim.shared):
            known = _holder(descriptor)
            holder = known or (None if is_own else _noted(descriptor))
            who = f"PID {holder}" if holder else "a session of another PID namespace"
            held = f"{who} already measures on {claim.name}"
            left = deadline - time.monotonic()
            # What this process holds itself is not let go while it waits.
            if left <= 0 or known == str(os.getpid()):
                raise LeaseError(
                    f"{held}: two sessions would count each other's energy; wait for it with"
                    " --wait-for-counters"
                )
            if not announced:
                announce(f"{held}; waiting up to {left:.0f} s")
                announced = True
            time.sleep(_POLL_SECONDS)
        if not is_own:
            # A courtesy, for which a full disk has no room.
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        closing.pop_all()
    return descriptor


def _open_counter(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LeaseError(f"counter {path} cannot be locked: {error.strerror}") from None


def try_lock(descriptor: int, path: Path, *, shared: bool = False) -> bool:
    """Lock an open file as a whole, alone or with others; return whether nobody else has it.

    Raises:
        LeaseError: this file system has no locks.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise LeaseError(
            f"{path} cannot be locked: {error.strerror}; name a folder on a disk of this machine in"
            " WATTEST_LOCK_DIR"
        ) from None
    return True


def _holder(descriptor: int) -> str | None:
    """Return the PID that holds a lock on this file, as /proc/locks tells it (proc(5)).

    A holder in another PID namespace is not listed.
    """
    found = os.fstat(descriptor)
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
    with contextlib.suppress(OSError), Path("/proc/locks").open(encoding="ascii") as lines:
        for line in lines:
            words = line.split()
            if words[1] == "FLOCK" and words[-3] == f"{device}:{found.st_ino}":
                return words[-4]
    return None


def _noted(descriptor: int) -> str | None:
    """Return the PID that the last holder has written into a file of the folder."""
    found = re.match(rb"[0-9]+", os.pread(descriptor, 10, 0))
    return found[0].decode() if found else None


def lock_folders() -> list[Path]:
    """Return the folders that this user can lock in; those of two users have one in common.

    Raises:
        LeaseError: there is none.
    """
    named = os.environ.get("WATTEST_LOCK_DIR")
    folders = [Path(named or "/run/lock/wattest")]
    if not named:
        with contextlib.suppress(FileNotFoundError):
            folders.append(Path(tempfile.gettempdir()) / "wattest-locks")
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True)
            folder.chmod(0o1777)
    if found := [one for one in folders if os.access(one, os.W_OK | os.X_OK)]:
        return found
    tried = " or ".join(map(str, folders))
    raise LeaseError(f"no lock can be written in {tried}; name a folder in WATTEST_LOCK_DIR")


def open_for_all(path: Path) -> int:
    """Open a file of the folder that every user may open, and make it where there is none.

    It is first opened without O_CREAT: the kernel's ``fs.protected_regular`` refuses O_CREAT on a
    file of another user in a sticky folder, even to root.

    Raises:
        LeaseError: it cannot be opened, or is no regular file.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            descriptor = os.open(path, flags | os.O_CREAT, 0o666)
            with where_offered():
                os.fchmod(descriptor, 0o666)
    except OSError as error:
        raise LeaseError(f"lock {path} cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise LeaseError(f"lock {path} cannot be opened: it is no regular file")
    return descriptor
