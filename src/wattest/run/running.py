"""One background loop, and what it was from its start to its stop."""

from __future__ import annotations

import re
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wattest.errors import LoadError, ProcessError
from wattest.patterns import Budget, OutOfTimeError
from wattest.plan.experiment import Training
from wattest.process import Loop, LoopStatus, StopReport, how_it_ended, likely_cause
from wattest.run import liveness
from wattest.run.log import begin_of, end_of, last_lines, names_escape, plain
from wattest.run.warmup import WarmUp
from wattest.run.work import LoadMarks, Work, runs_of

_MOST_RUNS_TOLD = 1000
NOTE = "Background training served as GPU load only, not monitored"
_LINE_END = re.compile(r"\r\n|\r")


@dataclass(frozen=True)
class LoadStart:
    """How a load came up: alive for this share (0 to 1) of a start-up time that was waited for.

    `cpu_seconds` is the CPU time of its tree until then, `run` the number of its present run;
    `ready_pattern_matched` is None where no pattern says when it is ready.
    """

    waited_seconds: float
    alive_share: float
    cpu_seconds: float
    run: int
    gpu_warm_up: WarmUp | None
    ready_pattern_matched: bool | None


@dataclass(frozen=True)
class LoadWindow:
    """What a load did in a window: the share of it in which it was alive (0 to 1), its CPU time.

    `runs` are those of the window, `work` what they did, where the registry says how that is told.
    """

    alive_share: float
    cpu_seconds: float
    runs_completed: int
    restarts: int
    failures: int
    runs: list[dict[str, Any]]
    work: Work | None


