"""The loop that waits for a training and samples meanwhile: one poll, no thread."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence

from wattest.energy.recording import Recording
from wattest.energy.schedule import Schedule
from wattest.energy.types import NS

_LONGEST_WAIT_NS = 60 * NS
_MS = 1_000_000


class SamplingLoop:
    """Samples recordings when they are due, for as long as somebody waits.

    Args:
        recordings: What to sample.
        opened_ns: Monotonic time from which the sampling times count.

    Attributes:
        schedules: One per recording.
        cpu_ns: CPU time of the loop so far, nanoseconds.
    """

    def __init__(self, recordings: Sequence[Recording], opened_ns: int) -> None:
        self.schedules = [Schedule(opened_ns, recording.period_ns) for recording in recordings]
        self.cpu_ns = 0
        self._pairs = list(zip(self.schedules, recordings, strict=True))
        self._fds: tuple[int, ...] = ()
        self._poll = select.poll()

    def wait(self, fds: tuple[int, ...], until_ns: int | None) -> tuple[int, ...]:
        """Wait for descriptors, at most until a monotonic time; those that are ready."""
        started_ns = time.thread_time_ns()
        try:
            self._watch(fds)
            return self._wait(until_ns)
        finally:
            self.cpu_ns += time.thread_time_ns() - started_ns

    def _wait(self, until_ns: int | None) -> tuple[int, ...]:
        clock_ns = time.monotonic_ns
        while True:
            now_ns = clock_ns()
            for schedule, recording in self._pairs:
                if now_ns >= schedule.due_ns:
                    schedule.take(now_ns)
                    recording.sample(now_ns)
            now_ns = clock_ns()
            wake_ns = now_ns + _LONGEST_WAIT_NS
            for schedule in self.schedules:
                wake_ns = min(wake_ns, schedule.due_ns)
            if until_ns is not None:
                wake_ns = min(wake_ns, until_ns)
            # Rounded up: to wake a little late costs less than to wake early and wait again.
            ready = self._poll.poll(max(0, -((now_ns - wake_ns) // _MS)))
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

    def cost(self, seconds: float) -> dict[str, object]:
        """CPU time of the loop in a window of `seconds`, and how the sampling times were kept."""
        percent = 100 * self.cpu_ns / NS / seconds if seconds > 0 else None
        cost: dict[str, object] = {
            "loop_cpu_seconds": self.cpu_ns / NS,
            "loop_cpu_percent_of_core": percent,
        }
        fastest = min(self.schedules, key=lambda one: one.period_ns, default=None)
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
