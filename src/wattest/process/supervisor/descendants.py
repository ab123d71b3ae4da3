"""The descendants of this process: listing, signalling, and ending them until none is left."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable

from . import kernel
from .containment import Containment
from .kernel import MILLISECOND_NS
from .wire import Message

ChildrenOf = Callable[[int], list[int]]
_SHORTEST_LOOK_NS = 5 * MILLISECOND_NS
_LONGEST_LOOK_NS = 100 * MILLISECOND_NS
_BURST_NS = 20 * MILLISECOND_NS
_LONGEST_PAUSE_NS = 500 * MILLISECOND_NS


class Descendants:
    """All descendants of this process, which must be a single-threaded child subreaper.

    Attributes:
        containment: what holds them together; what it spares is none of them.
        childless: whether there were none when `reap` last looked.
    """

    def __init__(self, containment: Containment) -> None:
        self.containment = containment
        self.childless = True
        self._own = os.getpid()
        self._is_listed_by_kernel = kernel_lists_children()

    def members(self) -> list[tuple[int, int]]:
        """Return (PID, parent's PID) of all descendants, zombies included, parents first."""
        return [one for one in self._everybody() if one[0] not in self.containment.spared]

    def orphans(self) -> set[int]:
        """Return the descendants whose own parent is gone, and the main process."""
        adopters = self.containment.spared | {self._own}
        return {pid for pid, parent in self.members() if parent in adopters}

    def reap(self, notice: Callable[[int, int], None]) -> None:
        """Reap every dead child, telling `notice` its PID and wait status; sets `childless`.

        For a subreaper, ECHILD is the proof that no descendant is left.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | kernel.WAIT_ALL)
            except ChildProcessError:
                self.childless = True
                return
            if pid == 0:
                self.childless = False
                return
            self.containment.reaped(pid)
            notice(pid, status)

    def are_gone(self) -> bool:
        """Return whether none is left; ends what the containment needed for them."""
        if self.containment.spared and not self.childless and not self.members():
            self.containment.kill()
        return self.childless

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
            stat = kernel.read_stat(pid)
            found.append((pid, stat.state if stat else "?", kernel.command_line(pid)))
        return found or [(0, "?", "[not visible to this user]")]

    def live_pids(self) -> list[int]:
        """Return the descendants that are no zombies."""
        stats = (kernel.read_stat(pid) for pid, _ in self.members())
        return [stat.pid for stat in stats if stat is not None and not stat.is_dead]

    def cpu_seconds(self) -> float:
        """Return the CPU time of all descendants, alive and reaped."""
        stats = (kernel.read_stat(pid) for pid, _ in self._everybody())
        ticks = sum(stat.cpu_ticks for stat in stats if stat is not None)
        reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ticks / kernel.CLOCK_TICKS_PER_SECOND + reaped.ru_utime + reaped.ru_stime

    def _everybody(self) -> list[tuple[int, int]]:
        listed = children_by_kernel if self._is_listed_by_kernel else children_by_scan()
        return below(self._own, listed)

    def _send(self, pid: int, parent: int, number: int) -> bool:
        """Signal one descendant; if that fails and it is there, the next round finds it again."""
        if parent != self._own:
            # An orphan has moved to us, or to a reaper among its ancestors: found next time.
            adopters = (parent, self._own)
            return kernel.signal_exactly(pid, number, lambda stat: stat.parent in adopters)
        try:
            # Only we reap our children, so the PID cannot have been given away.
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT | kernel.WAIT_ALL
            if os.waitid(os.P_PID, pid, flags) is not None:
                return False
            os.kill(pid, number)
        except OSError:
            return False
        return True


class KillRounds:
    """SIGKILL for every descendant, in rounds: whoever was killed forks no more.

    Attributes:
        descendants: who is to be killed.
        have_begun: whether there was a round.
        killed: the PIDs that SIGKILL has reached so far.
    """

    def __init__(self, descendants: Descendants) -> None:
        self.descendants = descendants
        self.have_begun = False
        self.killed: set[int] = set()
        self._pause_ns = MILLISECOND_NS

    def advance(self) -> int:
        """Kill until a round finds nobody new; return the nanoseconds to the next try.

        Dead children wake the caller earlier; the pause is for what cannot be killed yet.
        """
        self.have_begun = True
        burst_end_ns = time.monotonic_ns() + _BURST_NS
        self._pause_ns = min(2 * self._pause_ns, _LONGEST_PAUSE_NS)
        while True:
            fresh = self.descendants.signal(signal.SIGKILL) - self.killed
            self.descendants.containment.kill()
            if fresh:
                self.killed |= fresh
                self._pause_ns = MILLISECOND_NS
            if not fresh or time.monotonic_ns() >= burst_end_ns:
                return self._pause_ns


class Ending:
    """Time for the descendants to end by themselves, then SIGKILL until none is left.

    Advanced by the supervisor's loop; every deadline is absolute and monotonic.
    """

    def __init__(self, rounds: KillRounds, began_ns: int, patient_ns: int, kill_ns: int) -> None:
        self._rounds = rounds
        self._began_ns = began_ns
        self._patient_until_ns = began_ns + patient_ns
        self._kill_until_ns = began_ns + patient_ns + kill_ns

    def advance(self, now_ns: int) -> int | None:
        """Do what is due; return when to come again (or when a child dies), None when over."""
        if self._rounds.descendants.are_gone():
            return None
        if now_ns < self._patient_until_ns:
            self._be_patient()
            # At first a tree may change every moment.
            look_ns = min(max((now_ns - self._began_ns) // 8, _SHORTEST_LOOK_NS), _LONGEST_LOOK_NS)
            return min(self._patient_until_ns, now_ns + look_ns)
        if now_ns < self._kill_until_ns:
            return min(self._kill_until_ns, now_ns + self._rounds.advance())
        return None

    def _be_patient(self) -> None:
        """Let the descendants end by themselves."""


class Stop(Ending):
    """An end that is wanted: with SIGTERM, and a report for the requests that asked for it."""

    def __init__(self, rounds: KillRounds, grace_ns: int, kill_ns: int, was_running: bool) -> None:
        super().__init__(rounds, time.monotonic_ns(), grace_ns, kill_ns)
        self.requests: list[Message] = []
        self._was_running = was_running
        self._told: set[int] = set()

    def hasten(self, grace_ns: int, kill_ns: int) -> None:
        """Shorten the deadlines, never lengthen them."""
        now_ns = time.monotonic_ns()
        self._patient_until_ns = min(self._patient_until_ns, now_ns + grace_ns)
        self._kill_until_ns = min(self._kill_until_ns, now_ns + grace_ns + kill_ns)

    def report(self) -> Message:
        """Return the fields of the reply."""
        descendants = self._rounds.descendants
        return {
            "was_running": self._was_running,
            "sigkill_needed": self._was_running and self._rounds.have_begun,
            "survivors": [] if descendants.childless else descendants.survivors(),
            "duration_seconds": (time.monotonic_ns() - self._began_ns) / 1e9,
        }

    def _be_patient(self) -> None:
        """SIGTERM everybody once; later only those whose parent is gone.

        A polite program may start helpers to end well; they are left in peace.
        """
        descendants = self._rounds.descendants
        everybody = {pid for pid, _ in descendants.members()}
        fresh = (descendants.orphans() if self._told else everybody) - self._told
        if fresh:
            reached = descendants.signal(signal.SIGTERM, fresh)
            # A stopped process takes SIGTERM only when it is continued.
            descendants.signal(signal.SIGCONT, reached)
            self._told |= reached


def kernel_lists_children() -> bool:
    """Return whether the kernel lists the children of a process (CONFIG_PROC_CHILDREN)."""
    own = os.getpid()
    return kernel.read(f"/proc/{own}/task/{own}/children") is not None


def below(root: int, children_of: ChildrenOf) -> list[tuple[int, int]]:
    """Return (PID, parent's PID) of all descendants of `root`, parents before children.

    Zombies are among them. A process that forks or ends meanwhile may be missed: ask again.
    """
    found: list[tuple[int, int]] = []
    seen = {root}
    queue = [root]
    for parent in queue:
        for pid in children_of(parent):
            if pid not in seen:
                seen.add(pid)
                queue.append(pid)
                found.append((pid, parent))
    return found


def children_by_kernel(parent: int) -> list[int]:
    """Return the children of every thread: a child belongs to the thread that made it."""
    folder = f"/proc/{parent}/task"
    try:
        with os.scandir(folder) as entries:
            threads = [entry.name for entry in entries]
    except kernel.GONE:
        return []
    lists = (kernel.read(f"{folder}/{thread}/children") for thread in threads)
    return [int(pid) for listed in lists if listed for pid in listed.split()]


def children_by_scan() -> ChildrenOf:
    """Read the parent of every process, once; return who looks up the children there."""
    children: dict[int, list[int]] = {}
    for pid in kernel.all_pids():
        stat = kernel.read_stat(pid)
        if stat is not None:
            children.setdefault(stat.parent, []).append(pid)
    return lambda parent: children.get(parent, [])
