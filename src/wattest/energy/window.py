"""A window: the span of time in which energy is measured, from edge to edge."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from wattest.energy.gates import machine_slept, stolen_time, wall_clock_stepped, window_is_short
from wattest.energy.machine import machine_cpu, read_clocks
from wattest.energy.measurement import DOMAINS, Measurement, Snapshot
from wattest.energy.recording import Recording, read
from wattest.energy.schedule import SamplingLoop, Schedule
from wattest.energy.traces import TraceFolder, cpu_report
from wattest.energy.types import NS, DomainResult, Reason
from wattest.errors import EnergyError


class Window:
    """A span of time in which energy is measured; open from its creation until `close`.

    Leaving it as a context manager without having closed it abandons it. At `opened_ns`, on the
    monotonic clock, every source has just been read.

    Args:
        folder: Where the traces go; must not exist, or be empty.
        record: Begins the recordings, the slowest to read first.
        why_absent: Says why a domain has no source.
        proc_root: /proc.

    Raises:
        EnergyError: The folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        record: Callable[[TraceFolder], Sequence[Recording]],
        why_absent: Callable[[str], str],
        proc_root: Path,
        cpus: frozenset[int] | None = None,
    ) -> None:
        self._why_absent = why_absent
        self._proc_root, self._cpus = proc_root, cpus
        self._measurement: Measurement | None = None
        self._loop_cpu_ns = 0
        self._edges_cpu_ns = -time.thread_time_ns()
        begun_ns = time.monotonic_ns()
        self._traces = TraceFolder(folder)
        try:
            self._recordings = record(self._traces)
            for recording in self._recordings:
                recording.prepare()
            self._cpu_start = machine_cpu(proc_root, cpus)
            self._clocks = read_clocks()
            for recording in self._recordings:
                recording.read_opening()
        except BaseException:
            self.abandon()
            raise
        self.opened_ns = time.monotonic_ns()
        self._setup_seconds = (self.opened_ns - begun_ns) / NS
        self._schedules = [Schedule(self.opened_ns, one.period_ns) for one in self._recordings]
        samples = [recording.sample for recording in self._recordings]
        self._loop = SamplingLoop(list(zip(self._schedules, samples, strict=True)))
        self._edges_cpu_ns += time.thread_time_ns()

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *error: object) -> None:
        if self._measurement is None:
            self.abandon()

    def wait(self, fds: Sequence[int], until_ns: int | None = None) -> tuple[int, ...]:
        """Wait for descriptors to be readable, hung up or broken; sample every source when due.

        Returns:
            Those that are ready; empty once the monotonic time `until_ns` is reached.

        Raises:
            EnergyError: The window is closed.
            ValueError: There is nothing to wait for.
        """
        if not fds and until_ns is None:
            raise ValueError("wait: neither a descriptor nor a time to wait for")
        if self._measurement is not None:
            raise EnergyError("the window is closed: it cannot wait any more")
        started_ns = time.thread_time_ns()
        try:
            return self._loop.wait(tuple(fds), until_ns)
        finally:
            self._loop_cpu_ns += time.thread_time_ns() - started_ns

    def latest(self) -> Snapshot:
        """The values of the last samples; nothing is read."""
        values: dict[str, float | None] = {}
        for recording in self._recordings:
            values.update(recording.live())
        return Snapshot((time.monotonic_ns() - self.opened_ns) / NS, **values)

    def read(self) -> Snapshot:
        """Read every counter now, beside the schedule; return what had been counted by then."""
        started_ns = time.thread_time_ns()
        for recording in self._recordings:
            for track in recording.tracks:
                read(track)
        self._loop_cpu_ns += time.thread_time_ns() - started_ns
        return self.latest()

    def close(self, ended_ns: int | None = None) -> Measurement:
        """Read every source at once, then judge; a second call gives the same measurement.

        `ended_ns` is the monotonic time at which what is measured ended, the end of
        `duration_seconds`, if that is known better than by this call.
        """
        if self._measurement is None:
            self._edges_cpu_ns -= time.thread_time_ns()
            closed_ns = time.monotonic_ns()
            for recording in reversed(self._recordings):
                recording.read_closing()
            end_ns = closed_ns if ended_ns is None else max(ended_ns, self.opened_ns)
            try:
                self._measurement = self._measure(closed_ns, min(end_ns, closed_ns))
            finally:
                self.abandon()
        return self._measurement

    def abandon(self) -> None:
        """Release everything without measuring; may be called at any time, and twice."""
        self._traces.close()

    def _measure(self, closed_ns: int, ended_ns: int) -> Measurement:
        clocks, cpu_end = read_clocks(), machine_cpu(self._proc_root, self._cpus)
        for recording, schedule in zip(self._recordings, self._schedules, strict=True):
            schedule.close(closed_ns)
            recording.finish(self.opened_ns, ended_ns)
        slept_seconds = clocks.slept_seconds(self._clocks)
        stepped_seconds = clocks.stepped_seconds(self._clocks)
        slept = machine_slept(slept_seconds)
        results = self._results() if slept is None else _refused(self._results(), slept)
        seconds = (ended_ns - self.opened_ns) / NS
        spent = cpu_end.since(self._cpu_start) if cpu_end and self._cpu_start else None
        started_at = datetime.fromtimestamp(self._clocks.wall_ns / NS)
        self._traces.write_text("cpu_energy.txt", cpu_report(started_at, seconds, results))
        self._traces.close()
        self._edges_cpu_ns += time.thread_time_ns()
        return Measurement(
            opened_ns=self.opened_ns,
            closed_ns=closed_ns,
            duration_seconds=seconds,
            results=results,
            faults=(
                *filter(None, [slept]),
                *(fault for result in results for fault in result.faults),
            ),
            flags=self._flags(
                results,
                window_is_short(seconds),
                stolen_time(spent) if spent else None,
                wall_clock_stepped(stepped_seconds),
            ),
            meter_cost=self._cost((closed_ns - self.opened_ns) / NS),
            machine_cpu=spent,
            clocks={
                "opened_at": self._clocks.utc(self.opened_ns),
                "closed_at": clocks.utc(closed_ns),
                "slept_seconds": slept_seconds,
                "wall_clock_step_seconds": stepped_seconds,
            },
        )

    def _cost(self, seconds: float) -> dict[str, object]:
        loop_seconds = self._loop_cpu_ns / NS
        fastest = min(self._schedules, key=lambda one: one.period_ns, default=None)
        return {
            "cpu_seconds": loop_seconds + self._edges_cpu_ns / NS,
            "setup_seconds": self._setup_seconds,
            "loop_cpu_seconds": loop_seconds,
            "loop_cpu_percent_of_core": 100 * loop_seconds / seconds if seconds > 0 else None,
            **(fastest.cost() if fastest else {"samples": 0}),
        }

    def _results(self) -> tuple[DomainResult, ...]:
        found = {
            result.domain: result
            for recording, schedule in zip(self._recordings, self._schedules, strict=True)
            for result in recording.results(schedule)
        }
        return tuple(
            found.get(domain) or DomainResult(domain, "unavailable", self._why_absent(domain))
            for domain in DOMAINS
        )

    def _flags(
        self, results: Sequence[DomainResult], short: Reason | None, *others: Reason | None
    ) -> tuple[Reason, ...]:
        flags: list[Reason | None] = [flag for result in results for flag in result.flags]
        if any(result.status == "measured" for result in results):
            flags.append(short)
        return tuple(dict.fromkeys(filter(None, [*flags, *others, *self._traces.flags()])))


def _refused(results: Sequence[DomainResult], why: Reason) -> tuple[DomainResult, ...]:
    """What was measured in a window that is refused as a whole: no number, and the reason."""
    found = []
    for one in results:
        if one.status == "measured":
            kept = {name: value for name, value in one.metrics.items() if "power" not in name}
            one = replace(one, status="invalid", reason=why.text, energy_joules=None, metrics=kept)
        found.append(one)
    return tuple(found)
