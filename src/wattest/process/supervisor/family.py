"""The descendants of this process: listing, signalling, and killing until none is left."""

from __future__ import annotations

import os
import resource
import signal
import time

from . import linux, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .enclosure import Enclosure

MILLISECOND_NS = 1_000_000
_BURST_NS = 20 * MILLISECOND_NS
_LONGEST_PAUSE_NS = 500 * MILLISECOND_NS


class Family:
    """All descendants of this process, which must be a single-threaded child subreaper.

    `spared` holds PIDs that belong to the supervision itself and are never signalled or counted.
    """

    def __init__(self, lister: proc.Lister) -> None:
        self._lister = lister
        self._own = os.getpid()
        self.spared: set[int] = set()
        self.childless = True

    def members(self) -> list[tuple[int, int]]:
        """Return (PID, parent's PID) of all descendants, zombies included, parents first."""
        listed = self._lister.descendants(self._own)
        return [(pid, parent) for pid, parent in listed if pid not in self.spared]

    def orphans(self) -> set[int]:
        """Return the descendants whose own parent is gone, and the main process."""
        adopters = self.spared | {self._own}
        return {pid for pid, parent in self.members() if parent in adopters}

    def reap(self, notice: Callable[[int, int], None]) -> None:
        """Reap every dead child, telling `notice` its PID and wait status; sets `childless`.

        For a subreaper, ECHILD is the proof that no descendant is left.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | linux.WAIT_ALL)
            except ChildProcessError:
                self.childless = True
                return
            if pid == 0:
                self.childless = False
                return
            notice(pid, status)

    def signal(self, number: int, only: set[int] | None = None) -> set[int]:
        """Send `number` to every live descendant (of `only`); return the PIDs it reached."""
        return {
            pid
            for pid, parent in self.members()
            if (only is None or pid in only) and self._send(pid, parent, number)
        }

    def survivors(self, limit: int = 50) -> list[tuple[int, str, str]]:
        """Return (PID, state, command) of up to `limit` descendants; asked when there are some."""
        found = []
        for pid, _ in self.members()[:limit]:
            stat = proc.read_stat(pid)
            state = "?" if stat is None else stat.state
            found.append((pid, state, proc.command_line(pid)))
        return found or [(0, "?", "[not visible to this user]")]

    def live_pids(self) -> list[int]:
        """Return the descendants that are no zombies."""
        stats = (proc.read_stat(pid) for pid, _ in self.members())
        return [stat.pid for stat in stats if stat is not None and stat.state not in "ZX"]

    def cpu_seconds(self) -> float:
        """Return the CPU time of all descendants, alive and reaped."""
        listed = self._lister.descendants(self._own)
        stats = (proc.read_stat(pid) for pid, _ in listed)
        ticks = sum(stat.cpu_ticks for stat in stats if stat is not None)
        reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ticks / proc.CLOCK_TICKS_PER_SECOND + reaped.ru_utime + reaped.ru_stime

    def _send(self, pid: int, parent: int, number: int) -> bool:
        """Signal one descendant, and never a stranger that got its PID meanwhile."""
        try:
            if parent != self._own:
                return self._send_checked(pid, parent, number)
            # Only we reap our children, so the PID cannot have been given away.
            if _is_dead_child(pid):
                return False
            os.kill(pid, number)
            return True
        except OSError:
            # Gone, or not ours to signal; if it is there, the next round finds it again.
            return False

    def _send_checked(self, pid: int, parent: int, number: int) -> bool:
        pidfd = linux.pidfd_open(pid)
        try:
            stat = proc.read_stat(pid)
            if stat is None or stat.state in "ZX":
                return False
            # An orphan has moved to us, or to a reaper among its ancestors: found next time.
            if stat.parent not in (parent, self._own):
                return False
            linux.pidfd_send_signal(pidfd, number)
            return True
        finally:
            os.close(pidfd)


def _is_dead_child(pid: int) -> bool:
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT | linux.WAIT_ALL
    return os.waitid(os.P_PID, pid, flags) is not None


class Clearance:
    """SIGKILL for every descendant, in rounds: whoever was killed forks no more.

    `killed` holds the PIDs that SIGKILL has reached so far.
    """

    def __init__(self, family: Family, enclosure: Enclosure) -> None:
        self._family = family
        self._enclosure = enclosure
        self._pause_ns = MILLISECOND_NS
        self.killed: set[int] = set()

    def advance(self) -> int:
        """Kill until a round finds nobody new; return the nanoseconds to the next try.

        Dead children wake the caller earlier; the pause is for what cannot be killed yet.
        """
        burst_end_ns = time.monotonic_ns() + _BURST_NS
        before = len(self.killed)
        first = self._round()
        self._enclosure.kill()
        while first and time.monotonic_ns() < burst_end_ns and self._round():
            pass
        if len(self.killed) > before:
            self._pause_ns = MILLISECOND_NS
        else:
            self._pause_ns = min(2 * self._pause_ns, _LONGEST_PAUSE_NS)
        return self._pause_ns

    def _round(self) -> bool:
        reached = self._family.signal(signal.SIGKILL)
        fresh = not reached <= self.killed
        self.killed |= reached
        return fresh
