"""Telling a wrap of a counter from a reset, by what the counter did just before and just after.

A 32-bit counter of 262 kJ that falls back has wrapped if the power this implies is plausible, and
was reset if it implies a megawatt. Where the range is crossed in seconds, power alone cannot tell,
and the interval is compared with its neighbours.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_NEIGHBOURS = 4
_POWER_TOLERANCE = 1.5


class Neighbours:
    """The last few intervals in which the counter moved, as (watts, joules)."""

    __slots__ = ("_seen",)

    def __init__(self, seen: Neighbours | None = None) -> None:
        before = () if seen is None else tuple(seen._seen)
        self._seen: deque[tuple[float, float]] = deque(before, maxlen=2 * _NEIGHBOURS)

    def add(self, joules: float, seconds: float) -> None:
        """Note an interval that was accepted."""
        if len(self._seen) >= _NEIGHBOURS:
            self._seen.popleft()
        self._seen.append((joules / seconds, joules))

    def add_after(self, joules: float, seconds: float) -> None:
        """Note an interval that followed, without forgetting those before."""
        self._seen.append((joules / seconds, joules))

    @property
    def watts(self) -> float:
        """The highest power among them, 0 if there are none."""
        return max((watts for watts, _ in self._seen), default=0.0)

    @property
    def enough(self) -> bool:
        """Whether there are as many as a judgement needs."""
        return len(self._seen) >= _NEIGHBOURS

    def most(self, seconds: float) -> float:
        """The most joules that fit `seconds` beside them: half as much power more, and one step."""
        step = max((joules for _, joules in self._seen), default=0.0)
        return _POWER_TOLERANCE * self.watts * seconds + step

    def allow(self, joules: float, seconds: float) -> bool:
        """Whether `joules` in `seconds` is like them; never without enough of them."""
        return self.enough and joules <= self.most(seconds)


@dataclass
class Doubt:
    """A decrease that may be a wrap or a reset, until its later neighbours are known.

    Attributes:
        joules: What the interval gave if it was a wrap.
        seconds: How long the interval was.
        neighbours: The intervals around it.
    """

    joules: float
    seconds: float
    neighbours: Neighbours
    _later: int = 0

    def add_later(self, joules: float, seconds: float) -> bool:
        """Note an interval that came after; true once there are enough of them."""
        self.neighbours.add_after(joules, seconds)
        self._later += 1
        return self._later >= _NEIGHBOURS

    def excess_joules(self) -> float:
        """What the wrap would give beyond anything its neighbours allow."""
        return max(0.0, self.joules - self.neighbours.most(self.seconds))
