"""Counters that stand still: for how long, what it cost, and when that means frozen."""

from __future__ import annotations

from wattest.energy.base import NS


class Stillness:
    """When a counter moved and when it did not.

    Args:
        frozen_ns: Time without movement after which it is frozen.

    Attributes:
        moved_ns: When it was last seen to move.
        longest_ns: Longest time for which it was seen not to.
        paused_ns: All the time of pauses that were long enough to be frozen but ended.
    """

    __slots__ = ("_pause_joules", "frozen_ns", "longest_ns", "moved_ns", "paused_ns")

    def __init__(self, frozen_ns: int) -> None:
        self.frozen_ns = frozen_ns
        self.moved_ns = self.longest_ns = self.paused_ns = 0
        self._pause_joules = 0.0

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
        if last_ns - self.moved_ns >= self.frozen_ns:
            self.paused_ns += at_ns - self.moved_ns
            self._pause_joules += joules
        self.moved_ns = at_ns

    def why_frozen(
        self, total_joules: float, window_seconds: float, still_ns: int, loss_percent: float
    ) -> str:
        """Why the counter cannot be believed; empty if it can.

        A pause is forgiven if the counter caught up afterwards, judged by its power at other times.

        Args:
            total_joules: What it gave in the window.
            window_seconds: Length of the window.
            still_ns: For how long it has not moved by now.
            loss_percent: Energy that its pauses may have lost.
        """
        self.longest_ns = max(self.longest_ns, still_ns)
        if still_ns >= self.frozen_ns:
            return f"frozen: the counter did not move in {still_ns / NS:.1f} s up to the end"
        paused_seconds = self.paused_ns / NS
        lively_seconds = window_seconds - paused_seconds
        if not self.paused_ns or lively_seconds <= 0:
            return ""
        usual_watts = (total_joules - self._pause_joules) / lively_seconds
        lost_joules = usual_watts * paused_seconds - self._pause_joules
        if lost_joules <= total_joules * loss_percent / 100:
            return ""
        return f"frozen: the counter stood still for {paused_seconds:.1f} s and did not catch up"
