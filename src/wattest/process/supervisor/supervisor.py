"""The supervisor: one loop over its owner's requests, its children, and the clock."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress

from . import linux, proc
from .ending import FOREVER_NS, Ending
from .family import MILLISECOND_NS, Clearance, Family
from .launch import Order, Refusal, spawn
from .run import Run
from .wire import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .enclosure import Enclosure
    from .mission import Mission
    from .wire import Message

# What outlives a run's main process and SIGKILL for this long is left to the final report.
_CLEARING_NS = 5_000 * MILLISECOND_NS
_LINGER_LOOK_NS = 5 * MILLISECOND_NS
_MOST_PIDS = 10_000
_LONGEST_POLL_NS = 3_600_000 * MILLISECOND_NS


class Supervisor:
    """Runs one mission; whatever its owner, its guard or the training does, nothing is left."""

    def __init__(self, link: Link, owners: list[int], guard: int, enclosure: Enclosure) -> None:
        self.link = link
        self.enclosure = enclosure
        self.family = Family(proc.Lister())
        self.pidfd = linux.pidfd_open(os.getpid())
        self._owners = list(owners)
        self._guard = guard
        self._woken = _wake_on_child()
        self._mission: Mission | None = None
        self._run: Run | None = None
        self._ending: Ending | None = None
        self._clearance: Clearance | None = None
        self._cleared_by_ns = 0
        self._leaving = False

    def serve(self, mission: Mission) -> None:
        """Serve until the owner has let go and no descendant is left."""
        self._mission = mission
        mission.begin()
        while not (self._leaving and self.family.childless):
            due_ns = self._advance(mission)
            if self.link.closed and not self._leaving:
                self._leave()
                continue
            self._wait(due_ns)
            self.family.reap(self._reaped)
        self.enclosure.remove()

    def launch(
        self, order: Order, number: int, output: int, *, waits: bool = False
    ) -> Run | Refusal:
        """Fork a run; the mission hears of it through `settled`, unless it is refused here."""
        step = "enclosure"
        try:
            self.family.childless = False
            self.enclosure.prepare(self.family)
            step = "fork"
            spawned = spawn(order, output, self.enclosure, self.pidfd, waits=waits)
        except OSError as error:
            self.enclosure.kill()
            return Refusal(step, error.errno or 0, str(error))
        self._run = Run(number, spawned)
        self._clearance = None
        return self._run

    def gone(self) -> bool:
        """Return whether no descendant is left, by ECHILD."""
        if self.family.childless:
            return True
        if self.family.spared and not self.family.members():
            self.enclosure.kill()
        return False

    def end(self, grace_ns: int, kill_ns: int) -> None:
        """Begin to end what runs, unless that is under way."""
        if not self.is_stopping:
            self._ending = Ending(self, grace_ns, kill_ns, time.monotonic_ns())

    def main_is_over(self) -> bool:
        """Return whether there is no main process (any more)."""
        return self._run is None or self._run.ended_ns > 0

    @property
    def is_running(self) -> bool:
        """Whether there is a run that was released, or something that one has left."""
        run = self._run
        is_none = run is not None and (run.refusal is not None or run.spawned.is_waiting)
        return not self.family.childless and not is_none

    @property
    def is_stopping(self) -> bool:
        """Whether a stop is under way or the owner is gone."""
        return self._ending is not None or self._leaving

    def _advance(self, mission: Mission) -> int | None:
        """Do what is due; return the monotonic time of what is due next."""
        now_ns = time.monotonic_ns()
        if self._ending is not None:
            due_ns = self._ending.advance(now_ns)
            if due_ns is None:
                self._finish_ending(mission, self._ending, now_ns)
                return now_ns
            return min(due_ns, mission.advance(now_ns) or due_ns)
        if self._leaving:
            self._ending = Ending(self, 0, FOREVER_NS, now_ns)
            return now_ns
        if self._run is not None and self._run.ended_ns:
            return self._clear(mission, self._run, now_ns)
        return mission.advance(now_ns)

    def _clear(self, mission: Mission, run: Run, now_ns: int) -> int:
        """Kill what outlived the main process of `run`, then tell the mission."""
        if self._clearance is None:
            self._clearance = Clearance(self.family, self.enclosure)
            self._cleared_by_ns = run.ended_ns + mission.linger_ns + _CLEARING_NS
        if self.gone() or now_ns >= self._cleared_by_ns:
            leftovers = len(self._clearance.killed)
            self._run = self._clearance = None
            mission.cleared(run, leftovers)
            return now_ns
        linger_until_ns = run.ended_ns + mission.linger_ns
        if now_ns < linger_until_ns:
            return min(linger_until_ns, now_ns + _LINGER_LOOK_NS)
        return min(self._cleared_by_ns, now_ns + self._clearance.advance())

    def _finish_ending(self, mission: Mission, ending: Ending, now_ns: int) -> None:
        run, earlier = self._run, self._clearance
        if run is not None and run.ended_ns:
            leftovers = ending.leftovers_killed() + (len(earlier.killed) if earlier else 0)
            self._run = self._clearance = None
            mission.cleared(run, leftovers)
        for request in ending.requests:
            self.link.reply(request, **ending.report(now_ns))
        self._ending = None

    def _wait(self, due_ns: int | None) -> None:
        poller = select.poll()
        for descriptor in (self._woken, *self._owners):
            poller.register(descriptor, select.POLLIN)
        if self._guard >= 0:
            poller.register(self._guard, select.POLLIN)
        self.link.register(poller)
        run = self._run
        if run is not None and not run.is_settled:
            poller.register(run.spawned.news, select.POLLIN)
        timeout = None
        if due_ns is not None:
            timeout = min(max(0, due_ns - time.monotonic_ns()), _LONGEST_POLL_NS) / 1e6
        ready = {descriptor for descriptor, _ in poller.poll(timeout)}
        if ready & {self._guard, *self._owners}:
            self._abandon(guard_is_gone=self._guard in ready)
        if self._woken in ready:
            os.read(self._woken, 65536)
        if run is not None and run.spawned.news in ready:
            self._hear(run)
        self.link.flush()
        if self.link.control in ready:
            self._serve_link()

    def _abandon(self, *, guard_is_gone: bool) -> None:
        """End at once: nobody is left to tell us what to do."""
        if guard_is_gone:
            self.link.event("lost", what="guard")
        elif self._guard >= 0:
            # One that somebody has stopped would neither do its work nor go.
            with suppress(OSError):
                signal.pidfd_send_signal(self._guard, signal.SIGCONT)
        self._guard = -1
        self._owners = []
        self._leave()

    def _leave(self) -> None:
        self._leaving = True
        if self._ending is not None:
            now_ns = time.monotonic_ns()
            for request in self._ending.requests:
                self.link.reply(request, **self._ending.report(now_ns))
            self._ending = None

    def _hear(self, run: Run) -> None:
        run.spawned.hear()
        if not run.is_settled:
            if self._mission is not None:
                self._mission.heard(run)
            return
        run.started_ns, run.refusal = run.spawned.outcome()
        if self._ending is not None:
            self._ending.tell_again()
        if self._mission is not None:
            self._mission.settled(run)

    def _reaped(self, pid: int, status: int) -> None:
        ended_ns = time.monotonic_ns()
        self.enclosure.reaped(pid, self.family)
        run = self._run
        if run is None or pid != run.pid or self._mission is None:
            return
        while not run.is_settled:
            self._hear(run)
        run.ended_ns = max(ended_ns, run.started_ns)
        run.status = status
        self._mission.ended(run)

    def _serve_link(self) -> None:
        while (request := self.link.receive()) is not None:
            self._serve(request)

    def _serve(self, request: Message) -> None:
        asked = request["do"]
        if asked == "stop":
            self._stop(request)
        elif asked == "end":
            self._leave()
        elif asked == "pids":
            pids = self.family.live_pids() if self.is_running else []
            self.link.reply(request, pids=pids[:_MOST_PIDS])
        elif asked == "cpu":
            self.link.reply(request, cpu_seconds=self.family.cpu_seconds())
        elif self._mission is not None:
            self._mission.serve(request)

    def _stop(self, request: Message) -> None:
        now_ns = time.monotonic_ns()
        grace_ns, kill_ns = request["grace_ns"], request["kill_ns"]
        if self._ending is None:
            self._ending = Ending(self, grace_ns, kill_ns, now_ns)
        else:
            self._ending.hasten(grace_ns, kill_ns, now_ns)
        self._ending.requests.append(request)
        if self._mission is not None:
            self._mission.stopping()


def _wake_on_child() -> int:
    """Return a descriptor that becomes readable when a child has died."""
    woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    # set_wakeup_fd serves signals with a Python handler only.
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return woken
