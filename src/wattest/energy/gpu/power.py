"""What is sampled, summed up as it comes: power over time, and means of vital signs."""

from __future__ import annotations

from dataclasses import dataclass

from wattest.energy.types import NS


@dataclass(slots=True)
class Integral:
    """Power integrated by the trapezoid rule over the actual times of its samples.

    `joules` are those from the first sample to the last; without any, what is None is not known.
    """

    samples: int = 0
    joules: float = 0.0
    first_ns: int | None = None
    last_ns: int = 0
    last_watts: float = 0.0
    low_watts: float | None = None
    high_watts: float | None = None
    longest_gap_ns: int = 0
    _first_watts: float = 0.0

    def add(self, at_ns: int, watts: float) -> None:
        """Add a sample."""
        if self.low_watts is None or self.high_watts is None:
            self.first_ns, self._first_watts = at_ns, watts
            self.low_watts = self.high_watts = watts
        else:
            gap_ns = at_ns - self.last_ns
            self.joules += (watts + self.last_watts) * gap_ns / (2 * NS)
            if gap_ns > self.longest_gap_ns:
                self.longest_gap_ns = gap_ns
            if watts < self.low_watts:
                self.low_watts = watts
            elif watts > self.high_watts:
                self.high_watts = watts
        self.samples += 1
        self.last_ns, self.last_watts = at_ns, watts

    @property
    def range_watts(self) -> float:
        """From the least power to the greatest."""
        return (self.high_watts or 0.0) - (self.low_watts or 0.0)

    @property
    def mean_watts(self) -> float | None:
        """Mean power over the time from the first sample to the last; None without a sample."""
        if self.first_ns is None:
            return None
        seconds = (self.last_ns - self.first_ns) / NS
        return self.joules / seconds if seconds > 0 else self.last_watts

    def gap_ns(self, from_ns: int, to_ns: int) -> int:
        """Longest time without a sample from `from_ns` to `to_ns`, the edges being included."""
        if self.first_ns is None:
            return to_ns - from_ns
        return max(self.longest_gap_ns, self.first_ns - from_ns, to_ns - self.last_ns)

    def over(self, from_ns: int, to_ns: int) -> float | None:
        """Joules from `from_ns` to `to_ns`, the ends being held constant; None without samples."""
        if self.first_ns is None:
            return None
        before = (self.first_ns - from_ns) * self._first_watts
        after = (to_ns - self.last_ns) * self.last_watts
        return self.joules + (before + after) / NS


@dataclass(slots=True)
class Mean:
    """Mean and maximum of what is sampled evenly.

    The `last` value is None if it was not known: then the rest speaks for a part of the time only.
    """

    high: float | None = None
    last: float | None = None
    _count: int = 0
    _sum: float = 0.0

    def add(self, value: float | None) -> None:
        """Add a sample; None, which means not known, is not one."""
        self.last = value
        if value is not None:
            self._count += 1
            self._sum += value
            self.high = value if self.high is None else max(self.high, value)

    @property
    def value(self) -> float | None:
        """The mean; None without a sample."""
        return self._sum / self._count if self._count else None
