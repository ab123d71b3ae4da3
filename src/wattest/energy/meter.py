"""The meter: windows over all sources, sampled by the loop that waits for the training."""

from __future__ import annotations

import select
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType

from wattest.energy.base import NS, Clock, DomainResult, Live, Reason, Recording, SourceKind
from wattest.energy.cpu_time import machine_cpu
from wattest.energy.gates import window_is_short
from wattest.energy.measurement import DOMAINS, Measurement, Snapshot
from wattest.energy.report import cpu_report
from wattest.energy.schedule import Schedule
from wattest.energy.thresholds import Thresholds
from wattest.energy.traces import TraceFolder
from wattest.errors import EnergyError

_LONGEST_WAIT_MS = 60_000


class Meter:
    """Opens windows over the sources of this machine.

    Args:
        kinds: The kinds of sources, the slowest to read first.
        absences: Why a domain has no source, by domain.
        thresholds: The design values.
        clock: The clock.
        proc_root: /proc.
    """

    def __init__(
        self,
        kinds: Sequence[SourceKind],
        absences: Mapping[str, str],
        thresholds: Thresholds,
        clock: Clock,
        proc_root: Path,
    ) -> None:
        self.kinds = tuple(kinds)
        self.absences = absences
        self.thresholds = thresholds
        self.clock = clock
        self.proc_root = proc_root

    def open(self, folder: Path) -> Window:
        """Open a window whose traces go to `folder`; the last act is to read every source.

        Args:
            folder: Created; if it exists, it must be empty.

        Raises:
            EnergyError: The folder cannot be used.
        """
        return Window(self, folder)


