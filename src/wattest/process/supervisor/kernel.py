"""What Linux is asked for: system calls that Python may lack, signals, waiting, and /proc.

A call that fails raises OSError. A process that is gone is None or absent, never an error.
"""

# pathlib would cost a third of the start-up.
# ruff: noqa: PTH123
from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from collections.abc import Callable, Iterable, Iterator

MILLISECOND_NS = 1_000_000
CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
# wait(2): also children made by clone(2) with another exit signal than SIGCHLD.
WAIT_ALL = 0x40000000
# How /proc says that a process is not there (any more), or not for this user.
GONE = (FileNotFoundError, NotADirectoryError, ProcessLookupError, PermissionError)
CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_SYS_PIDFD_SEND_SIGNAL = 424
_SYS_PIDFD_OPEN = 434
_MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_MS_REC = 1 << 14
_MS_SLAVE = 1 << 19
_NO_SIGNALS = bytes(128)
_LONGEST_WAIT_SECONDS = 3600.0

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object, told: str = "") -> int:
    """Call a function of the C library; `told` is its name in an error.

    Raises:
        OSError: it has returned -1.
    """
    result: int = getattr(_libc, name)(*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{told or name}: {os.strerror(number)}")
    return result


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    call("prctl", option, ctypes.c_ulong(value), zero, zero, zero)


def adopt_orphans() -> None:
    """Become child subreaper: orphaned descendants become children of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent_pidfd: int) -> bool:
    """Have the kernel SIGKILL this process when its parent ends; return whether that still lives.

    It belongs to the *thread* that created this process, and is cleared by fork, by a set-uid exec
    and by a change of credentials: set it last, from a child of a single-threaded parent.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return not has_ended(parent_pidfd)


def set_name(name: str) -> None:
    """Set the name that `ps -o comm` and `top` show, at most 15 bytes."""
    _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def pidfd_open(pid: int) -> int:
    """Return a descriptor (close-on-exec) that becomes readable when process `pid` ends.

    Raises:
        OSError: ESRCH where there is no such process, ENOSYS before Linux 5.3.
    """
    return call("syscall", _SYS_PIDFD_OPEN, pid, 0, told="pidfd_open")


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """Send a signal to the process behind `pidfd`, never to one that inherited its PID."""
    call("syscall", _SYS_PIDFD_SEND_SIGNAL, pidfd, number, None, 0, told="pidfd_send_signal")


def mount_own_proc() -> None:
    """Show this process its own PID namespace under /proc, in a mount namespace of its own.

    Mounts made on the host later still appear here, none made here appears there.
    """
    call("unshare", CLONE_NEWNS)
    call("mount", b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None)
    call("mount", b"proc", b"/proc", b"proc", ctypes.c_ulong(_MS_NOSUID_NODEV_NOEXEC), None)


def fork(child: Callable[[], None]) -> int:
    """Fork a child that calls `child`, says so if that fails, and ends; return its PID."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)
    return pid


def become(uid: int, gid: int, groups: list[int]) -> None:
    """Become another user for good."""
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def shield() -> None:
    """Block all standard signals, and forget which were inherited as ignored.

    Guard and supervisor end with their owner and with their tree, not by what a terminal, a batch
    system or an operator sends to everything in sight.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 32))
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) != signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)


def unshield() -> None:
    """Take signals again, also those that came since the fork; handlers go with the exec."""
    # Python's own call makes an enum of each signal that was blocked: 50 us in a fresh fork.
    call("sigprocmask", signal.SIG_SETMASK, _NO_SIGNALS, None)


def wait(descriptors: Iterable[int], seconds: float | None = None) -> set[int]:
    """Wait until a descriptor is readable or at its end; return those that are.

    Without `seconds` for ever, else for at most so many, and never for more than an hour.
    """
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    timeout = None if seconds is None else min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS) * 1000
    return {descriptor for descriptor, _ in poller.poll(timeout)}


def has_ended(pidfd: int) -> bool:
    """Return whether the process behind `pidfd` has ended."""
    return bool(wait([pidfd], seconds=0))


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

    @property
    def is_dead(self) -> bool:
        """Whether only an entry is left of the process, for its parent to reap."""
        return self.state in "ZX"


def close(*descriptors: int) -> None:
    """Close those that are not -1."""
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)


def read(path: str) -> bytes | None:
    """Return the whole file, or None where the process is gone or hidden from this user."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except GONE:
        return None


def write(path: str, text: str) -> None:
    """Replace what a file holds, without creating it."""
    with open(os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC), "wb", buffering=0) as file:
        file.write(text.encode())


def read_stat(pid: int) -> Stat | None:
    """Return the state of process `pid`, None where it is gone or hidden."""
    text = read(f"/proc/{pid}/stat")
    return Stat(text) if text else None


def command_line(pid: int) -> str:
    """Return the command line for a reader, or `[name]` where a process has none."""
    text = read(f"/proc/{pid}/cmdline")
    if text:
        return text.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    name = read(f"/proc/{pid}/comm")
    return f"[{name.decode(errors='replace').strip()}]" if name else "[gone]"


def all_pids() -> Iterator[int]:
    """Yield every process that /proc lists."""
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit():
                yield int(entry.name)


def signal_exactly(pid: int, number: int, is_meant: Callable[[Stat], bool]) -> bool:
    """Signal a live process if it `is_meant`, never one that got its PID; return if it was."""
    try:
        pidfd = pidfd_open(pid)
    except OSError:
        return False
    try:
        stat = read_stat(pid)
        if stat is None or stat.is_dead or not is_meant(stat):
            return False
        pidfd_send_signal(pidfd, number)
    except OSError:
        # Gone, or not ours to signal.
        return False
    finally:
        os.close(pidfd)
    return True
