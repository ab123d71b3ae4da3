"""Counters that stand still: for how long, what it cost, and when that means frozen."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from wattest.energy.types import NS

_NEIGHBOURS = 2


@dataclass
class _Pause:
    """A time without movement, and what the counter showed at its end."""

    seconds: float
    joules: float
    before_watts: tuple[float, ...]
    after_watts: list[float] = field(default_factory=list)

    def lost_joules(self) -> float:
        """What is missing, by the power just before and just after; without both, infinite.

        Of two intervals on each side the higher power counts, since a pause may begin within one;
        of the two sides the lower, since the power may have changed meanwhile.
        """
        sides = [max(side) for side in (self.before_watts, self.after_watts) if side]
        return min(sides) * self.seconds - self.joules if sides else float("inf")


class Stillness:
    """When a counter moved and when it did not.

    Args:
        frozen_ns: Time without movement up to the closing edge after which it is frozen.
        pause_ns: Time without movement within the window after which it has paused.

    Attributes:
        moved_ns: When it was last seen to move.
        longest_ns: Longest time for which it was seen not to.
        paused_ns: All the time of pauses.
    """

    __slots__ = (
        "_pauses", "_recent_watts", "frozen_ns", "longest_ns", "moved_ns", "pause_ns", "paused_ns",
    )  # fmt: skip

    def __init__(self, frozen_ns: int, pause_ns: int) -> None:
        self.frozen_ns = frozen_ns
        self.pause_ns = pause_ns
        self.moved_ns = self.longest_ns = self.paused_ns = 0
        self._pauses: list[_Pause] = []
        self._recent_watts: deque[float] = deque(maxlen=_NEIGHBOURS)

    def stand(self, at_ns: int) -> None:
        """Note a reading that showed no movement."""
        self.longest_ns = max(self.longest_ns, at_ns - self.moved_ns)

    def move(self, at_ns: int, last_ns: int, joules: float) -> None:
        """Note a movement.

        Args:
            at_ns: When it was seen.
            last_ns: When the counter was read before.
            joules: By how much it moved.
        """
        seconds = (at_ns - self.moved_ns) / NS
        if last_ns - self.moved_ns >= self.pause_ns:
            self.paused_ns += at_ns - self.moved_ns
            self._pauses.append(_Pause(seconds, joules, tuple(self._recent_watts)))
        elif seconds > 0:
            self._recent_watts.append(joules / seconds)
            for pause in self._pauses[-_NEIGHBOURS:]:
                if len(pause.after_watts) < _NEIGHBOURS:
                    pause.after_watts.append(joules / seconds)
        self.moved_ns = at_ns

    def why_frozen(self, total_joules: float, still_ns: int, loss_percent: float) -> str:
        """Why the counter cannot be believed; empty if it can.

        A pause is forgiven if the counter caught up afterwards.

        Args:
            total_joules: What it gave in the window.
            still_ns: For how long it has not moved by now.
            loss_percent: Energy that its pauses may have lost, of the total.
        """
        self.longest_ns = max(self.longest_ns, still_ns)
        if still_ns >= self.frozen_ns:
            return f"frozen: the counter did not move in {still_ns / NS:.1f} s up to the end"
        lost_joules = sum(max(0.0, pause.lost_joules()) for pause in self._pauses)
        if lost_joules <= total_joules * loss_percent / 100:
            return ""
        seconds = self.paused_ns / NS
        return f"frozen: the counter stood still for {seconds:.1f} s and did not catch up"
