"""Intervals of a counter that only their neighbours can vouch for.

A counter that falls back has wrapped or was reset; one that stood still has caught up or lost
energy. What it did just before and just after tells which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from wattest.energy import design
from wattest.energy.counter import Counter

NEIGHBOURS = 4
"""How many movements on each side of an interval are asked."""
_NEAREST = 2
_POWER_TOLERANCE = 1.5


class Move(NamedTuple):
    """One movement of a counter, a fall being taken for a wrap, since the movement before.

    `longest_seconds` adds the time of one step: a reading just after an update holds a whole one
    more. `watts` is the power over that time, never too high by a step that is seen late.
    """

    counts: int
    joules: float
    seconds: float
    longest_seconds: float
    watts: float


def is_usual(move: Move, before: Sequence[Move]) -> bool:
    """Whether it is like those before; never without enough of them."""
    is_known = len(before) == NEIGHBOURS
    return is_known and move.joules <= _most_joules(before, move.longest_seconds)


def is_odd(move: Move, counter: Counter) -> bool:
    """Whether to believe it only if the next reading bears it out.

    So it is where plausible power crosses too much of the range to tell a wrap from a reset.
    """
    reach, most_joules = counter.range_joules, counter.most_watts * move.longest_seconds
    is_range_small = reach is not None and most_joules > design.WRAP_RANGE_SHARE * reach
    return is_range_small or move.watts > counter.most_watts


def _most_joules(moves: Sequence[Move], seconds: float) -> float:
    """The most that fits `seconds` beside `moves`: half as much power more, and one step."""
    watts = max((move.watts for move in moves), default=0.0)
    step = max((move.joules for move in moves), default=0.0)
    return _POWER_TOLERANCE * watts * seconds + step


@dataclass
class Odd:
    """A pause, or a fall, or both, with the movements just before and just after it."""

    move: Move
    before: tuple[Move, ...]
    is_pause: bool
    is_fall: bool
    after: list[Move] = field(default_factory=list)

    def lost_joules(self) -> float:
        """What is missing of a pause, by the power beside it; without any, infinite.

        Of two movements on each side the higher power counts, since a pause may begin within one;
        of the two sides the lower, since the power may have changed meanwhile.
        """
        if not self.is_pause:
            return 0.0
        nearest = self.before[-_NEAREST:], self.after[:_NEAREST]
        sides = [max(one.joules / one.seconds for one in side) for side in nearest if side]
        lost = min(sides, default=float("inf")) * self.move.seconds - self.move.joules
        return max(0.0, lost)

    def excess_joules(self) -> float:
        """What a wrap would give beyond anything that its neighbours allow."""
        if not self.is_fall:
            return 0.0
        sides = (self.before, self.after)
        most = max(_most_joules(side, self.move.longest_seconds) for side in sides)
        return max(0.0, self.move.joules - most)
