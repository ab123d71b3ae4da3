"""What `perf stat -x, -I` prints, read as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

_JOULES = ("Joules", "")
_PAUSE_INTERVALS = 3


@dataclass
class EventSum:
    """One event in one window.

    Attributes:
        joules: The sum of its intervals.
        resolution_joules: What perf rounds every interval to; None before the first.
        rounding_joules: How far rounding may have moved the sum: half of that for each interval.
        intervals: How many they were.
        failed: Intervals that perf could not count.
        first_end: End of the interval before the window, seconds since perf began; None if none.
        last_end: End of the last interval.
        last_watts: Power over the last interval.
        max_watts: Highest power over any interval.
        longest_gap_seconds: The longest interval.
        longest_still_seconds: Longest time of intervals without any energy.
        lost_joules: What intervals of 0 J in a row, three or more, may have lost: the lower of the
            powers before and after them over their time, less what was caught up.
        longest_lag_seconds: Longest time by which the intervals fell behind the window.
    """

    joules: float = 0.0
    resolution_joules: float | None = None
    rounding_joules: float = 0.0
    intervals: int = 0
    failed: int = 0
    first_end: float | None = None
    last_end: float | None = None
    last_watts: float | None = None
    max_watts: float = 0.0
    longest_gap_seconds: float = 0.0
    longest_still_seconds: float = 0.0
    longest_lag_seconds: float = 0.0
    lost_joules: float = 0.0
    _still_seconds: float = 0.0
    _still_intervals: int = 0
    _watts_before: float = 0.0

    @property
    def span_seconds(self) -> float:
        """What its intervals cover of the window, and beyond its edges."""
        return (self.last_end or 0.0) - (self.first_end or 0.0)

    def compare(self, window_seconds: float) -> None:
        """See how far its intervals lie behind a window that is open for so long."""
        lag_seconds = window_seconds - self.span_seconds
        self.longest_lag_seconds = max(self.longest_lag_seconds, lag_seconds)

    @property
    def longest_silence_seconds(self) -> float:
        """Longest time in which perf printed no interval of it."""
        return max(self.longest_gap_seconds, self.longest_lag_seconds)

    def add(self, end: float, joules: float, decimals: int) -> None:
        """Add an interval that ended at `end` seconds after perf began, as it was rounded."""
        self.resolution_joules = 10.0**-decimals
        self.rounding_joules += self.resolution_joules / 2
        seconds = end - (self.last_end or 0.0)
        self.last_end = end
        self.joules += joules
        self.intervals += 1
        self.longest_gap_seconds = max(self.longest_gap_seconds, seconds)
        self._note_stillness(seconds, joules)
        if seconds > 0:
            self.last_watts = joules / seconds
            self.max_watts = max(self.max_watts, self.last_watts)

    def _note_stillness(self, seconds: float, joules: float) -> None:
        if not joules:
            self._still_seconds += seconds
            self._still_intervals += 1
            self.longest_still_seconds = max(self.longest_still_seconds, self._still_seconds)
            return
        watts = joules / seconds if seconds > 0 else 0.0
        if self._still_intervals >= _PAUSE_INTERVALS:
            likely_joules = min(self._watts_before, watts) * (self._still_seconds + seconds)
            self.lost_joules += max(0.0, likely_joules - joules)
        self._still_seconds, self._still_intervals, self._watts_before = 0.0, 0, watts


@dataclass
class IntervalLog:
    """Reads what `perf stat -x, -I` prints, as it grows, and adds it up from a chosen moment.

    Attributes:
        sums: One per event.
        others: Lines that are no intervals, at most a few, to explain a failure by.
    """

    path: Path
    events: Sequence[str]
    sums: dict[str, EventSum] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    _offset: int = 0
    _rest: str = ""

    def __post_init__(self) -> None:
        self.sums = {event: EventSum() for event in self.events}

    def read(self) -> None:
        """Take in what has been written since the last call."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
        except OSError:
            return
        self._offset += len(text)
        *lines, self._rest = (self._rest + text.decode("utf-8", "replace")).split("\n")
        for line in lines:
            self._take(line)

    def compare(self, window_seconds: float) -> None:
        """See how far every event lies behind a window that is open for so long."""
        for one in self.sums.values():
            one.compare(window_seconds)

    def start(self) -> None:
        """Let what was read so far lie before the window."""
        for event, one in self.sums.items():
            self.sums[event] = EventSum(first_end=one.last_end, last_end=one.last_end)

    @property
    def has_interval(self) -> bool:
        """Whether every event has ended an interval."""
        return all(one.last_end is not None for one in self.sums.values())

    def _take(self, line: str) -> None:
        cells = [cell.strip() for cell in line.split(",")]
        one = self.sums.get(cells[3]) if len(cells) > 3 else None
        if one is None:
            self._take_other(line.strip())
            return
        try:
            end, joules = float(cells[0]), float(cells[1])
        except ValueError:
            one.failed += 1
            return
        if isfinite(end) and isfinite(joules) and joules >= 0 and cells[2] in _JOULES:
            one.add(end, joules, len(cells[1].partition(".")[2]))
        else:
            one.failed += 1

    def _take_other(self, line: str) -> None:
        """Keep a line that is no interval; one that was cut short is an interval lost."""
        for event, one in self.sums.items():
            one.failed += event in line
        if line and not line.startswith("#") and len(self.others) < 8:
            self.others.append(line)