class Window:
    """A span of time in which energy is measured; open from its creation until `close`.

    Leaving it as a context manager without having closed it abandons it.

    Attributes:
        opened_ns: The opening edge on the monotonic clock: every source has just been read.
    """

    def __init__(self, meter: Meter, folder: Path) -> None:
        self._meter = meter
        self._clock = meter.clock
        self._loop_cpu_ns = 0
        self._edges_cpu_ns = -self._clock.thread_cpu_ns()
        begun_ns = self._clock.monotonic_ns()
        self._traces = TraceFolder(folder, self._clock)
        self._recordings: list[Recording] = []
        self._measurement: Measurement | None = None
        self._fds: tuple[int, ...] = ()
        self._poll = select.poll()
        try:
            for kind in meter.kinds:
                self._recordings.append(kind.record(self._traces))
            for recording in self._recordings:
                recording.prepare()
            self._cpu_start = machine_cpu(meter.proc_root)
            self._started_at = datetime.fromtimestamp(self._clock.wall_ns() / NS)
            for recording in self._recordings:
                recording.read_opening()
        except BaseException:
            self.abandon()
            raise
        self.opened_ns = self._clock.monotonic_ns()
        self._setup_ns = self.opened_ns - begun_ns
        self._schedules = [
            Schedule(self.opened_ns, recording.period_ns) for recording in self._recordings
        ]
        self._edges_cpu_ns += self._clock.thread_cpu_ns()

    def __enter__(self) -> Window:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._measurement is None:
            self.abandon()

    def wait(self, fds: Sequence[int], until_ns: int | None = None) -> tuple[int, ...]:
        """Wait for descriptors, and sample every source when it is due.

        Args:
            fds: Descriptors to wait for: readable, hung up or broken.
            until_ns: Monotonic time at which to give up; None to wait for ever.

        Returns:
            Those descriptors that are ready; empty once `until_ns` is reached.

        Raises:
            EnergyError: The window is closed.
            ValueError: There is nothing to wait for.
        """
        if not fds and until_ns is None:
            raise ValueError("wait: neither a descriptor nor a time to wait for")
        if self._measurement is not None:
            raise EnergyError("the window is closed: it cannot wait any more")
        started_ns = self._clock.thread_cpu_ns()
        try:
            return self._wait(tuple(fds), until_ns)
        finally:
            self._loop_cpu_ns += self._clock.thread_cpu_ns() - started_ns

    def latest(self) -> Snapshot:
        """The values of the last samples; nothing is read."""
        elapsed_seconds = (self._clock.monotonic_ns() - self.opened_ns) / NS
        lives: dict[str, Live] = {one.domain: one for one in (r.live() for r in self._recordings)}
        cpu, gpu = lives.get("cpu"), lives.get("gpu")
        return Snapshot(
            elapsed_seconds,
            cpu.watts if cpu else None,
            cpu.joules if cpu else None,
            gpu.watts if gpu else None,
            gpu.joules if gpu else None,
            gpu.temperature_celsius if gpu else None,
            gpu.utilization_percent if gpu else None,
        )

    def close(self, ended_ns: int | None = None) -> Measurement:
        """Read every source at once, then judge; a second call gives the same measurement.

        Args:
            ended_ns: Monotonic time at which what is measured ended, if that is known better than
                by this call; it is the end of `duration_seconds`.
        """
        if self._measurement is not None:
            return self._measurement
        self._edges_cpu_ns -= self._clock.thread_cpu_ns()
        closed_ns = self._clock.monotonic_ns()
        for recording in reversed(self._recordings):
            recording.read_closing()
        cpu_end = machine_cpu(self._meter.proc_root)
        ended_ns = closed_ns if ended_ns is None else max(self.opened_ns, min(ended_ns, closed_ns))
        try:
            for recording, schedule in zip(self._recordings, self._schedules, strict=True):
                schedule.close(closed_ns)
                recording.finish(self.opened_ns, ended_ns)
            results = self._results()
            seconds = (ended_ns - self.opened_ns) / NS
            report = cpu_report(self._started_at, seconds, results)
            self._traces.write_text("cpu_energy.txt", report)
        finally:
            self.abandon()
        self._edges_cpu_ns += self._clock.thread_cpu_ns()
        used = cpu_end.since(self._cpu_start) if cpu_end and self._cpu_start else None
        self._measurement = Measurement(
            opened_ns=self.opened_ns,
            closed_ns=closed_ns,
            duration_seconds=seconds,
            results=results,
            faults=tuple(fault for result in results for fault in result.faults),
            flags=self._flags(results, seconds),
            meter_cost=self._cost(closed_ns),
            thresholds=self._meter.thresholds.as_dict(),
            machine_cpu=used,
        )
        return self._measurement

    def abandon(self) -> None:
        """Release everything without measuring; may be called at any time, and twice."""
        for recording in self._recordings:
            recording.close()
        self._traces.close()

    def _wait(self, fds: tuple[int, ...], until_ns: int | None) -> tuple[int, ...]:
        self._watch(fds)
        clock_ns = self._clock.monotonic_ns
        pairs = list(zip(self._schedules, self._recordings, strict=True))
        while True:
            now_ns = clock_ns()
            for schedule, recording in pairs:
                if now_ns >= schedule.due_ns:
                    schedule.take(now_ns)
                    recording.sample(now_ns)
            now_ns = clock_ns()
            wait_ns = min((schedule.due_ns for schedule, _ in pairs), default=now_ns + 60 * NS)
            if until_ns is not None and until_ns < wait_ns:
                wait_ns = until_ns
            # Rounded up: to wake a little late costs less than to wake early and wait again.
            pause_ms = max(0, -((now_ns - wait_ns) // 1_000_000))
            ready = self._poll.poll(min(pause_ms, _LONGEST_WAIT_MS))
            if ready:
                return tuple(fd for fd, _ in ready)
            if until_ns is not None and clock_ns() >= until_ns:
                return ()

    def _watch(self, fds: tuple[int, ...]) -> None:
        if fds == self._fds:
            return
        self._poll = select.poll()
        for fd in fds:
            self._poll.register(fd, select.POLLIN)
        self._fds = fds

    def _results(self) -> tuple[DomainResult, ...]:
        found = {
            result.domain: result
            for recording, schedule in zip(self._recordings, self._schedules, strict=True)
            for result in recording.results(schedule)
        }
        return tuple(found.get(domain) or self._absent(domain) for domain in DOMAINS)

    def _absent(self, domain: str) -> DomainResult:
        reason = self._meter.absences.get(domain, "no source")
        return DomainResult(domain, "unavailable", None, {"source": None, "reason": reason})

    def _flags(self, results: Sequence[DomainResult], seconds: float) -> tuple[Reason, ...]:
        flags = [flag for result in results for flag in result.flags]
        if any(result.status == "measured" for result in results):
            short = window_is_short(seconds, self._meter.thresholds)
            flags += [short] if short else []
        return (*flags, *self._traces.flags())

    def _cost(self, closed_ns: int) -> dict[str, object]:
        seconds = (closed_ns - self.opened_ns) / NS
        fastest = min(self._schedules, key=lambda one: one.period_ns, default=None)
        cost: dict[str, object] = {
            "cpu_seconds": (self._loop_cpu_ns + self._edges_cpu_ns) / NS,
            "loop_cpu_seconds": self._loop_cpu_ns / NS,
            "loop_cpu_percent_of_core": (
                100 * self._loop_cpu_ns / NS / seconds if seconds > 0 else None
            ),
            "setup_seconds": self._setup_ns / NS,
        }
        if fastest is None:
            return {**cost, "samples": 0}
        return {
            **cost,
            "samples": fastest.samples,
            "expected_samples": fastest.expected(),
            "missed_ticks": fastest.missed,
            "late_ticks": fastest.late,
            "nominal_period_seconds": fastest.period_ns / NS,
            "p95_period_seconds": fastest.p95_seconds(),
            "longest_gap_seconds": fastest.longest_gap_ns / NS,
        }
