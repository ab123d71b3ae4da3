"""Energy from a hardware counter: differences, wraps, resets, and everything that can go wrong.

A `CounterTrack` follows one counter through one window. It adds up differences between readings, so
nothing that falls between two of them is lost; it never turns a failed reading into a value; and
what it cannot decide it refuses, with a reason.
"""

from __future__ import annotations

from wattest.energy import design
from wattest.energy.track import CounterReadings
from wattest.energy.types import NS, CounterSpec, Reason

_USUAL_PERIODS = 3


class CounterTrack(CounterReadings):
    """One counter in one window, with what is known at its edges.

    Attributes:
        edge_slack_ns: Time by which the edge readings missed their edges.
    """

    def __init__(self, spec: CounterSpec) -> None:
        super().__init__(spec)
        self.edge_slack_ns = 0
        self._slack_percent = 0.0
        self._watched_ns: int | None = None

    def is_watchable(self) -> bool:
        """Whether a reading after the closing edge can still tell something."""
        is_dead = self.opened_ns is None or self._dead_since_ns is not None
        return not is_dead and self.fault is None and self._suspect is None

    def watch(self, at_ns: int, value: int | None) -> bool:
        """See after the closing edge whether the counter still moves; true once that is known.

        Args:
            at_ns: Now.
            value: What it shows now; None if it could not be read.
        """
        seen_still_ns = (self._watched_ns or 0) - self.stillness.moved_ns
        self._watched_ns = at_ns
        if value is None or value == self._value:
            return at_ns - self.stillness.moved_ns >= self.stillness.frozen_ns
        joules, seconds = self._interval(at_ns, value)
        if joules is None or joules / seconds > self.spec.bound_watts(fell=value < self._value):
            text = "the counter shows after the closing edge that it was reset or garbled there"
            self.refuse("counter_reset", text)
        if seen_still_ns > _USUAL_PERIODS * NS * self.spec.step_seconds:
            self.edge_slack_ns += seen_still_ns
        self._watched_ns = self.stillness.moved_ns
        return True

    def settle(self, edge_ns: int) -> None:
        """Decide what is still open at the closing edge."""
        gate = self._failure.gate if self._failure else "no_value"
        if self.opened_ns is None:
            self.refuse(gate, f"no reading at the opening edge: {self._failure}")
            return
        if self._dead_since_ns is not None:
            lost_seconds = (edge_ns - self._dead_since_ns) / NS
            text = f"no reading at the closing edge; lost {lost_seconds:.1f} s before the end"
            self.refuse(gate, f"{text}: {self._failure}", lost_seconds)
            return
        if self._suspect is not None and self.fault is None:
            self._confirm(*self._suspect)
        doubtful_joules = self._judge.doubtful_joules()
        if doubtful_joules > self.joules * design.WRAP_DOUBT_PERCENT / 100:
            text = "the counter fell back and may have wrapped or been reset; in doubt are"
            self.refuse("counter_reset", f"{text} {doubtful_joules:.3f} J", doubtful_joules)
        self._settle_stillness(edge_ns)
        unseen_ns = max(self.longest_gap_ns, self.stillness.longest_ns)
        self._refuse_missed_wraps(self.max_watts, unseen_ns / NS)

    def _settle_stillness(self, edge_ns: int) -> None:
        watched_ns = edge_ns if self._watched_ns is None else self._watched_ns
        still_ns = watched_ns - self.stillness.moved_ns
        loss_percent = design.FROZEN_LOSS_PERCENT
        why = self.stillness.why_frozen(self.joules, still_ns, loss_percent)
        if why:
            self.refuse("counter_frozen", why, self.stillness.longest_ns / NS)
        elif self._total == 0:
            self.refuse("window_short", "the counter did not move within the window")

    def flags(self) -> tuple[Reason, ...]:
        """What the reader must know although the number stands."""
        found = []
        if paused_seconds := self.stillness.paused_ns / NS:
            text = f"{self.spec.label}: the counter stood still for {paused_seconds:.1f} s in all"
            found.append(Reason("counter_paused", text, self.spec.domain, paused_seconds))
        least = design.EDGE_SLACK_FLAG_PERCENT
        if least < self._slack_percent <= design.EDGE_SLACK_INVALID_PERCENT:
            text = f"{self.spec.label}: {self._slack_text()}"
            found.append(Reason("edge_slack", text, self.spec.domain, self._slack_percent, least))
        return tuple(found)

    def add_edge_delay(self, opened_ns: int, ended_ns: int) -> None:
        """Note how far the edge readings lie outside the window that they stand for.

        Args:
            opened_ns: When the window was open, after every source had been read.
            ended_ns: When what was measured ended.
        """
        if self.opened_ns is not None:
            self.edge_slack_ns += max(0, opened_ns - self.opened_ns)
            self.edge_slack_ns += max(0, self._at_ns - ended_ns)
        self._slack_percent = 100 * self.edge_slack_ns / max(1, ended_ns - opened_ns)
        if self._slack_percent > design.EDGE_SLACK_INVALID_PERCENT:
            self.refuse("edge_slack", self._slack_text(), self._slack_percent)

    def _slack_text(self) -> str:
        missed = f"{self.edge_slack_ns / NS:.3f} s, {self._slack_percent:.1f} % of the window"
        return f"the readings at its edges missed them by {missed}"

    def edge_joules(self, power_watts: float = 0.0) -> float:
        """How far the edges may be off: one step of the counter, and the delay of the readings.

        Args:
            power_watts: The highest power seen by other means, if that is known.
        """
        step_seconds = self.spec.step_seconds
        if self.spec.period_seconds is None:
            step_seconds = max(step_seconds, self.period_seconds or 0.0)
        seconds = step_seconds + self.edge_slack_ns / NS
        return max(self.max_watts, power_watts) * seconds + self.spec.joules_per_count
