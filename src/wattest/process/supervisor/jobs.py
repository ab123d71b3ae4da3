"""The two jobs of a supervisor: one run of a training, or the same one again and again."""

from __future__ import annotations

import resource
import time
from collections import defaultdict, deque

from .endings import how_it_ended
from .kernel import MILLISECOND_NS
from .logs import RunLogs
from .spawn import Run, refusal
from .supervise import Supervisor
from .wire import Message

_GRACE_NS = 10_000 * MILLISECOND_NS
_KILL_NS = 5_000 * MILLISECOND_NS
_GOOD_RUN_NS = 1_000 * MILLISECOND_NS
_MOST_FAST_FAILURES = 5
# A clean run shorter than this, with a gap of some milliseconds, is hardly a load; after so many
# of them in a row the loop backs off as it does after failures, lest it only burns the machine.
_FLASH_NS = 50 * MILLISECOND_NS
_MOST_FLASHES = 200
_GAPS_KEPT = 1024
_DIED = refusal("order", 0, "its process died before it was started")


class OneShot(Supervisor):
    """Runs the order once, when told to, and reports its exit: a foreground attempt.

    The process is there before: when the word comes, only its exec is left to be done.
    """

    def __init__(self, spec: Message, guard_pidfd: int) -> None:
        super().__init__(spec, guard_pidfd)
        self.linger_ns = spec["linger_ns"]
        self._request: Message | None = None
        self._deadline_ns = 0
        self.launch(spec["output"], held=True)

    def start(self, request: Message) -> None:
        """Give the word."""
        if self.run is None:
            self.control.reply(request, **_DIED)
            return
        self._request = request
        self._deadline_ns = request["deadline_ns"]
        self.run.release()

    def heard(self, run: Run) -> None:
        """Tell the owner that the process waits; or answer the start, once exec has succeeded."""
        if run.is_up:
            self.say_ready()
        elif run.is_settled and run.refusal is None and self._request is not None:
            self.control.reply(self._request, pid=run.pid, started_ns=run.started_ns)

    def cleared(self, run: Run, leftovers: int) -> None:
        """Report the exit, with the CPU time of everything that was reaped."""
        self._deadline_ns = 0
        if run.refusal is None and run.is_held:
            run.refusal = _DIED
        if run.refusal is None:
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.news.event(
                "exit",
                exit_code=run.exit_code if run.exit_code >= 0 else None,
                signal=-run.exit_code if run.exit_code < 0 else None,
                started_ns=run.started_ns,
                ended_ns=run.ended_ns,
                user_cpu_seconds=used.ru_utime,
                system_cpu_seconds=used.ru_stime,
                max_rss_bytes=used.ru_maxrss * 1024,
                leftovers_killed=leftovers,
            )
        elif self._request is None:
            self.say_ready(run.refusal)
        else:
            self.control.reply(self._request, **run.refusal)

    def advance(self, now_ns: int) -> int | None:
        """End what has outlived its deadline, in case its owner is held up and does not."""
        if not self._deadline_ns or now_ns < self._deadline_ns:
            return self._deadline_ns or None
        self._deadline_ns = 0
        self.stop(_GRACE_NS, _KILL_NS)
        return now_ns


