"""The mission of a foreground attempt: one run."""

from __future__ import annotations

import os
import resource

from .mission import STOPPED, Mission, exit_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .launch import Order
    from .run import Run
    from .supervisor import Supervisor
    from .wire import Message


class OneShot(Mission):
    """Runs the order once, when told to, and reports its exit."""

    def __init__(self, supervisor: Supervisor, order: Order, output: int, linger_ns: int) -> None:
        self._supervisor = supervisor
        self._order = order
        self._output = output
        self._request: Message | None = None
        self._is_used = False
        self.linger_ns = linger_ns

    def serve(self, request: Message) -> None:
        """Start the run, once."""
        if self._is_used or self._supervisor.is_stopping:
            self._supervisor.link.reply(request, step="order", errno=0, text=STOPPED)
            return
        self._is_used = True
        refusal = self._supervisor.launch(self._order, 1, self._output)
        os.close(self._output)
        if refusal is not None:
            self._supervisor.link.reply(request, **refusal.fields())
            return
        self._request = request

    def stopping(self) -> None:
        """Start nothing any more."""
        self._is_used = True

    def settled(self, run: Run) -> None:
        """Answer the start, if it was one."""
        if self._request is not None and run.refusal is None:
            self._supervisor.link.reply(self._request, pid=run.pid, started_ns=run.started_ns)
            self._request = None

    def cleared(self, run: Run, leftovers: int) -> None:
        """Report the exit, with the CPU time of everything that was reaped."""
        if run.refusal is not None:
            if self._request is not None:
                self._supervisor.link.reply(self._request, **run.refusal.fields())
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
