"""The supervisor: one loop over its owner's requests, its children, and the clock."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from . import kernel
from .containment import containment_of
from .descendants import Descendants, Ending, KillRounds, Stop
from .endings import in_words
from .kernel import MILLISECOND_NS
from .spawn import Run, refusal, spawn
from .wire import End, Message

# What outlives a run's main process and SIGKILL for this long is left to the final report.
_CLEARING_NS = 5_000 * MILLISECOND_NS
_FOREVER_NS = 1 << 62
_MOST_PIDS = 10_000


class Supervisor:
    """Runs one job; whatever its owner, its guard or the training does, nothing is left.

    A job says that it is ready, and overrides `start` to `advance`; it never waits.

    Attributes:
        control, news: our ends of the sockets to the owner.
        descendants: whatever was started.
        run: what was launched last, until nothing of it is left.
        linger_ns: how long the orphans of a run may take to end by themselves.
    """

    linger_ns = 0

    def __init__(self, spec: Message, guard_pidfd: int) -> None:
        self.control, self.news = End(spec["control"]), End(spec["news"])
        self.descendants = Descendants(containment_of(spec["rung"], spec["leaf"]))
        self.run: Run | None = None
        self._order: Message = spec["order"]
        self._pidfd = kernel.pidfd_open(os.getpid())
        self._guard = guard_pidfd
        self._watched = {guard_pidfd, *spec["owners"]}
        self._woken = _wake_on_child()
        self._rounds = KillRounds(self.descendants)
        self._ending: Ending | None = None
        self._is_started = self._is_stopped = False
        self._is_leaving = False

    def start(self, request: Message) -> None:
        """Start what there is to run, and answer when it has succeeded or failed."""

    def status(self) -> Message:
        """Return the fields that tell how it goes."""
        return {"cpu_seconds": self.descendants.cpu_seconds()}

    def heard(self, run: Run) -> None:
        """Learn that a run has said something: it is up or settled, or soon will be."""

    def cleared(self, run: Run, leftovers: int) -> None:
        """Learn that nothing of `run` is left; `leftovers` processes had to be killed."""

    def advance(self, now_ns: int) -> int | None:
        """Do what is due beside all that; return when to come next."""

    def serve(self) -> None:
        """Serve until the owner has let go and no descendant is left."""
        while not (self._is_leaving and self.descendants.childless):
            due_ns = self._advance()
            if self.control.is_over and not self._is_leaving:
                self._leave()
                continue
            self._wait(due_ns)
            self.descendants.reap(self._reaped)
        self.descendants.containment.remove()

    def say_ready(self, refused: Message | None = None) -> None:
        """Tell the owner that it may start, or why it never may."""
        self.news.event("ready", pid=os.getpid(), refusal=refused)

    def launch(self, output: int, *, held: bool = False) -> None:
        """Fork a run with its output to this descriptor; closes that."""
        containment = self.descendants.containment
        self._rounds = KillRounds(self.descendants)
        step = "containment"
        try:
            self.descendants.childless = False
            containment.prepare()
            step = "fork"
            self.run = spawn(self._order, output, containment, self._pidfd, held=held)
        except OSError as error:
            containment.kill()
            never = Run(0, -1, -1)
            never.refusal = refusal(step, error.errno or 0, in_words(error))
            self.cleared(never, 0)
        finally:
            os.close(output)

    def stop(self, grace_ns: int, kill_ns: int) -> Stop:
        """Begin to end what runs, or hasten the end that is under way; return it."""
        if isinstance(self._ending, Stop):
            self._ending.hasten(grace_ns, kill_ns)
        else:
            self._ending = Stop(self._rounds, grace_ns, kill_ns, self.is_running)
        return self._ending

    @property
    def is_running(self) -> bool:
        """Whether there is a run that was let go to its exec, or something that one has left."""
        is_none = self.run is not None and (self.run.refusal is not None or self.run.is_held)
        return not self.descendants.childless and not is_none

    @property
    def is_stopping(self) -> bool:
        """Whether nothing shall be started any more: a stop was asked for, or the owner is gone."""
        return self._is_stopped or self._is_leaving

    def _advance(self) -> int | None:
        """Do what is due; return the monotonic time of what is due next."""
        now_ns = time.monotonic_ns()
        if self._ending is None and self._is_leaving:
            self.stop(0, _FOREVER_NS)
        elif self._ending is None and self.run is not None and self.run.ended_ns:
            self._ending = Ending(self._rounds, self.run.ended_ns, self.linger_ns, _CLEARING_NS)
        if self._ending is None:
            return self.advance(now_ns)
        due_ns = self._ending.advance(now_ns)
        if due_ns is None:
            self._finish_ending()
            return now_ns
        return min(due_ns, self.advance(now_ns) or due_ns)

    def _finish_ending(self) -> None:
        run = self.run
        if run is not None and run.ended_ns:
            self.run = None
            self.cleared(run, 0 if run.was_killed else len(self._rounds.killed))
        self._report()

    def _report(self) -> None:
        """Answer those who asked for the end that is over."""
        ending, self._ending = self._ending, None
        if isinstance(ending, Stop):
            for request in ending.requests:
                self.control.reply(request, **ending.report())

    def _wait(self, due_ns: int | None) -> None:
        run = self.run
        awaited = {self._woken, *self._watched}
        if not self.control.is_over:
            awaited.add(self.control.descriptor)
        if run is not None and not run.is_settled:
            awaited.add(run.news)
        seconds = None if due_ns is None else (due_ns - time.monotonic_ns()) / 1e9
        ready = kernel.wait(awaited, seconds)
        if ready & self._watched:
            self._abandon(guard_is_gone=self._guard in ready)
        if self._woken in ready:
            os.read(self._woken, 65536)
        if run is not None and run.news in ready:
            run.hear()
            self.heard(run)
        if self.control.descriptor in ready:
            while (request := self.control.receive()) is not None:
                self._serve(request)

    def _abandon(self, *, guard_is_gone: bool) -> None:
        """End at once: nobody is left to tell us what to do."""
        if guard_is_gone:
            self.news.event("lost", what="guard")
        else:
            # A guard that somebody has stopped would neither do its work nor go.
            with suppress(OSError):
                kernel.pidfd_send_signal(self._guard, signal.SIGCONT)
        self._watched.clear()
        self._leave()

    def _leave(self) -> None:
        self._is_leaving = True
        self._report()

    def _reaped(self, pid: int, status: int) -> None:
        ended_ns = time.monotonic_ns()
        run = self.run
        if run is None or run.ended_ns or pid != run.pid:
            return
        while not run.is_settled:
            run.hear()
            self.heard(run)
        run.ended_ns = max(ended_ns, run.started_ns)
        run.exit_code = os.waitstatus_to_exitcode(status)
        run.was_killed = self._rounds.have_begun

    def _serve(self, request: Message) -> None:
        asked = request["do"]
        if asked == "start" and (self._is_started or self.is_stopping):
            text = "a training is started only once, and not after its stop"
            self.control.reply(request, **refusal("order", 0, text))
        elif asked == "start":
            self._is_started = True
            self.start(request)
        elif asked == "stop":
            self._is_stopped = True
            self.stop(request["grace_ns"], request["kill_ns"]).requests.append(request)
        elif asked == "end":
            self._leave()
        elif asked == "pids":
            pids = self.descendants.live_pids() if self.is_running else []
            self.control.reply(request, pids=pids[:_MOST_PIDS])
        elif asked == "status":
            self.control.reply(request, **self.status())
        else:
            self.control.reply(request, unknown=True)


def _wake_on_child() -> int:
    """Return a descriptor that becomes readable when a child has died."""
    woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    # set_wakeup_fd serves signals with a Python handler only.
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    return woken
