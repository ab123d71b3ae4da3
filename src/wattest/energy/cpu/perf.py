"""CPU packages and DRAM through `perf stat`, where the powercap tree may not be read.

`perf` runs as a child of its own for one window and prints an interval ten times a second. Its
first interval is waited for, so that the window opens where an interval ends; at the closing edge
it gets SIGINT, upon which it prints the interval so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from wattest.energy import design
from wattest.energy.cpu.perf_log import EventSum, IntervalLog
from wattest.energy.cpu.perf_search import (
    EVENTS,
    FIRST_INTERVAL_SECONDS,
    LOG_NAME,
    PerfLauncher,
    await_perf,
    perf_command,
)
from wattest.energy.gates import sampling
from wattest.energy.probe import Probed
from wattest.energy.schedule import Schedule
from wattest.energy.traces import TraceFolder
from wattest.energy.types import NS, DomainResult, Finding, Live, Reason, Status

_LAST_INTERVAL_SECONDS = 1.0
_SILENT_SECONDS = 1.0
_SILENT_INTERVALS = 3
_SPAN_INTERVALS = 2
_SPAN_SHARE = 0.001


class Perf:
    """The CPU's energy through `perf stat`.

    Args:
        perf: The program.
        events: Those of `EVENTS` that it can count here.
        launcher: Starts it under supervision.
    """

    def __init__(
        self,
        perf: str,
        events: Sequence[str],
        launcher: PerfLauncher,
    ) -> None:
        self._perf = perf
        self._events = tuple(events)
        self._launcher = launcher

    def counters(self) -> Mapping[str, Callable[[], int]]:
        """Nothing to probe: perf's own interval is its period."""
        return {}

    def learn(self, probed: Mapping[str, Probed]) -> None:
        """Nothing to learn."""

    def findings(self) -> tuple[Finding, ...]:
        """One per event."""
        details = {
            "program": self._perf,
            "interval_seconds": design.PERF_INTERVAL_SECONDS,
        }
        return tuple(
            Finding("cpu", event, "measured", "", None, "perf", details) for event in self._events
        )

    def record(self, traces: TraceFolder) -> PerfRecording:
        """Begin a window."""
        return PerfRecording(
            perf_command(self._perf, self._events, design.PERF_INTERVAL_SECONDS),
            self._events,
            self._launcher,
            traces,
        )

    def close(self) -> None:
        """Nothing is held open between windows."""


