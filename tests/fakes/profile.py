"""Power over time as straight lines between points, so that energy over any span is exact."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(frozen=True)
class Profile:
    """Power by time; before the first point and after the last it stays what it was.

    Attributes:
        points: (seconds, watts), in order; two points of one time make a step.
    """

    points: tuple[tuple[float, float], ...]

    def joules(self, start: float, end: float) -> float:
        """Energy from `start` to `end`, in seconds."""
        return self._until(end) - self._until(start)

    def _until(self, at: float) -> float:
        times, totals = self._table()
        if at <= times[0]:
            return (at - times[0]) * self.points[0][1]
        if at >= times[-1]:
            return totals[-1] + (at - times[-1]) * self.points[-1][1]
        index = bisect_right(times, at) - 1
        (t0, w0), (t1, w1) = self.points[index], self.points[index + 1]
        part = at - t0
        return totals[index] + part * (w0 + (w1 - w0) / (t1 - t0) * part / 2)

    def _table(self) -> tuple[list[float], list[float]]:
        steps = ((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in pairwise(self.points))
        return [time for time, _ in self.points], list(accumulate(steps, initial=0.0))


def steady(watts: float) -> Profile:
    """The same power for ever."""
    return Profile(((0.0, watts),))


def ramp(start: float, end: float, start_watts: float, end_watts: float) -> Profile:
    """From one power to another in a straight line."""
    return Profile(((start, start_watts), (end, end_watts)))


def bursts(base_watts: float, spans: Iterable[tuple[float, float, float]]) -> Profile:
    """A base, and (start, end, watts) on top of which nothing else happens."""
    points: list[tuple[float, float]] = [(0.0, base_watts)]
    for start, end, watts in spans:
        points += [(start, base_watts), (start, watts), (end, watts), (end, base_watts)]
    return Profile(tuple(points))


def square(
    low_watts: float, high_watts: float, period: float, seconds: float, duty: float = 0.5
) -> Profile:
    """A square wave of `period` seconds that is high for `duty` of it; low after `seconds`."""
    count = round(seconds / period)
    spans = [(n * period, (n + duty) * period, high_watts) for n in range(count)]
    return bursts(low_watts, spans)


def as_points(points: Sequence[Sequence[float]]) -> Profile:
    """A profile from what JSON makes of its points."""
    return Profile(tuple((time, watts) for time, watts in points))
