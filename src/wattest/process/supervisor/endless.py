"""The mission of a background load: the same order again and again."""

from __future__ import annotations

import os
import time
from collections import deque

from .family import MILLISECOND_NS
from .launch import Refusal
from .mission import STOPPED, Mission, exit_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .launch import Order
    from .logs import RunLogs
    from .run import Run
    from .supervisor import Supervisor
    from .wire import Message

_GOOD_RUN_NS = 1_000 * MILLISECOND_NS
# A clean run shorter than this, with a gap of some milliseconds, is hardly a load; after so many
# of them in a row the loop backs off as it does after failures, lest it only burns the machine.
_FLASH_NS = 50 * MILLISECOND_NS
_MOST_FLASHES = 200
_GAPS_KEPT = 1024


class Endless(Mission):
    """Starts the next run as soon as one has ended; failures back off.

    The pause doubles from `backoff_ns` to `longest_backoff_ns` and is forgotten after a run that
    ended with 0 and lasted a second. `failures_limit` failures in a row, each within a second,
    make the load ineffective: the owner is told at once.
    """

    def __init__(
        self, supervisor: Supervisor, order: Order, logs: RunLogs, settings: Message
    ) -> None:
        super().__init__(supervisor)
        self._order = order
        self._logs = logs
        self._first_backoff_ns: int = settings["backoff_ns"]
        self._longest_backoff_ns: int = settings["longest_backoff_ns"]
        self._failures_limit: int = settings["failures_limit"]
        self._backoff_ns = 0
        self._next_ns: int | None = None
        self._look_ns = 0
        self._start_request: Message | None = None
        self._is_on = self._is_over = False
        self._run: Run | None = None
        self._ended_ns = 0
        self._flashes = 0
        self._gaps: deque[int] = deque(maxlen=_GAPS_KEPT)
        self._tally: Message = {
            "started_ns": 0,
            "runs_started": 0,
            "runs_completed": 0,
            "failures": 0,
            "consecutive_fast_failures": 0,
            "current_run": 0,
            "alive_ns": 0,
            "last_exit": None,
            "exit_codes": {},
            "gap_count": 0,
            "gap_max_ns": None,
            "leftovers_killed": 0,
            "ineffective": None,
        }

    def serve(self, request: Message) -> None:
        """Start the loop, or tell how it goes."""
        if request["do"] == "status":
            self._supervisor.link.reply(request, **self._status())
        elif self._is_over or self._supervisor.is_stopping:
            self._supervisor.link.reply(request, step="order", errno=0, text=STOPPED)
        else:
            self._is_on = True
            self._start_request = request
            self._launch()

    def settled(self, run: Run) -> None:
        """Count the start, and the gap before it."""
        if run.refusal is not None:
            return
        self._run = run
        tally = self._tally
        tally["runs_started"] += 1
        if self._ended_ns:
            gap_ns = run.started_ns - self._ended_ns
            self._gaps.append(gap_ns)
            tally["gap_count"] += 1
            tally["gap_max_ns"] = max(gap_ns, tally["gap_max_ns"] or 0)
        if self._start_request is not None:
            tally["started_ns"] = run.started_ns
            request, self._start_request = self._start_request, None
            self._supervisor.link.reply(request, pid=run.pid, started_ns=run.started_ns)
        self._look_ns = 0

    def ended(self, run: Run) -> None:
        """Count the time that the run was alive."""
        self._run = None
        if run.refusal is None:
            self._tally["alive_ns"] += run.ended_ns - run.started_ns
            self._ended_ns = run.ended_ns

    def cleared(self, run: Run, leftovers: int) -> None:
        """Judge the run that is over, and decide when the next one starts."""
        self._logs.close()
        self._tally["leftovers_killed"] += leftovers
        if run.refusal is not None:
            self._refused(run.refusal)
        elif self._supervisor.is_stopping:
            self._note_exit(run)
        else:
            self._note_exit(run)
            self._judge(run)

    def stopping(self) -> None:
        """Start nothing any more."""
        self._is_on = False
        self._is_over = True

    def advance(self, now_ns: int) -> int | None:
        """Start the next run when its time has come, and keep the log under its cap."""
        if self._is_on and self._next_ns is not None:
            if now_ns < self._next_ns:
                return self._next_ns
            self._launch()
            return now_ns
        if self._run is None:
            return None
        if now_ns >= self._look_ns:
            self._look_ns = self._logs.look(now_ns)
        return self._look_ns

    def _launch(self) -> None:
        self._next_ns = None
        number = self._tally["current_run"] = self._tally["current_run"] + 1
        output = self._logs.open(number)
        launched = self._supervisor.launch(self._order, number, output)
        os.close(output)
        if isinstance(launched, Refusal):
            self._logs.close()
            self._refused(launched)

    def _refused(self, refusal: Refusal) -> None:
        if self._start_request is not None:
            request, self._start_request = self._start_request, None
            self._supervisor.link.reply(request, **refusal.fields())
            self._is_on = False
            return
        self._tally["last_exit"] = {"text": refusal.text, "duration_ns": 0}
        self._add_code("not started")
        self._failed(0, refusal.text)

    def _note_exit(self, run: Run) -> None:
        duration_ns = run.ended_ns - run.started_ns
        fields = exit_fields(run.status)
        self._tally["last_exit"] = {**fields, "duration_ns": duration_ns}
        code, number = fields["exit_code"], fields["signal"]
        self._add_code(str(code) if number is None else f"signal {number}")

    def _judge(self, run: Run) -> None:
        duration_ns = run.ended_ns - run.started_ns
        if run.status != 0:
            fields = exit_fields(run.status)
            how = f"exit code {fields['exit_code']}"
            if fields["signal"] is not None:
                how = f"signal {fields['signal']}"
            self._failed(duration_ns, f"ended with {how} after {duration_ns / 1e9:.3f} s")
            return
        tally = self._tally
        tally["runs_completed"] += 1
        tally["consecutive_fast_failures"] = 0
        self._flashes = self._flashes + 1 if duration_ns < _FLASH_NS else 0
        if duration_ns >= _GOOD_RUN_NS:
            self._backoff_ns = 0
            tally["ineffective"] = None
        if self._flashes > _MOST_FLASHES:
            self._become_ineffective(
                f"{self._flashes} runs in a row ended at once, the last after"
                f" {duration_ns / 1e6:.1f} ms, with exit code 0: too short to be a load"
            )
            self._back_off()
        else:
            self._next_ns = 0

    def _failed(self, duration_ns: int, how: str) -> None:
        tally = self._tally
        tally["failures"] += 1
        self._flashes = 0
        if duration_ns >= _GOOD_RUN_NS:
            tally["consecutive_fast_failures"] = 0
        else:
            tally["consecutive_fast_failures"] += 1
        row = tally["consecutive_fast_failures"]
        if row >= self._failures_limit:
            self._become_ineffective(f"failed {row} times in a row, the last time it {how}")
        self._back_off()

    def _back_off(self) -> None:
        doubled = min(2 * self._backoff_ns, self._longest_backoff_ns)
        self._backoff_ns = max(doubled, self._first_backoff_ns)
        self._next_ns = time.monotonic_ns() + self._backoff_ns

    def _become_ineffective(self, reason: str) -> None:
        if self._tally["ineffective"] is None:
            self._supervisor.link.event("ineffective", reason=reason)
        self._tally["ineffective"] = reason

    def _add_code(self, name: str) -> None:
        codes = self._tally["exit_codes"]
        codes[name] = codes.get(name, 0) + 1

    def _status(self) -> Message:
        now_ns = time.monotonic_ns()
        run = self._run
        gaps = sorted(self._gaps)
        alive_ns = self._tally["alive_ns"] + (now_ns - run.started_ns if run else 0)
        return {
            **self._tally,
            "now_ns": now_ns,
            "alive_ns": alive_ns,
            "cpu_seconds": self._supervisor.family.cpu_seconds(),
            "current_pid": run.pid if run else None,
            "gap_median_ns": gaps[len(gaps) // 2] if gaps else None,
            "dropped_log_bytes": self._logs.dropped_bytes,
            "deleted_logs": self._logs.deleted_logs,
            "log_faults": self._logs.faults,
            "last_log_fault": self._logs.last_fault,
        }
