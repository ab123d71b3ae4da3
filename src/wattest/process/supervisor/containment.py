"""What holds a tree together beside its ancestry: nothing, a cgroup leaf, or a PID namespace."""

# pathlib would cost a third of the start-up.
# ruff: noqa: PTH102, PTH106, PTH110, PTH208
from __future__ import annotations

import os
import signal
from contextlib import suppress

from . import kernel


class Containment:
    """The rung `guard`: ancestry alone. The other rungs override what they add.

    `spared` holds children that belong to the supervision itself: never signalled, never counted.
    """

    def __init__(self) -> None:
        self.spared: set[int] = set()

    def prepare(self) -> None:
        """Get ready for the fork of a run."""

    def enter(self) -> None:
        """Contain the calling process, between its fork and its exec."""

    def kill(self) -> None:
        """Have the kernel kill everything inside; again and again if need be."""

    def reaped(self, pid: int) -> None:
        """Learn that child `pid` was reaped."""

    def remove(self) -> None:
        """Leave nothing behind; everything inside is dead."""


class Leaf(Containment):
    """The rung `cgroup`: a cgroup v2 leaf of its own, ended by `cgroup.kill` (Linux 5.14).

    The kernel lets no fork escape and asks for no right over the processes: this also ends
    set-uid children of an ordinary user.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder
        self._procs = -1
        self._kill = -1

    def prepare(self) -> None:
        """Create the leaf at the first run.

        Raises:
            OSError: this user may not create it, or the kernel has no `cgroup.kill`.
        """
        if self._procs < 0:
            os.mkdir(self._folder)
            self._kill = self._open("cgroup.kill")
            self._procs = self._open("cgroup.procs")

    def enter(self) -> None:
        """Move into the leaf."""
        os.write(self._procs, b"0")

    def kill(self) -> None:
        """End everything in the leaf."""
        # Never made, or removed under us: the rounds of SIGKILL go on without it.
        with suppress(OSError):
            if self._kill < 0:
                self._kill = self._open("cgroup.kill")
            os.write(self._kill, b"1")

    def remove(self) -> None:
        """Remove the leaf, and what the training made below it."""
        remove_cgroup(self._folder)

    def _open(self, name: str) -> int:
        return os.open(f"{self._folder}/{name}", os.O_WRONLY | os.O_CLOEXEC)


class Namespace(Containment):
    """The rung `pid-namespace`: each run in a PID namespace whose init dies with the supervisor.

    The init is a sibling of the run's main process: it adopts and reaps the orphans, and its
    death ends everything inside, by the kernel. Needs CAP_SYS_ADMIN. Made by the supervisor.
    """

    def __init__(self) -> None:
        super().__init__()
        self._supervisor = kernel.pidfd_open(os.getpid())
        self._own_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def prepare(self) -> None:
        """Make a new namespace and its init.

        Raises:
            OSError: this user may not.
        """
        # Joined and left for the children alone, not for this process itself.
        kernel.call("setns", self._own_namespace, kernel.CLONE_NEWPID)
        kernel.call("unshare", kernel.CLONE_NEWPID)
        self.spared.add(kernel.fork(self._be_init))

    def enter(self) -> None:
        """See the own PID namespace in /proc."""
        kernel.mount_own_proc()

    def kill(self) -> None:
        """End the init, and with it everything inside."""
        for init in self.spared:
            os.kill(init, signal.SIGKILL)

    def reaped(self, pid: int) -> None:
        """Forget an init that is gone."""
        self.spared.discard(pid)

    def _be_init(self) -> None:
        """Reap orphans until killed; never returns while the supervisor lives."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        if not kernel.die_with_parent(self._supervisor):
            return
        kernel.set_name("wattest-init")
        # Our copy of the control socket would hide the supervisor's end from its owner.
        os.closerange(3, 1 + max(int(held) for held in os.listdir("/proc/self/fd")))
        while True:
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG | kernel.WAIT_ALL)[0]:
                    pass
            signal.sigwait([signal.SIGCHLD])


def containment_of(rung: str, leaf: str) -> Containment:
    """Return the containment of a rung; called in the process that forks the runs."""
    if rung == "cgroup":
        return Leaf(leaf)
    if rung == "pid-namespace":
        return Namespace()
    return Containment()


def remove_cgroup(folder: str) -> bool:
    """Remove a cgroup and those below it, as far as they are empty; return whether it is gone."""
    for path, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            os.rmdir(path)
    return not os.path.exists(folder)
