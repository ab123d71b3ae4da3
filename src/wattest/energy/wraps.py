"""Telling a wrap of a counter from a reset, by what the counter did just before and just after.

A 32-bit counter of 262 kJ that falls back has wrapped if the power this implies is plausible, and
was reset if it implies a megawatt. Where plausible power crosses much of the range between two
readings, that is not enough, and the interval is compared with its neighbours.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto

from wattest.energy.types import CounterSpec

_NEIGHBOURS = 4
_POWER_TOLERANCE = 1.5


@dataclass
class Neighbours:
    """Intervals in which the counter moved, as (watts, joules), the last few of them."""

    seen: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_NEIGHBOURS))

    def add(self, joules: float, seconds: float) -> None:
        """Note an interval."""
        self.seen.append((joules / seconds, joules))

    @property
    def watts(self) -> float:
        """The highest power among them, 0 if there are none."""
        return max((watts for watts, _ in self.seen), default=0.0)

    @property
    def least_watts(self) -> float | None:
        """The lowest power among them; None if there are none."""
        return min((watts for watts, _ in self.seen), default=None)

    def most(self, seconds: float) -> float:
        """The most joules that fit `seconds` beside them: half as much power more, and one step."""
        step = max((joules for _, joules in self.seen), default=0.0)
        return _POWER_TOLERANCE * self.watts * seconds + step

    def allow(self, joules: float, seconds: float) -> bool:
        """Whether `joules` in `seconds` is like them; never without enough of them."""
        return len(self.seen) >= _NEIGHBOURS and joules <= self.most(seconds)


@dataclass
class _Doubt:
    """A decrease that may be a wrap or a reset, until its later neighbours are known."""

    joules: float
    seconds: float
    is_plausible_alone: bool
    before: Neighbours
    after: Neighbours = field(default_factory=Neighbours)

    def excess_joules(self) -> float:
        """What the wrap would give beyond anything its neighbours allow."""
        if self.is_plausible_alone and not (self.before.seen or self.after.seen):
            return 0.0
        most = max(self.before.most(self.seconds), self.after.most(self.seconds))
        return max(0.0, self.joules - most)


class Look(Enum):
    """What an interval looks like by itself and beside its neighbours."""

    SOUND = auto()
    DOUBTFUL = auto()
    """A decrease of plausible power that its neighbours do not vouch for yet."""
    ODD = auto()
    """To be believed only if the next reading bears it out."""


class WrapJudge:
    """Judges every interval of a counter, and keeps the doubts about those that fell.

    Args:
        spec: The counter.
        range_share: Share of its range that plausible power may cross in an interval for a wrap
            to be told from a reset by power alone.
    """

    def __init__(self, spec: CounterSpec, range_share: float) -> None:
        self.neighbours = Neighbours()
        self._spec = spec
        self._range_share = range_share
        self._doubts: list[_Doubt] = []
        self._excess_joules = 0.0

    def look(self, joules: float, seconds: float, *, fell: bool) -> Look:
        """Judge an interval that is `joules` if a decrease was a wrap."""
        if self.neighbours.allow(joules, seconds):
            return Look.SOUND
        if self._is_range_small(seconds) or joules / seconds > self._spec.bound_watts(fell=fell):
            return Look.ODD
        return Look.DOUBTFUL if fell else Look.SOUND

    def may_have_missed_a_wrap(self, watts: float, seconds: float) -> bool:
        """Whether twice that power could have crossed the whole range unseen."""
        reach = self._spec.range_joules
        return reach is not None and 2 * watts * seconds >= reach

    def _is_range_small(self, seconds: float) -> bool:
        """Whether plausible power crosses too much of the range to tell a wrap from a reset."""
        reach = self._spec.range_joules
        return reach is not None and self._spec.wrap_watts * seconds > self._range_share * reach

    def note(self, joules: float, seconds: float) -> None:
        """Take an interval that is beyond doubt."""
        self.neighbours.add(joules, seconds)
        for doubt in tuple(self._doubts):
            doubt.after.add(joules, seconds)
            if len(doubt.after.seen) >= _NEIGHBOURS:
                self._doubts.remove(doubt)
                self._excess_joules += doubt.excess_joules()

    def doubt(self, joules: float, seconds: float, *, is_plausible_alone: bool) -> None:
        """Take an interval in which the counter fell; its later neighbours will judge it.

        Args:
            joules: What it gave if it was a wrap.
            seconds: How long it was.
            is_plausible_alone: Whether its power settles the matter if there are no neighbours.
        """
        before = Neighbours(self.neighbours.seen.copy())
        self._doubts.append(_Doubt(joules, seconds, is_plausible_alone, before))

    def doubtful_joules(self) -> float:
        """Energy that would be wrong if the decreases in doubt were resets."""
        return self._excess_joules + sum(doubt.excess_joules() for doubt in self._doubts)
