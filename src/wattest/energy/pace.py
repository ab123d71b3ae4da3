"""How a counter moves, which tells what to make of an interval that is not like the others.

A counter that falls back has wrapped or was reset; one that stood still has caught up or lost
energy. What it did just before and just after tells which.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_NEIGHBOURS = 4
_NEAREST = 2
_POWER_TOLERANCE = 1.5


class Move(NamedTuple):
    """One movement of a counter, a fall being taken for a wrap, since the movement before.

    Attributes:
        longest_seconds: Its time and that of one step: a reading just after an update holds a whole
            one more.
        watts: Its power over that time, never too high by a step that is seen late.
    """

    counts: int
    joules: float
    seconds: float
    longest_seconds: float
    watts: float


@dataclass
class _Odd:
    """A pause or a fall, with the movements just before and just after it."""

    move: Move
    before: tuple[Move, ...]
    after: list[Move] = field(default_factory=list)

    def lost_joules(self) -> float:
        """What is missing of a pause, by the power beside it; without any, infinite.

        Of two movements on each side the higher power counts, since a pause may begin within one;
        of the two sides the lower, since the power may have changed meanwhile.
        """
        nearest = self.before[-_NEAREST:], self.after[:_NEAREST]
        sides = [max(one.joules / one.seconds for one in side) for side in nearest if side]
        lost = min(sides, default=float("inf")) * self.move.seconds - self.move.joules
        return max(0.0, lost)

    def excess_joules(self) -> float:
        """What the wrap would give beyond anything that its neighbours allow."""
        sides = (self.before, self.after)
        most = max(_most_joules(side, self.move.longest_seconds) for side in sides)
        return max(0.0, self.move.joules - most)


def _most_joules(moves: Sequence[Move], seconds: float) -> float:
    """The most that fits `seconds` beside `moves`: half as much power more, and one step."""
    watts = max((move.watts for move in moves), default=0.0)
    step = max((move.joules for move in moves), default=0.0)
    return _POWER_TOLERANCE * watts * seconds + step


class Pace:
    """How one counter moved in one window, and the energy that its odd intervals put in doubt."""

    def __init__(self) -> None:
        self._usual: deque[Move] = deque(maxlen=_NEIGHBOURS)
        self._pauses: list[_Odd] = []
        self._falls: list[_Odd] = []

    @property
    def watts(self) -> list[float]:
        """Power over the last movements that were beyond doubt."""
        return [move.watts for move in self._usual]

    def is_usual(self, move: Move) -> bool:
        """Whether it is like what was before; never without enough of that."""
        is_known = len(self._usual) == _NEIGHBOURS
        return is_known and move.joules <= _most_joules(self._usual, move.longest_seconds)

    def note(self, move: Move) -> None:
        """Take a movement beyond doubt, which also tells of the odd ones before it."""
        self._usual.append(move)
        for odd_ones in (self._pauses, self._falls):
            for odd in reversed(odd_ones):
                if len(odd.after) == _NEIGHBOURS:
                    break
                odd.after.append(move)

    def note_pause(self, move: Move) -> None:
        """Take the movement that ended a pause."""
        self._pauses.append(_Odd(move, tuple(self._usual)))

    def note_fall(self, move: Move) -> None:
        """Take what was a wrap or a reset."""
        self._falls.append(_Odd(move, tuple(self._usual)))

    def lost_joules(self) -> float:
        """What its pauses may have lost."""
        return sum(pause.lost_joules() for pause in self._pauses)

    def excess_joules(self) -> float:
        """What would be wrong if the falls in doubt were resets."""
        return sum(fall.excess_joules() for fall in self._falls)
