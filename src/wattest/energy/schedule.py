"""Absolute sampling times, how well they were kept, and the loop that waits meanwhile."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence

from wattest.energy.types import NS

_BINS_PER_PERIOD = 1000
_BINS = 4 * _BINS_PER_PERIOD
_LONGEST_WAIT_NS = 60 * NS
_MS = 1_000_000


class Schedule:
    """Sampling times `start + k·period` on the monotonic clock; missed ones are skipped.

    Attributes:
        due_ns: When the next sample is due.
        samples: Samples taken.
        missed: Sampling times that passed without a sample.
        late: Samples that began more than a tenth of a period after their time.
        longest_gap_ns: Longest time between two samples, the opening edge included.
    """

    def __init__(self, start_ns: int, period_ns: int) -> None:
        self.period_ns = period_ns
        self.due_ns = start_ns + period_ns
        self.samples = self.missed = self.late = self.longest_gap_ns = 0
        self._last_ns = start_ns
        self._counts = [0] * (_BINS + 1)

    def take(self, now_ns: int) -> None:
        """Count a sample that began at `now_ns`, and set when the next one is due."""
        lateness_ns = now_ns - self.due_ns
        skipped = lateness_ns // self.period_ns
        self.late += lateness_ns * 10 > self.period_ns
        self.missed += skipped
        self.due_ns += (skipped + 1) * self.period_ns
        gap_ns = now_ns - self._last_ns
        self._last_ns = now_ns
        if gap_ns > self.longest_gap_ns:
            self.longest_gap_ns = gap_ns
        slot = gap_ns * _BINS_PER_PERIOD // self.period_ns
        self._counts[slot if slot < _BINS else _BINS] += 1
        self.samples += 1

    def close(self, now_ns: int) -> None:
        """Let the time up to the closing edge, whose reading is a sample, count as a gap."""
        self.longest_gap_ns = max(self.longest_gap_ns, now_ns - self._last_ns)
        self.missed += max(0, (now_ns - self.due_ns) // self.period_ns)

    def expected(self) -> int:
        """How many samples the window had room for."""
        return self.samples + self.missed

    def p95_seconds(self) -> float | None:
        """95th percentile of the time between samples, to a thousandth of the period.

        None without samples. Beyond four periods it is the longest gap.
        """
        if not self.samples:
            return None
        rest = self.samples * 0.95
        for slot, count in enumerate(self._counts):
            rest -= count
            if rest <= 0 and slot < _BINS:
                return (slot + 0.5) * self.period_ns / _BINS_PER_PERIOD / NS
        return self.longest_gap_ns / NS

    def cost(self) -> dict[str, object]:
        """How well the sampling times were kept, as a record has it."""
        return {
            "samples": self.samples,
            "expected_samples": self.expected(),
            "missed_ticks": self.missed,
            "late_ticks": self.late,
            "nominal_period_seconds": self.period_ns / NS,
            "p95_period_seconds": self.p95_seconds(),
            "longest_gap_seconds": self.longest_gap_ns / NS,
        }


Sampled = tuple[Schedule, Callable[[int], None]]
"""Sampling times, and what to call then with the monotonic time."""


class SamplingLoop:
    """One poll on descriptors, with a timeout at the next sampling time: no thread, no race."""

    def __init__(self, sampled: Sequence[Sampled]) -> None:
        self._sampled = sampled
        self._fds: Sequence[int] = ()
        self._poll = select.poll()

    def wait(self, fds: Sequence[int], until_ns: int | None) -> tuple[int, ...]:
        """Wait for descriptors, at most until a monotonic time; those that are ready.

        What is due at that time is sampled before: whoever waits for a sample is woken once.
        """
        self._watch(fds)
        self._sample_due()
        while True:
            now_ns = time.monotonic_ns()
            wake_ns = now_ns + _LONGEST_WAIT_NS
            if until_ns is not None and until_ns < wake_ns:
                wake_ns = until_ns
            for schedule, _ in self._sampled:
                if schedule.due_ns < wake_ns:
                    wake_ns = schedule.due_ns
            # Rounded up: to wake a little late costs less than to wake early and wait again.
            ready = self._poll.poll(max(0, -((now_ns - wake_ns) // _MS)))
            if ready:
                return tuple(fd for fd, _ in ready)
            self._sample_due()
            if until_ns is not None and time.monotonic_ns() >= until_ns:
                return ()

    def _sample_due(self) -> None:
        now_ns = time.monotonic_ns()
        for schedule, sample in self._sampled:
            if now_ns >= schedule.due_ns:
                schedule.take(now_ns)
                sample(now_ns)

    def _watch(self, fds: Sequence[int]) -> None:
        if fds != self._fds:
            self._poll = select.poll()
            for fd in fds:
                self._poll.register(fd, select.POLLIN)
            self._fds = fds
