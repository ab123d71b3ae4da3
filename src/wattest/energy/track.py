"""The readings of a counter between the edges: added up, wraps followed, odd ones doubted."""

from __future__ import annotations

from wattest.energy import design
from wattest.energy.stillness import Stillness
from wattest.energy.types import NS, CounterSpec, ReadingError, Reason
from wattest.energy.wraps import Look, WrapJudge

_MAX_GARBLED_IN_A_ROW = 3
_LEAST_GROWTH = 0.5


class CounterReadings:
    """The readings of one counter in one window, added up.

    Attributes:
        samples: Readings that gave a value.
        failed: Readings that gave none, or one that the next reading took back.
        wraps: Times that the counter started again within its range.
        fault: Why the number is refused; None as long as it stands.
        opened_ns: Monotonic time of the opening reading; None without one.
        longest_gap_ns: Longest time between two readings that gave a value.
        max_watts: Highest power over any interval in which it moved.
        last_watts: Power over the last such interval.
    """

    def __init__(self, spec: CounterSpec) -> None:
        self.spec = spec
        self.samples = self.failed = self.wraps = 0
        self.fault: Reason | None = None
        self.opened_ns: int | None = None
        self.longest_gap_ns = 0
        self.max_watts = 0.0
        self.last_watts: float | None = None
        period = spec.period_seconds
        frozen_seconds = max(design.FROZEN_SECONDS, design.FROZEN_PERIODS * (period or 0.0))
        pause_seconds = max(design.PAUSE_SECONDS, design.PAUSE_PERIODS * (period or 0.0))
        self.stillness = Stillness(int(NS * frozen_seconds), int(NS * pause_seconds))
        self._moves = 0
        self._judge = WrapJudge(spec, design.WRAP_RANGE_SHARE)
        self._total = self._value = self._at_ns = 0
        self._suspect: tuple[int, int] | None = None
        self._garbled_in_a_row = 0
        self._dead_since_ns: int | None = None
        self._failure: ReadingError | None = None

    @property
    def joules(self) -> float:
        """Energy since the opening edge, as far as it was followed."""
        return self._total * self.spec.joules_per_count

    @property
    def is_suspicious(self) -> bool:
        """Whether the last reading was odd, so that the next one decides what to make of it."""
        return self._suspect is not None

    @property
    def span_seconds(self) -> float:
        """Time from the opening edge to the last reading."""
        return 0.0 if self.opened_ns is None else (self._at_ns - self.opened_ns) / NS

    @property
    def period_seconds(self) -> float | None:
        """Update period as inferred before the window; else the mean time between movements."""
        if self.spec.period_seconds is not None:
            return self.spec.period_seconds
        return self.span_seconds / self._moves if self._moves else None

    def refuse(self, gate: str, text: str, value: float | None = None) -> None:
        """Refuse the number, unless it already is."""
        if self.fault is None:
            self.fault = Reason(gate, f"{self.spec.label}: {text}", self.spec.domain, value)

    def open(self, at_ns: int, value: int) -> None:
        """Take the reading at the opening edge; called again, forget the one before as garbled."""
        self.failed += self.opened_ns is not None
        self.samples += 1
        self.opened_ns = self._at_ns = self.stillness.moved_ns = at_ns
        self._value = value
        self._total = 0
        self._suspect = self._dead_since_ns = None

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
        if self._suspect is not None:
            self._settle_suspect(self._suspect, at_ns, value)
        self._look_for_missed_wraps(at_ns)
        if self.fault is None:
            self._step(at_ns, value)

    def _settle_suspect(self, suspect: tuple[int, int], at_ns: int, value: int) -> None:
        """Decide about an odd reading by the next one: taken back, or borne out."""
        self._suspect = None
        if not self._goes_on(at_ns, suspect[1], value):
            self._confirm(*suspect)
            return
        self.failed += 1
        self._garbled_in_a_row += 1
        if self._garbled_in_a_row >= _MAX_GARBLED_IN_A_ROW:
            self.refuse("counter_erratic", "the counter jumps to and fro")

    def _goes_on(self, at_ns: int, odd: int, value: int) -> bool:
        """Whether `value` goes on from before the odd reading, which then was garbled.

        It must have grown about as fast as before. Without a before, an odd fall is never forgiven,
        and an odd rise if `value` lies closer to what was before it.
        """
        if value < self._value or self._value <= odd <= value:
            return False
        watts = self._judge.neighbours.least_watts
        if watts is None:
            return odd > self._value and odd - value > value - self._value
        seconds = max(0.0, (at_ns - self.stillness.moved_ns) / NS - self.spec.step_seconds)
        grown_joules = (value - self._value) * self.spec.joules_per_count
        return grown_joules >= _LEAST_GROWTH * watts * seconds

    def _step(self, at_ns: int, value: int) -> None:
        if value == self._value:
            self._at_ns = at_ns
            self.stillness.stand(at_ns)
            return
        joules, seconds = self._interval(at_ns, value)
        fell = value < self._value
        look = Look.ODD if joules is None else self._judge.look(joules, seconds, fell=fell)
        if joules is None or look is Look.ODD:
            self._suspect = (at_ns, value)
            return
        if look is Look.SOUND:
            self._judge.note(joules, seconds)
        else:
            self._judge.doubt(joules, seconds, is_plausible_alone=True)
        self._add(at_ns, value, joules, seconds)

    def _interval(self, at_ns: int, value: int) -> tuple[float | None, float]:
        """Joules (None for a decrease that cannot be a wrap) and seconds since it last moved.

        One update period is added to the time: a reading just after an update holds a whole step.
        """
        seconds = (at_ns - self.stillness.moved_ns) / NS + self.spec.step_seconds
        return self.spec.joules_between(self._value, value), seconds

    def _confirm(self, at_ns: int, value: int) -> None:
        """Act on an odd reading that the next one bore out."""
        unit = self.spec.joules_per_count
        change = f"from {self._value * unit:.3f} J to {value * unit:.3f} J"
        joules, seconds = self._interval(at_ns, value)
        fell = value < self._value
        if joules is None:
            why = "and its range is not known" if self.spec.wraps else "which no counter does"
            self.refuse("counter_reset", f"the counter fell {change}, {why}: reset")
            return
        watts = joules / seconds
        if watts > self.spec.bound_watts(fell=fell):
            gate = "counter_reset" if fell else "counter_jump"
            reset = f"the counter fell {change}; a wrap would mean {watts:.0f} W: reset"
            jump = f"the counter jumped {change}, which would mean {watts:.0f} W"
            self.refuse(gate, reset if fell else jump, watts)
            return
        if fell:
            self._judge.doubt(joules, seconds, is_plausible_alone=False)
        else:
            self._judge.note(joules, seconds)
        self._add(at_ns, value, joules, seconds)

    def _add(self, at_ns: int, value: int, joules: float, seconds: float) -> None:
        counts = value - self._value
        if counts < 0:
            self.wraps += 1
            counts += (self.spec.max_range or 0) + 1
        self._total += counts
        self._moves += 1
        self._garbled_in_a_row = 0
        # Two readings may be closer than two updates: what they differ by then took one period.
        self.last_watts = joules / max(seconds - self.spec.step_seconds, self.spec.step_seconds)
        self.max_watts = max(self.max_watts, self.last_watts)
        self.stillness.move(at_ns, self._at_ns, joules)
        self._at_ns = at_ns
        self._value = value

    def _look_for_missed_wraps(self, at_ns: int) -> None:
        self._refuse_missed_wraps(self._judge.neighbours.watts, (at_ns - self._at_ns) / NS)

    def _refuse_missed_wraps(self, watts: float, seconds: float) -> None:
        if self._judge.may_have_missed_a_wrap(watts, seconds):
            text = f"nothing was seen of it for {seconds:.3f} s at {watts:.0f} W: its range of"
            reach = f"{self.spec.range_joules:.0f} J may have been crossed"
            self.refuse("wrap_missed", f"{text} {reach}", seconds)
