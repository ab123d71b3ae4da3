"""Absolute sampling times, and how well they were kept, in bounded memory."""

from __future__ import annotations

from wattest.energy.types import NS

_BINS_PER_PERIOD = 1000
_BINS = 4 * _BINS_PER_PERIOD


class Schedule:
    """Sampling times `start + k·period` on the monotonic clock; missed ones are skipped.

    Args:
        start_ns: Monotonic time of the opening edge, nanoseconds.
        period_ns: Nominal time between samples, nanoseconds.

    Attributes:
        due_ns: When the next sample is due.
        samples: Samples taken.
        missed: Sampling times that passed without a sample.
        late: Samples that began more than a tenth of a period after their time.
        longest_gap_ns: Longest time between two samples, the opening edge included.
    """

    __slots__ = (
        "_counts",
        "_last_ns",
        "_start_ns",
        "due_ns",
        "late",
        "longest_gap_ns",
        "missed",
        "period_ns",
        "samples",
    )

    def __init__(self, start_ns: int, period_ns: int) -> None:
        self._start_ns = start_ns
        self._last_ns = start_ns
        self._counts = [0] * (_BINS + 1)
        self.period_ns = period_ns
        self.due_ns = start_ns + period_ns
        self.samples = 0
        self.missed = 0
        self.late = 0
        self.longest_gap_ns = 0

    def take(self, now_ns: int) -> None:
        """Count a sample that began at `now_ns`, and set when the next one is due."""
        period_ns = self.period_ns
        lateness_ns = now_ns - self.due_ns
        skipped = lateness_ns // period_ns
        if lateness_ns * 10 > period_ns:
            self.late += 1
        self.missed += skipped
        self.due_ns += (skipped + 1) * period_ns
        gap_ns = now_ns - self._last_ns
        self._last_ns = now_ns
        if gap_ns > self.longest_gap_ns:
            self.longest_gap_ns = gap_ns
        slot = gap_ns * _BINS_PER_PERIOD // period_ns
        self._counts[slot if slot < _BINS else _BINS] += 1
        self.samples += 1

    def close(self, now_ns: int) -> None:
        """Let the time up to the closing edge count as a gap, but not as a period.

        The reading at the edge stands for a sample that is due by then.
        """
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
