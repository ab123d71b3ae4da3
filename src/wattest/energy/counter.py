"""Energy from a hardware counter: differences, wraps, resets, and everything that can go wrong.

A `CounterTrack` follows one counter through one window. It adds up differences between readings, so
nothing that falls between two of them is lost; it never turns a failed reading into a value; and
what it cannot decide it refuses, with a reason.
"""

from __future__ import annotations

from wattest.energy.base import NS, CounterSpec, ReadingError, Reason
from wattest.energy.thresholds import Thresholds
from wattest.energy.wraps import Doubt, Neighbours

_MAX_GARBLED_IN_A_ROW = 3


class CounterTrack:
    """One counter in one window.

    Attributes:
        samples: Readings that gave a value.
        failed: Readings that gave none, or one that the next reading took back.
        wraps: Times that the counter started again within its range.
        fault: Why the number is refused; None as long as it stands.
        longest_gap_ns: Longest time between two readings that gave a value.
        longest_flat_ns: Longest time for which the counter was seen not to move.
        max_watts: Highest power over any interval in which it moved.
        last_watts: Power over the last such interval.
        edge_slack_ns: Time by which the edge readings missed their edges.
    """

    def __init__(self, spec: CounterSpec, thresholds: Thresholds) -> None:
        self.spec = spec
        self.samples = self.failed = self.wraps = 0
        self.fault: Reason | None = None
        self.longest_gap_ns = self.longest_flat_ns = 0
        self.max_watts = 0.0
        self.last_watts: float | None = None
        self.edge_slack_ns = 0
        self.opened_ns: int | None = None
        self._thresholds = thresholds
        self._total = 0
        self._at_ns = self._moved_ns = self._value = 0
        self._suspect: tuple[int, int] | None = None
        self._garbled_in_a_row = 0
        self._neighbours = Neighbours()
        self._doubts: list[Doubt] = []
        self._doubtful_joules = 0.0
        self._pause_ns = 0
        self._pause_joules = 0.0
        self._dead_since_ns: int | None = None
        self._failure: ReadingError | None = None
        self._watched_ns: int | None = None
        period = spec.period_seconds
        self._hold_seconds = thresholds.probe_seconds if period is None else period
        self.frozen_ns = int(
            NS * max(thresholds.frozen_seconds, thresholds.frozen_periods * (period or 0.0))
        )

    @property
    def joules(self) -> float:
        """Energy since the opening edge, as far as it was followed."""
        return self._total * self.spec.joules_per_count

    @property
    def suspicious(self) -> bool:
        """Whether the last reading was odd, so that the next one decides what to make of it."""
        return self._suspect is not None

    @property
    def span_seconds(self) -> float:
        """Time from the opening edge to the last reading."""
        return 0.0 if self.opened_ns is None else (self._at_ns - self.opened_ns) / NS

    def flat_ns(self, at_ns: int) -> int:
        """For how long, at `at_ns`, the counter has not moved."""
        return at_ns - self._moved_ns

    def needs_watching(self, edge_ns: int) -> bool:
        """Whether it stands still at the closing edge, too briefly to be called frozen."""
        flat_ns = edge_ns - self._moved_ns
        if self.fault is not None or self.opened_ns is None or self._dead_since_ns is not None:
            return False
        usual_ns = 3 * NS * (self.spec.period_seconds or 0.02)
        return 0 < flat_ns < self.frozen_ns and (self._total == 0 or flat_ns > usual_ns)

    def watch(self, edge_ns: int, at_ns: int, value: int | None) -> bool:
        """See after the closing edge whether a still counter moves; true once that is known.

        Args:
            edge_ns: The closing edge.
            at_ns: Now.
            value: What it shows now; None if it could not be read.
        """
        if value is not None and value != self._value:
            self.edge_slack_ns += edge_ns - self._moved_ns
            return True
        self._watched_ns = at_ns
        return at_ns - self._moved_ns >= self.frozen_ns

    def refuse(self, gate: str, text: str, value: float | None = None) -> None:
        """Refuse the number, unless it already is."""
        if self.fault is None:
            self.fault = Reason(gate, f"{self.spec.label}: {text}", self.spec.domain, value)

    def open(self, at_ns: int, value: int) -> None:
        """Take the reading at the opening edge."""
        self.samples += 1
        self.opened_ns = self._at_ns = self._moved_ns = at_ns
        self._value = value
        self._dead_since_ns = None

    def fail(self, at_ns: int, error: ReadingError) -> None:
        """Count a reading that gave no value."""
        self.failed += 1
        self._failure = error
        if self._dead_since_ns is None:
            self._dead_since_ns = at_ns

    def read(self, at_ns: int, value: int) -> None:
        """Take a reading of `value` counts at `at_ns`."""
        self.samples += 1
        self._dead_since_ns = None
        if self.fault is not None or self.opened_ns is None:
            return
        self.longest_gap_ns = max(self.longest_gap_ns, at_ns - self._at_ns)
        suspect = self._suspect
        if suspect is not None and not self._judge(suspect, value):
            return
        self._step(at_ns, value)

    def _judge(self, suspect: tuple[int, int], value: int) -> bool:
        """Decide about an odd reading by the next one; false if that ends the track."""
        self._suspect = None
        if abs(value - suspect[1]) > abs(value - self._value):
            self.failed += 1
            self._garbled_in_a_row += 1
            if self._garbled_in_a_row >= _MAX_GARBLED_IN_A_ROW:
                self.refuse("counter_erratic", "the counter jumps to and fro")
        else:
            self._confirm(*suspect)
        return self.fault is None

    def _step(self, at_ns: int, value: int) -> None:
        self._look_for_missed_wraps(at_ns)
        if self.fault is not None:
            return
        if value == self._value:
            self._at_ns = at_ns
            self.longest_flat_ns = max(self.longest_flat_ns, at_ns - self._moved_ns)
            return
        joules, seconds = self._interval(at_ns, value)
        if joules is None or not self._is_plausible(joules, seconds, value < self._value):
            self._suspect = (at_ns, value)
            return
        self._garbled_in_a_row = 0
        self._accept(at_ns, value, joules, seconds)

    def _interval(self, at_ns: int, value: int) -> tuple[float | None, float]:
        """Joules (None for a decrease that cannot be a wrap) and seconds since it last moved.

        One update period is added to the time: a reading just after an update holds a whole step.
        """
        counts = value - self._value
        seconds = (at_ns - self._moved_ns) / NS + self._hold_seconds
        if counts < 0:
            top = self.spec.max_range
            if not self.spec.wraps or top is None or self._value > top:
                return None, seconds
            counts += top + 1
        return counts * self.spec.joules_per_count, seconds

    def _is_plausible(self, joules: float, seconds: float, fell: bool) -> bool:
        spec = self.spec
        watts = joules / seconds
        if self._is_range_small(seconds):
            if fell or self._neighbours.enough:
                return self._neighbours.allow(joules, seconds)
            return watts <= spec.jump_watts
        if fell:
            return watts <= spec.wrap_watts or self._neighbours.allow(joules, seconds)
        return watts <= spec.jump_watts

    def _is_range_small(self, seconds: float) -> bool:
        """Whether plausible power crosses too much of the range to tell a wrap from a reset."""
        reach = self.spec.range_joules
        if reach is None:
            return False
        return self.spec.wrap_watts * seconds > self._thresholds.wrap_range_share * reach

    def _confirm(self, at_ns: int, value: int) -> None:
        """Act on an odd reading that the next one bore out."""
        unit = self.spec.joules_per_count
        before, after = f"{self._value * unit:.3f} J", f"{value * unit:.3f} J"
        joules, seconds = self._interval(at_ns, value)
        if joules is None:
            why = "and its range is not known" if self.spec.wraps else "which no counter does"
            self.refuse("counter_reset", f"the counter fell from {before} to {after}, {why}: reset")
            return
        watts = joules / seconds
        if value < self._value:
            if watts > self.spec.wrap_watts:
                text = f"the counter fell from {before} to {after}; a wrap would mean {watts:.0f} W"
                self.refuse("counter_reset", f"{text}: reset", watts)
                return
            self._doubts.append(Doubt(joules, seconds, Neighbours(self._neighbours)))
        elif watts > self.spec.jump_watts:
            text = f"the counter jumped from {before} to {after}, which would mean {watts:.0f} W"
            self.refuse("counter_jump", text, watts)
            return
        self._accept(at_ns, value, joules, seconds, doubtful=value < self._value)

    def _accept(
        self, at_ns: int, value: int, joules: float, seconds: float, *, doubtful: bool = False
    ) -> None:
        counts = value - self._value
        if counts < 0:
            self.wraps += 1
            counts += (self.spec.max_range or 0) + 1
        self._total += counts
        if self._at_ns - self._moved_ns >= self.frozen_ns:
            self._pause_ns += at_ns - self._moved_ns
            self._pause_joules += joules
        self.last_watts = joules / max((at_ns - self._moved_ns) / NS, 1e-9)
        self.max_watts = max(self.max_watts, joules / seconds)
        self._at_ns = self._moved_ns = at_ns
        self._value = value
        if not doubtful:
            self._note_neighbour(joules, seconds)

    def _note_neighbour(self, joules: float, seconds: float) -> None:
        self._neighbours.add(joules, seconds)
        settled = [doubt for doubt in self._doubts if doubt.add_later(joules, seconds)]
        for doubt in settled:
            self._doubtful_joules += doubt.excess_joules()
            self._doubts.remove(doubt)

    def _look_for_missed_wraps(self, at_ns: int) -> None:
        reach = self.spec.range_joules
        gap_seconds = (at_ns - self._at_ns) / NS
        watts = self._neighbours.watts
        if reach is not None and 2 * watts * gap_seconds >= reach:
            text = (
                f"no reading for {gap_seconds:.3f} s at {watts:.0f} W: the range of {reach:.0f} J"
            )
            self.refuse("wrap_missed", f"{text} may have been crossed unseen", gap_seconds)

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
        self._judge_doubts()
        self._judge_pauses(edge_ns, (self._watched_ns or edge_ns) - self._moved_ns)
        if self._total == 0:
            self.refuse("window_short", "the counter did not move within the window")

    def _judge_doubts(self) -> None:
        self._doubtful_joules += sum(doubt.excess_joules() for doubt in self._doubts)
        self._doubts.clear()
        if self._doubtful_joules > self.joules * self._thresholds.wrap_doubt_percent / 100:
            text = "the counter fell back and may have wrapped or been reset; in doubt are"
            self.refuse("counter_reset", f"{text} {self._doubtful_joules:.3f} J")

    def _judge_pauses(self, edge_ns: int, flat_ns: int) -> None:
        self.longest_flat_ns = max(self.longest_flat_ns, flat_ns)
        if flat_ns >= self.frozen_ns:
            text = f"frozen: the counter did not move in {flat_ns / NS:.1f} s up to the end"
            self.refuse("counter_frozen", text, flat_ns / NS)
            return
        if not self._pause_ns or self.opened_ns is None:
            return
        seconds = self._pause_ns / NS
        lively_seconds = (edge_ns - self.opened_ns) / NS - seconds
        lively_joules = self.joules - self._pause_joules
        if lively_seconds <= 0:
            return
        lost = lively_joules / lively_seconds * seconds - self._pause_joules
        if abs(lost) > self.joules * self._thresholds.frozen_loss_percent / 100:
            text = (
                f"frozen: the counter stood still for {seconds:.1f} s in all and did not catch up"
            )
            self.refuse("counter_frozen", text, seconds)

    def flags(self) -> tuple[Reason, ...]:
        """What the reader must know although the number stands."""
        if not self._pause_ns:
            return ()
        text = f"{self.spec.label}: the counter stood still for {self._pause_ns / NS:.1f} s in all"
        return (Reason("counter_paused", text, self.spec.domain, self._pause_ns / NS),)

    def add_edge_delay(self, opened_ns: int, ended_ns: int) -> None:
        """Note how far the edge readings lie outside the window that they stand for.

        Args:
            opened_ns: When the window was open, after every source had been read.
            ended_ns: When what was measured ended.
        """
        if self.opened_ns is not None:
            self.edge_slack_ns += max(0, opened_ns - self.opened_ns)
            self.edge_slack_ns += max(0, self._at_ns - ended_ns)

    def edge_joules(self, power_watts: float = 0.0) -> float:
        """How far the edges may be off: one step of the counter, and the delay of the readings.

        Args:
            power_watts: The highest power seen by other means, if that is known.
        """
        seconds = self._hold_seconds + self.edge_slack_ns / NS
        return max(self.max_watts, power_watts) * seconds + self.spec.joules_per_count
