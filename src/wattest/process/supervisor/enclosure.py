"""What holds a tree together beside its ancestry: nothing, a cgroup leaf, or a PID namespace."""

# pathlib would cost a third of the start-up.
# ruff: noqa: PTH102, PTH106
from __future__ import annotations

import os
import select
import signal
from contextlib import suppress

from . import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .family import Family

_CGROUP_DEPTH = 32


class Enclosure:
    """The rung `guard`: ancestry alone. The other rungs override what they add."""

    def prepare(self, family: Family) -> None:
        """Get ready for the fork of a run."""

    def enter(self) -> None:
        """Enclose the calling process, between its fork and its exec."""

    def kill(self) -> None:
        """Have the kernel kill everything inside; again and again if need be."""

    def reaped(self, pid: int, family: Family) -> None:
        """Learn that child `pid` was reaped."""

    def remove(self) -> None:
        """Leave nothing behind; everything inside is dead."""


class Leaf(Enclosure):
    """The rung `cgroup`: a cgroup v2 leaf of its own, ended by `cgroup.kill` (Linux 5.14).

    The kernel lets no fork escape and asks for no right over the processes: this also ends
    set-uid children of an ordinary user.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._procs = -1
        self._kill = -1

    def prepare(self, family: Family) -> None:
        """Create the leaf at the first run.

        Raises:
            OSError: this user may not create it, or the kernel has no `cgroup.kill`.
        """
        if self._procs >= 0:
            return
        os.mkdir(self._folder)
        flags = os.O_WRONLY | os.O_CLOEXEC
        self._kill = os.open(f"{self._folder}/cgroup.kill", flags)
        self._procs = os.open(f"{self._folder}/cgroup.procs", flags)

    def enter(self) -> None:
        """Move into the leaf."""
        os.write(self._procs, b"0")

    def kill(self) -> None:
        """End everything in the leaf."""
        if self._kill < 0:
            try:
                self._kill = os.open(f"{self._folder}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
            except OSError:
                # Never made, or removed under us: the rounds of SIGKILL go on without it.
                return
        with suppress(OSError):
            os.write(self._kill, b"1")

    def remove(self) -> None:
        """Remove the leaf, and what the training made below it."""
        remove_cgroup(self._folder)


class Namespace(Enclosure):
    """The rung `pid-namespace`: each run in a PID namespace whose init dies with the supervisor.

    The init is a sibling of the run's main process: it adopts and reaps the orphans, and its
    death ends everything inside, by the kernel. Needs CAP_SYS_ADMIN.
    """

    def __init__(self, supervisor_pidfd: int) -> None:
        self._supervisor = supervisor_pidfd
        self._own_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._init = 0

    def prepare(self, family: Family) -> None:
        """Make a new namespace and its init.

        Raises:
            OSError: this user may not.
        """
        linux.enter_namespace(self._own_namespace, linux.CLONE_NEWPID)
        linux.unshare(linux.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            try:
                _be_init(self._supervisor)
            finally:
                os._exit(1)
        self._init = pid
        family.spared.add(pid)

    def enter(self) -> None:
        """See the own PID namespace in /proc."""
        linux.mount_own_proc()

    def kill(self) -> None:
        """End the init, and with it everything inside."""
        if self._init:
            os.kill(self._init, signal.SIGKILL)

    def reaped(self, pid: int, family: Family) -> None:
        """Forget an init that is gone."""
        if pid == self._init:
            self._init = 0
            family.spared.discard(pid)


def enclosure_for(rung: str, leaf: str) -> Enclosure:
    """Return the enclosure of a rung; called in the process that forks the runs."""
    if rung == "cgroup":
        return Leaf(leaf)
    if rung == "pid-namespace":
        return Namespace(linux.pidfd_open(os.getpid()))
    return Enclosure()


def _be_init(supervisor_pidfd: int) -> None:
    """Reap orphans until killed; never returns while the supervisor lives."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    linux.die_with_parent()
    if is_over(supervisor_pidfd):
        return
    linux.set_name("wattest-init")
    # Our copy of the control socket would hide the supervisor's end from its owner.
    with os.scandir("/proc/self/fd") as entries:
        held = [int(entry.name) for entry in entries]
    for descriptor in held:
        # One of them was the listing's own, and is closed already.
        if descriptor > 2:
            with suppress(OSError):
                os.close(descriptor)
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG | linux.WAIT_ALL)[0]:
                pass
        except ChildProcessError:
            pass
        signal.sigwait([signal.SIGCHLD])


def is_over(pidfd: int) -> bool:
    """Return whether the process behind `pidfd` has ended."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))


def remove_cgroup(folder: str) -> bool:
    """Remove an empty cgroup and the empty ones below; return whether it is gone."""
    for _ in range(_CGROUP_DEPTH):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return True
        except OSError:
            if not _remove_children(folder):
                return False
        else:
            return True
    return False


def _remove_children(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return False
    return bool(below) and all(remove_cgroup(path) for path in below)