class Endless(Supervisor):
    """Starts the next run as soon as one has ended; failures back off: a background load.

    The pause doubles from `backoff_ns` to `longest_backoff_ns` and is forgotten after a run that
    ended with 0 and lasted a second. Five failures in a row, each within a second, or 200 flashes
    make the load ineffective: the owner is told at once.
    """

    def __init__(self, spec: Message, guard_pidfd: int) -> None:
        super().__init__(spec, guard_pidfd)
        self._logs = RunLogs(spec)
        self._first_backoff_ns: int = spec["backoff_ns"]
        self._longest_backoff_ns: int = spec["longest_backoff_ns"]
        self._backoff_ns = 0
        self._next_ns: int | None = None
        self._request: Message | None = None
        self._ended_ns = 0
        self._fast_failures = self._flashes = 0
        self._is_ineffective = False
        self._gaps: deque[int] = deque(maxlen=_GAPS_KEPT)
        counts = ("started_ns", "runs_started", "runs_completed", "failures", "current_run")
        self._tally: Message = dict.fromkeys((*counts, "alive_ns"), 0)
        self._tally["gap_max_ns"] = None
        self._exit_codes: defaultdict[str, int] = defaultdict(int)
        self.say_ready()

    def start(self, request: Message) -> None:
        """Start the loop; answered when its first run has started."""
        self._request = request
        self._launch()

    def status(self) -> Message:
        """Return what the loop has done so far."""
        now_ns = time.monotonic_ns()
        lived_ns = self.run.lived_ns(now_ns) if self.run is not None else 0
        gaps = sorted(self._gaps)
        return {
            **super().status(),
            **self._tally,
            "now_ns": now_ns,
            "exit_codes": dict(self._exit_codes),
            "alive_ns": self._tally["alive_ns"] + lived_ns,
            "gap_median_ns": gaps[len(gaps) // 2] if gaps else None,
        }

    def heard(self, run: Run) -> None:
        """Count the start, and the gap before it."""
        if not run.is_settled or run.refusal is not None:
            return
        self._tally["runs_started"] += 1
        self._logs.note_run(self._tally["current_run"], run.started_ns)
        if self._ended_ns:
            self._gaps.append(run.started_ns - self._ended_ns)
            self._tally["gap_max_ns"] = max(self._gaps[-1], self._tally["gap_max_ns"] or 0)
        if self._request is not None:
            self._tally["started_ns"] = run.started_ns
            self.control.reply(self._request, pid=run.pid, started_ns=run.started_ns)
            self._request = None

    def cleared(self, run: Run, leftovers: int) -> None:
        """Judge the run that is over, and decide when the next one starts."""
        self._logs.close()
        if run.refusal is not None:
            self._refused(run.refusal)
            return
        duration_ns = run.lived_ns(run.ended_ns)
        self._tally["alive_ns"] += duration_ns
        self._ended_ns = run.ended_ns
        code = run.exit_code
        self._logs.note_run(self._tally["current_run"], run.started_ns, run.ended_ns, code)
        self._exit_codes[f"signal {-code}" if code < 0 else str(code)] += 1
        if self.is_stopping:
            return
        if code == 0:
            self._completed(duration_ns)
        else:
            self._failed(duration_ns, how_it_ended(code, f" after {duration_ns / 1e9:.3f} s"))

    def advance(self, now_ns: int) -> int | None:
        """Start the next run when its time has come, and keep the log under its cap."""
        if self.run is None:
            if self._next_ns is None or self.is_stopping:
                return None
            if now_ns < self._next_ns:
                return self._next_ns
            self._launch()
            return now_ns
        return self._logs.look(now_ns)

    def _launch(self) -> None:
        self._next_ns = None
        self._tally["current_run"] += 1
        self.launch(self._logs.open(self._tally["current_run"]))

    def _refused(self, why: Message) -> None:
        if self._request is not None:
            self.control.reply(self._request, **why)
            self._request = None
            return
        self._exit_codes["not started"] += 1
        self._failed(0, why["text"])

    def _completed(self, duration_ns: int) -> None:
        self._tally["runs_completed"] += 1
        self._fast_failures = 0
        self._flashes = self._flashes + 1 if duration_ns < _FLASH_NS else 0
        if duration_ns >= _GOOD_RUN_NS:
            self._backoff_ns = 0
            self._is_ineffective = False
        if self._flashes > _MOST_FLASHES:
            self._become_ineffective(
                f"{self._flashes} runs in a row ended at once, the last after"
                f" {duration_ns / 1e6:.1f} ms, with exit code 0: too short to be a load"
            )
            self._back_off()
        else:
            self._next_ns = 0

    def _failed(self, duration_ns: int, how: str) -> None:
        self._tally["failures"] += 1
        self._flashes = 0
        self._fast_failures = self._fast_failures + 1 if duration_ns < _GOOD_RUN_NS else 0
        if self._fast_failures >= _MOST_FAST_FAILURES:
            times = f"failed {self._fast_failures} times in a row"
            self._become_ineffective(f"{times}, the last time it {how}")
        self._back_off()

    def _back_off(self) -> None:
        doubled = min(2 * self._backoff_ns, self._longest_backoff_ns)
        self._backoff_ns = max(doubled, self._first_backoff_ns)
        self._next_ns = time.monotonic_ns() + self._backoff_ns

    def _become_ineffective(self, reason: str) -> None:
        if not self._is_ineffective:
            self.news.event("ineffective", reason=reason)
        self._is_ineffective = True


JOBS = {"one-shot": OneShot, "endless": Endless}