@dataclass(eq=False)
class RunningLoad:
    """One background loop, with all that becomes known of it."""

    training: Training
    argv: tuple[str, ...]
    folder: Path
    loop: Loop
    marks: LoadMarks | None = None
    pid: int = 0
    start: LoadStart | None = None
    window: LoadWindow | None = None
    stopped: StopReport | None = None
    _last: LoopStatus | None = None
    _has_matched: bool = False
    _waited: tuple[int, float] | None = None
    """When an idle loop was last looked at (monotonic ns), and its run delay in seconds then."""

    @property
    def name(self) -> str:
        """Its repository and model."""
        return f"{self.training.program.name}/{self.training.model}"

    def is_ready(self) -> bool:
        """Tell whether its newest log has matched the ready pattern, at its beginning or its end.

        Ready once is ready for good: what a load says later must not hide it.

        Raises:
            LoadError: the pattern backtracks without end.
        """
        pattern = self.training.ready_pattern
        if pattern is not None and not self._has_matched and (log := self._newest_log()):
            budget = Budget()
            told = begin_of(log), end_of(log)
            if not names_escape(pattern):
                told = plain(told[0])[0], plain(told[1])[0]
            texts = (_LINE_END.sub("\n", text) for text in told)
            try:
                found = (budget.matches(pattern, text) for text in texts)
                self._has_matched = any(True for matches in found for _ in matches)
            except OutOfTimeError as error:
                raise LoadError(f"{called(self.training)}: its ready_pattern {error}") from None
        return pattern is None or self._has_matched

    def prove(self, status: LoopStatus, waited_seconds: float, warm_up: WarmUp | None) -> None:
        """Keep how it came up, by its state after the start-up time.

        Raises:
            LoadError: it was dead for too much of that time.
        """
        share = status.alive_ns / max(status.now_ns - status.started_ns, 1)
        failing = status.failures and not status.runs_completed
        judged = failing or waited_seconds >= liveness.LEAST_JUDGED_SECONDS
        if share < liveness.MINIMUM_DUTY and judged:
            raise LoadError(self.explain(f"was alive for only {share:.1%} of its start-up time"))
        self.start = LoadStart(
            waited_seconds=waited_seconds,
            alive_share=min(1.0, share),
            cpu_seconds=status.cpu_seconds,
            run=status.current_run,
            gpu_warm_up=warm_up,
            ready_pattern_matched=self.training.ready_pattern is not None or None,
        )

    def check(self) -> str | None:
        """Return why it is no load any more, with its last lines; None while all is well."""
        if self.marks is not None:
            self.marks.look(time.monotonic_ns())
        try:
            news = self.loop.poll()
        except ProcessError as error:
            return f"{called(self.training)}: {error}"
        return None if news is None else self.explain(news)

    def told_between(self, opened_ns: int, closed_ns: int, started: int) -> dict[str, Any]:
        """Return the `runs` of a window, in seconds from its opening edge, and their `work`.

        `started` is how many runs the loop has started by now.
        """
        noted = runs_of(self.folder)
        runs = [
            one
            for one in noted
            if one.started_ns <= closed_ns and (one.ended_ns is None or one.ended_ns >= opened_ns)
        ]
        told = [one.told(opened_ns, closed_ns) for one in runs[:_MOST_RUNS_TOLD]]
        if self.marks is None:
            return {"runs": told, "work": None}
        self.marks.look(time.monotonic_ns())
        if len(noted) < started:
            lost = f"of its {started} runs only {len(noted)} were noted in runs.csv"
            return {"runs": told, "work": Work("epochs", None, lost)}
        return {"runs": told, "work": self.marks.work(runs, opened_ns, closed_ns)}

    def falls_short(self, first: LoopStatus, before: LoopStatus, now: LoopStatus) -> str | None:
        """Return why it is no load any more, if it is none.

        It was too seldom alive since the first of these states; or since the one before it was
        stopped, or got no CPU time although it wanted some.
        """
        seconds = liveness.seconds_between(first, now)
        share = liveness.alive_share(first, now)
        if seconds >= liveness.LEAST_JUDGED_SECONDS and share < liveness.MINIMUM_DUTY:
            return self.explain(f"was alive for only {share:.1%} of the first {seconds:.0f} s")
        return self.stands_still(before, now)

    def stands_still(self, before: LoopStatus, after: LoopStatus) -> str | None:
        """Return why it did nothing although it had something to do; None for one that rests."""
        idle = liveness.is_idle(before, after)
        try:
            pids = self.loop.pids()
        except ProcessError as error:
            return f"{called(self.training)}: {error}"
        if liveness.is_stopped(pids, some=idle):
            return f"{called(self.training)} was stopped (state T): it loaded nothing"
        earlier = self._waited
        self._waited = (after.now_ns, liveness.run_delay_seconds(pids)) if idle else None
        if earlier is None or self._waited is None:
            return None
        seconds, waited_seconds = (after.now_ns - earlier[0]) / 1e9, self._waited[1] - earlier[1]
        if waited_seconds < liveness.STARVED_WAIT_SHARE * seconds:
            return None
        return (
            f"{called(self.training)} was starved: in {seconds:.1f} s it was ready to run for"
            f" {waited_seconds:.1f} s and got hardly any CPU time"
        )

    def stop(self, patience: AbstractContextManager[float]) -> None:
        """End it with every process of it, in the grace period that `patience` leaves."""
        if self.marks is not None:
            self.marks.close()
        with suppress(ProcessError):
            self._last = self.loop.status()
        try:
            with patience as grace_seconds:
                self.stopped = self.loop.stop(grace_seconds)
        except KeyboardInterrupt:
            self.stopped = self.loop.stop(grace_seconds=0)
            raise

    def explain(self, what: str) -> str:
        """Return what went wrong with it: exit codes, and the last lines of its newest log."""
        codes: dict[str, int] = {}
        with suppress(ProcessError):
            codes = dict(self.loop.status().exit_codes)
        counts = [f"{code} ({'once' if n == 1 else f'{n} times'})" for code, n in codes.items()]
        told = f"; exit codes so far: {', '.join(counts)}" if counts else ""
        log = self._newest_log()
        lines = last_lines(log) if log else []
        tail = "\n".join(f"    {line}" for line in lines) or "    (no output)"
        ends = [_code(code) for code in codes]
        causes = "".join(f"\n  a run {how_it_ended(end)}" for end in ends if likely_cause(end))
        return f"{called(self.training)} {what}{told}; its last lines ({log}):\n{tail}{causes}"

    def _newest_log(self) -> Path | None:
        logs = [log for log in self.folder.glob("run_*.log") if log.stem[4:].isdecimal()]
        return max(logs, key=lambda log: int(log.stem[4:]), default=None)

    def describe(self) -> dict[str, Any]:
        """Return its `background_info`."""
        info: dict[str, Any] = {
            **self.training.identity(),
            "ignored_hyperparameters": dict(self.training.ignored),
            "note": NOTE,
            "command": list(self.argv),
            "log_folder": self.folder.name,
            "pid": self.pid or None,
        }
        if (last := self._last) is not None:
            info |= {
                "runs_started": last.runs_started,
                "runs_completed": last.runs_completed,
                "restarts": max(0, last.runs_started - 1),
                "failures": last.failures,
                "exit_codes": dict(last.exit_codes),
                "restart_gap_median_seconds": _seconds(last.gap_median_ns),
                "restart_gap_longest_seconds": _seconds(last.gap_max_ns),
                "cpu_seconds": last.cpu_seconds,
            }
        told = {"start": self.start, "window": self.window}
        info |= {key: asdict(value) for key, value in told.items() if value is not None}
        if self.stopped is not None:
            info["stop"] = {
                "duration_seconds": self.stopped.duration_seconds,
                "sigkill_needed": self.stopped.sigkill_needed,
                "survivors": [survivor.pid for survivor in self.stopped.survivors],
            }
        return info


def called(training: Training) -> str:
    """Return what a load is called where something went wrong with it."""
    return f"background load {training.program.name}/{training.model}"


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9


def _code(name: str) -> int:
    """Return the exit code that a loop counts under this name, negative for a signal."""
    number = name.removeprefix("signal ")
    return (int(number) if number == name else -int(number)) if number.isdecimal() else 0