class PerfRecording:
    """One `perf stat` over one window."""

    def __init__(
        self,
        command: Sequence[str],
        events: Sequence[str],
        launcher: PerfLauncher,
        traces: TraceFolder,
    ) -> None:
        self.period_ns = int(NS * design.CPU_PERIOD_SECONDS)
        self._events = events
        longest = _SILENT_INTERVALS * design.PERF_INTERVAL_SECONDS
        self._most_silent_seconds = max(_SILENT_SECONDS, longest)
        self._log = IntervalLog(traces.folder / LOG_NAME, events)
        self._child = launcher(command, self._log.path)
        self._opened_ns = self._closed_ns = 0
        self._died = ""
        self._edge_seconds = 0.0

    def prepare(self) -> None:
        """Wait until perf has printed its first interval."""
        self._wait(FIRST_INTERVAL_SECONDS, lambda: self._log.has_interval)

    def read_opening(self) -> None:
        """Wait for the end of an interval and let the window begin there."""
        before = {event: one.last_end for event, one in self._log.sums.items()}
        seconds = 2 * design.PERF_INTERVAL_SECONDS
        self._wait(
            seconds,
            lambda: all(one.last_end != before[event] for event, one in self._log.sums.items()),
        )
        self._log.start()
        self._opened_ns = time.monotonic_ns()

    def sample(self, now_ns: int) -> None:
        """Take in the intervals since the last call, and notice when there are none."""
        self._log.read()
        self._log.compare((now_ns - self._opened_ns) / NS)
        self._notice_death(now_ns)

    def read_closing(self) -> None:
        """Let perf print the interval so far, and end."""
        self._closed_ns = time.monotonic_ns()
        self._notice_death(self._closed_ns)
        self._child.interrupt()

    def finish(self, opened_ns: int, ended_ns: int) -> None:
        """Take in the last interval, and see how well the intervals fit the window."""
        self._wait(_LAST_INTERVAL_SECONDS, lambda: False)
        self._log.read()
        self._child.close()
        seconds = self._window_seconds
        self._log.compare(seconds)
        self._edge_seconds = max(abs(one.span_seconds - seconds) for one in self._sums)
        self._edge_seconds += max(0, opened_ns - self._opened_ns) / NS
        self._edge_seconds += max(0, self._closed_ns - ended_ns) / NS

    def results(self, schedule: Schedule) -> tuple[DomainResult, ...]:
        """Judge each event; a domain without one is unavailable."""
        judged = tuple(self._judge(event, one, schedule) for event, one in self._log.sums.items())
        missing = set(EVENTS.values()) - {EVENTS[event] for event in self._events}
        absent = tuple(
            DomainResult(domain, "unavailable", None, {"reason": "perf cannot count it here"})
            for domain in sorted(missing)
        )
        return judged + absent

    def live(self) -> Live:
        """Sums over the events, as long as perf reports them all."""
        silent = max(one.longest_silence_seconds for one in self._sums)
        if self._died or silent > self._most_silent_seconds:
            return Live("cpu", None, None)
        watts = [one.last_watts for one in self._sums if one.last_watts is not None]
        return Live("cpu", sum(watts) if watts else None, sum(one.joules for one in self._sums))

    def close(self) -> None:
        """End perf; may be called twice."""
        self._child.close()

    @property
    def _sums(self) -> tuple[EventSum, ...]:
        return tuple(self._log.sums.values())

    @property
    def _window_seconds(self) -> float:
        return (self._closed_ns - self._opened_ns) / NS

    def _wait(self, seconds: float, is_done: Callable[[], bool]) -> None:
        await_perf(self._child, self._log, seconds, is_done)

    def _notice_death(self, now_ns: int) -> None:
        code = self._child.poll()
        if code is None or self._died:
            return
        said = f": {self._log.others[-1]}" if self._log.others else ""
        after = (now_ns - self._opened_ns) / NS
        self._died = f"perf ended with exit code {code} after {after:.1f} s{said}"

    def _judge(self, event: str, one: EventSum, schedule: Schedule) -> DomainResult:
        domain = EVENTS[event]
        faults = self._faults(event, one)
        flags = sampling(domain, event, schedule, one.longest_gap_seconds)
        energy = None if faults else one.joules
        edge_joules = one.max_watts * self._edge_seconds + one.rounding_joules
        details: dict[str, object] = {
            "source": "perf",
            "reason": "; ".join(fault.text for fault in faults) or None,
            "event": event,
            "joules_until_failure": one.joules if faults and one.intervals else None,
            "samples": one.intervals,
            "failed_reads": one.failed,
            "wraps": None,
            "longest_gap_seconds": one.longest_gap_seconds,
            "update_period_seconds": design.PERF_INTERVAL_SECONDS,
            "resolution_joules": one.resolution_joules,
            "edge_uncertainty_joules": edge_joules,
            "edge_uncertainty_percent": 100 * edge_joules / energy if energy else None,
        }
        status: Status = "invalid" if faults else "measured"
        return DomainResult(domain, status, energy, details, tuple(faults), flags)

    def _faults(self, event: str, one: EventSum) -> list[Reason]:
        domain = EVENTS[event]
        if self._died:
            return [Reason("source_lost", f"{event}: {self._died}", domain)]
        if not one.intervals:
            return [Reason("no_value", f"{event}: perf printed no interval", domain)]
        if one.failed:
            text = f"{event}: perf could not count {one.failed} of its intervals"
            return [Reason("read_failed", text, domain, one.failed, 0)]
        lost = self._why_lost(event, one)
        if lost is not None:
            return [lost]
        still, most = one.longest_still_seconds, design.FROZEN_SECONDS
        if one.joules <= 0 or still >= most:
            text = f"{event}: frozen: the counter did not move for {still:.1f} s"
            return [Reason("counter_frozen", text, domain, still, most)]
        loss, share = one.lost_joules, design.FROZEN_LOSS_PERCENT / 100
        if loss > share * one.joules + one.rounding_joules:
            text = f"{event}: frozen: the counter stood still and did not catch up: {loss:.2f} J"
            return [Reason("counter_frozen", text, domain, loss)]
        bound = design.JUMP_POWER_WATTS
        if one.max_watts > bound:
            text = f"{event}: an interval of {one.max_watts:.0f} W is beyond any machine"
            return [Reason("counter_jump", text, domain, one.max_watts, bound)]
        return []

    def _why_lost(self, event: str, one: EventSum) -> Reason | None:
        """Refuse intervals that are too far apart, or do not cover the window."""
        domain = EVENTS[event]
        silent, most = one.longest_silence_seconds, self._most_silent_seconds
        if silent > most:
            text = f"{event}: perf was silent: it printed no interval for {silent:.1f} s"
            return Reason("source_lost", text, domain, silent, most)
        seconds = self._window_seconds
        apart = abs(one.span_seconds - seconds)
        most = _SPAN_INTERVALS * design.PERF_INTERVAL_SECONDS + _SPAN_SHARE * seconds
        if apart <= most:
            return None
        text = f"{event}: perf's intervals cover {one.span_seconds:.2f} s of a window of"
        return Reason("source_lost", f"{text} {seconds:.2f} s", domain, apart, most)
