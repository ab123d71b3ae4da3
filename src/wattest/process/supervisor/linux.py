"""System calls that Python 3.10 does not offer everywhere, each raising OSError."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_SYS_PIDFD_SEND_SIGNAL = 424
_SYS_PIDFD_OPEN = 434
_MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_MS_REC = 1 << 14
_MS_SLAVE = 1 << 19

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
# wait(2): also children made by clone(2) with another exit signal than SIGCHLD.
WAIT_ALL = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, call: str) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def _prctl(option: int, value: int, name: str) -> None:
    zero = ctypes.c_ulong(0)
    _checked(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero), f"prctl({name})")


def adopt_orphans() -> None:
    """Become child subreaper: orphaned descendants become children of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, "PR_SET_CHILD_SUBREAPER")


def die_with_parent() -> None:
    """Have the kernel SIGKILL this process when the *thread* that created it ends.

    Cleared by fork, by a set-uid exec and by a change of credentials, and silent if the parent
    is gone already: set it last, from a child of a single-threaded parent, then check.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, "PR_SET_PDEATHSIG")


def set_name(name: str) -> None:
    """Set the name that `ps -o comm` and `top` show, at most 15 bytes."""
    _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def pidfd_open(pid: int) -> int:
    """Return a descriptor (close-on-exec) that becomes readable when process `pid` ends.

    Raises:
        OSError: ESRCH where there is no such process, ENOSYS before Linux 5.3.
    """
    if hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    return _checked(_libc.syscall(_SYS_PIDFD_OPEN, pid, 0), "pidfd_open")


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """Send a signal to the process behind `pidfd`, never to one that inherited its PID."""
    if hasattr(signal, "pidfd_send_signal"):
        signal.pidfd_send_signal(pidfd, number)
        return
    call = _libc.syscall(_SYS_PIDFD_SEND_SIGNAL, pidfd, number, None, 0)
    _checked(call, "pidfd_send_signal")


def unshare(flags: int) -> None:
    """Leave shared namespaces (unshare(2)); `CLONE_NEWPID` counts for children only."""
    _checked(_libc.unshare(flags), "unshare")


def enter_namespace(descriptor: int, kind: int) -> None:
    """Join the namespace behind an open `/proc/PID/ns/*` file (setns(2))."""
    _checked(_libc.setns(descriptor, kind), "setns")


def mount_own_proc() -> None:
    """Show this process its own PID namespace under /proc, in a mount namespace of its own.

    Mounts made on the host later still appear here, none made here appears there.
    """
    unshare(CLONE_NEWNS)
    everything = _libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None)
    _checked(everything, "mount(/, MS_SLAVE)")
    flags = ctypes.c_ulong(_MS_NOSUID_NODEV_NOEXEC)
    _checked(_libc.mount(b"proc", b"/proc", b"proc", flags, None), "mount(/proc)")
