"""The mission of a foreground attempt: one run."""

from __future__ import annotations

import os
import resource

from .family import MILLISECOND_NS
from .launch import Refusal
from .mission import STOPPED, Mission, exit_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .launch import Order
    from .run import Run
    from .supervisor import Supervisor
    from .wire import Message

_GRACE_NS = 10_000 * MILLISECOND_NS
_KILL_NS = 5_000 * MILLISECOND_NS


class OneShot(Mission):
    """Runs the order once, when told to, and reports its exit.

    The process is there before: when the word comes, only its exec is left to be done.
    """

    def __init__(self, supervisor: Supervisor, order: Order, output: int, linger_ns: int) -> None:
        super().__init__(supervisor)
        self._order = order
        self._output = output
        self._run: Run | None = None
        self._request: Message | None = None
        self._is_ready = False
        self._deadline_ns = 0
        self.linger_ns = linger_ns

    def begin(self) -> None:
        """Fork the process that waits for the word."""
        launched = self._supervisor.launch(self._order, 1, self._output, waits=True)
        os.close(self._output)
        if isinstance(launched, Refusal):
            self.say_ready(launched)
        else:
            self._run = launched

    def heard(self, run: Run) -> None:
        """Tell the owner once that the process waits."""
        if run.spawned.is_up and not self._is_ready:
            self._is_ready = True
            self.say_ready(None)

    def serve(self, request: Message) -> None:
        """Give the word, once."""
        run, self._run = self._run, None
        if run is None:
            self._supervisor.link.reply(request, step="order", errno=0, text=STOPPED)
            return
        self._request = request
        self._deadline_ns = request["deadline_ns"]
        run.spawned.release()

    def stopping(self) -> None:
        """Start nothing any more."""
        self._run = None

    def advance(self, now_ns: int) -> int | None:
        """End what has outlived its deadline, in case its owner is held up and does not."""
        if not self._deadline_ns or now_ns < self._deadline_ns:
            return self._deadline_ns or None
        self._deadline_ns = 0
        self._supervisor.end(_GRACE_NS, _KILL_NS)
        return now_ns

    def settled(self, run: Run) -> None:
        """Answer the start, if it was one."""
        if self._request is not None and run.refusal is None:
            self._supervisor.link.reply(self._request, pid=run.pid, started_ns=run.started_ns)
            self._request = None

    def cleared(self, run: Run, leftovers: int) -> None:
        """Report the exit, with the CPU time of everything that was reaped."""
        self._run = None
        self._deadline_ns = 0
        if run.refusal is not None:
            if self._request is not None:
                self._supervisor.link.reply(self._request, **run.refusal.fields())
            else:
                self.say_ready(run.refusal)
            return
        if run.spawned.is_waiting:
            return
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._supervisor.link.event(
            "exit",
            **exit_fields(run.status),
            started_ns=run.started_ns,
            ended_ns=run.ended_ns,
            user_cpu_seconds=used.ru_utime,
            system_cpu_seconds=used.ru_stime,
            max_rss_bytes=used.ru_maxrss * 1024,
            leftovers_killed=leftovers,
        )
