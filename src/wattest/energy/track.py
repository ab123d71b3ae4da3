"""One counter in one window: added up, wraps followed, odd readings doubted, faults named.

Differences between readings are added up, so that nothing which falls between two of them is lost.
A failed reading never becomes a value, and what cannot be decided is refused, with a reason.
"""

from __future__ import annotations

from collections import deque

from wattest.energy import design
from wattest.energy.counter import Counter
from wattest.energy.gates import edge_slack
from wattest.energy.neighbours import NEIGHBOURS, Move, Odd, is_odd, is_usual
from wattest.energy.types import NS, ReadingError, Reason

_MAX_GARBLED_IN_A_ROW = 3
_LEAST_GROWTH = 0.5
_USUAL_PERIODS = 3


class CounterTrack:
    """What one counter did in one window.

    Attributes:
        samples: Readings that gave a value; those that `failed` gave none, or one that the next
            reading took back.
        fault: Why the number is refused; None as long as it stands.
        limit_watts: The highest power limit that was stated, which a daemon may change meanwhile.
        opened_ns: Monotonic time of the opening reading; None without one.
        longest_gap_ns: Longest time between two readings; in `longest_still_ns` it did not move.
        max_watts: Highest power over any movement; `last_watts` is that over the last one.
    """

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.samples = self.failed = self.wraps = 0
        self.fault: Reason | None = None
        self.flags: list[Reason] = []
        self.opened_ns: int | None = None
        self.longest_gap_ns = self.longest_still_ns = 0
        self.limit_watts: float | None = None
        self.max_watts = 0.0
        self.last_watts: float | None = None
        self.frozen_ns = counter.still_ns(design.FROZEN_SECONDS, design.FROZEN_PERIODS)
        self._pause_ns = counter.still_ns(design.PAUSE_SECONDS, design.PAUSE_PERIODS)
        self._step_seconds = counter.step_seconds
        self._total = self._moves = self._value = 0
        self._at_ns = self._moved_ns = 0
        self._suspect: tuple[int, int] | None = None
        self._garbled_in_a_row = 0
        self._dead_since_ns: int | None = None
        self._failure: ReadingError | None = None
        self._watched_ns: int | None = None
        self._edge_slack_ns = 0
        self._paused_seconds = 0.0
        self._usual: deque[Move] = deque(maxlen=NEIGHBOURS)
        self._odd: list[Odd] = []

    @property
    def joules(self) -> float:
        """Energy since the opening edge, as far as it was followed."""
        return self._total * self.counter.joules_per_count

    @property
    def span_seconds(self) -> float:
        """Time from the opening edge to the last reading."""
        return 0.0 if self.opened_ns is None else (self._at_ns - self.opened_ns) / NS

    @property
    def period_seconds(self) -> float | None:
        """Update period as inferred before the window; else the mean time between movements."""
        if self.counter.period_seconds is not None:
            return self.counter.period_seconds
        return self.span_seconds / self._moves if self._moves else None

    def read_limit(self) -> None:
        """Ask for the power limit again."""
        found = self.limit_watts, self.counter.limit_watts
        self.limit_watts = max((watts for watts in found if watts), default=None)

    def refuse(self, gate: str, text: str, value: float | None = None) -> None:
        """Refuse the number, unless it already is."""
        if self.fault is None:
            text = f"{self.counter.label}: {text}"
            self.fault = Reason(gate, text, self.counter.domain, value)

    def open(self, at_ns: int, value: int) -> bool:
        """Take the reading at the opening edge; called again, forget the one before as garbled."""
        self.failed += self.opened_ns is not None
        self.samples += 1
        self.opened_ns = self._at_ns = self._moved_ns = at_ns
        self._value = value
        self._total = 0
        self._suspect = self._dead_since_ns = None
        return True

    def agree(self, at_ns: int, value: int) -> bool:
        """Take the reading after the opening one; if the two disagree, it is the opening one."""
        agrees = self.read(at_ns, value)
        if not agrees:
            self.open(at_ns, value)
        return agrees

    def fail(self, at_ns: int, error: ReadingError) -> None:
        """Count a reading that gave no value."""
        self.failed += 1
        self._failure = error
        if self._dead_since_ns is None:
            self._dead_since_ns = at_ns

    def read(self, at_ns: int, value: int) -> bool:
        """Take a reading of `value` counts at `at_ns`; false if only the next can bear it out."""
        self.samples += 1
        self._dead_since_ns = None
        if self.fault is not None or self.opened_ns is None:
            return True
        self.longest_gap_ns = max(self.longest_gap_ns, at_ns - self._at_ns)
        if self._suspect is not None:
            self._settle_suspect(self._suspect, at_ns, value)
        watts = max((move.watts for move in self._usual), default=0.0)
        self._refuse_missed_wraps(watts, (at_ns - self._at_ns) / NS)
        if self.fault is None:
            self._step(at_ns, value)
        return self._suspect is None

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
        if not self._usual:
            return odd > self._value and odd - value > value - self._value
        watts = min(move.watts for move in self._usual)
        seconds = max(0.0, (at_ns - self._moved_ns) / NS - self._step_seconds)
        grown_joules = (value - self._value) * self.counter.joules_per_count
        return grown_joules >= _LEAST_GROWTH * watts * seconds

    def _step(self, at_ns: int, value: int) -> None:
        """Add a reading up, or keep it for the next one to judge."""
        if value == self._value:
            self._at_ns = at_ns
            self.longest_still_ns = max(self.longest_still_ns, at_ns - self._moved_ns)
            return
        move = self._move_to(at_ns, value)
        if move is not None and is_usual(move, self._usual):
            self._add(at_ns, value, move, is_doubtful=False)
        elif move is None or is_odd(move, self.counter):
            self._suspect = (at_ns, value)
        else:
            self._add(at_ns, value, move, is_doubtful=value < self._value)

    def _move_to(self, at_ns: int, value: int) -> Move | None:
        """The movement to another value; None for a decrease that cannot be a wrap."""
        counts, top = value - self._value, self.counter.max_range
        if counts < 0:
            if top is None or self._value > top:
                return None
            counts += top + 1
        joules = counts * self.counter.joules_per_count
        seconds = max(1, at_ns - self._moved_ns) / NS
        longest_seconds = seconds + self._step_seconds
        return Move(counts, joules, seconds, longest_seconds, joules / longest_seconds)

    def _confirm(self, at_ns: int, value: int) -> None:
        """Act on an odd reading that the next one bore out."""
        unit, fell = self.counter.joules_per_count, value < self._value
        change = f"from {self._value * unit:.3f} J to {value * unit:.3f} J"
        move = self._move_to(at_ns, value)
        if move is None:
            why = "which no counter does"
            if self.counter.wraps:
                is_known = self.counter.max_range is not None
                why = f"and its range is {'less than it had' if is_known else 'not known'}"
            self.refuse("counter_reset", f"the counter fell {change}, {why}: reset")
        elif move.watts <= self.counter.most_watts:
            self._add(at_ns, value, move, is_doubtful=fell)
        elif fell:
            text = f"the counter fell {change}; a wrap would mean {move.watts:.0f} W: reset"
            self.refuse("counter_reset", text, move.watts)
        else:
            text = f"the counter jumped {change}, which would mean {move.watts:.0f} W"
            self.refuse("counter_jump", text, move.watts)

    def _add(self, at_ns: int, value: int, move: Move, *, is_doubtful: bool) -> None:
        """Add a movement; one that is beyond doubt vouches for others."""
        is_pause = self._at_ns - self._moved_ns >= self._pause_ns
        self._paused_seconds += move.seconds if is_pause else 0.0
        if is_pause or is_doubtful:
            self._odd.append(Odd(move, tuple(self._usual), is_pause, is_doubtful))
        else:
            self._usual.append(move)
            for odd in self._odd[-NEIGHBOURS:]:
                odd.after += [move] if len(odd.after) < NEIGHBOURS else []
        # Two readings may be closer than two updates: what they differ by then took one period.
        self.last_watts = move.joules / max(move.seconds, self._step_seconds)
        self.max_watts = max(self.max_watts, self.last_watts)
        self._total += move.counts
        self.wraps += value < self._value
        self._moves += 1
        self._garbled_in_a_row = 0
        self._at_ns = self._moved_ns = at_ns
        self._value = value

    def _refuse_missed_wraps(self, watts: float, seconds: float) -> None:
        """Refuse it if twice that power could have crossed the whole range unseen."""
        reach = self.counter.range_joules
        if reach is not None and 2 * watts * seconds >= reach:
            text = f"nothing was seen of it for {seconds:.3f} s at {watts:.0f} W: its range of"
            self.refuse("wrap_missed", f"{text} {reach:.0f} J may have been crossed", seconds)

    def is_watchable(self) -> bool:
        """Whether a reading after the closing edge can still tell something."""
        is_dead = self.opened_ns is None or self._dead_since_ns is not None
        return not is_dead and self.fault is None and self._suspect is None

    def watch(self, at_ns: int, value: int | None) -> bool:
        """See after the closing edge whether the counter still moves; true once that is known."""
        seen_still_ns = (self._watched_ns or 0) - self._moved_ns
        self._watched_ns = at_ns
        if value is None or value == self._value:
            return at_ns - self._moved_ns >= self.frozen_ns
        move = self._move_to(at_ns, value)
        if move is None or move.watts > self.counter.most_watts:
            text = "the counter shows after the closing edge that it was reset or garbled there"
            self.refuse("counter_reset", text)
        if seen_still_ns > _USUAL_PERIODS * NS * self._step_seconds:
            self._edge_slack_ns += seen_still_ns
        self._watched_ns = self._moved_ns
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
        doubtful_joules = sum(odd.excess_joules() for odd in self._odd)
        if doubtful_joules > self.joules * design.WRAP_DOUBT_PERCENT / 100:
            text = "the counter fell back and may have wrapped or been reset; in doubt are"
            self.refuse("counter_reset", f"{text} {doubtful_joules:.3f} J", doubtful_joules)
        self._settle_stillness(edge_ns)
        unseen_ns = max(self.longest_gap_ns, self.longest_still_ns)
        self._refuse_missed_wraps(self.max_watts, unseen_ns / NS)

    def _settle_stillness(self, edge_ns: int) -> None:
        """Refuse a counter that is frozen, or that paused and did not catch up; flag all pauses."""
        if seconds := self._paused_seconds:
            text = f"{self.counter.label}: the counter stood still for {seconds:.1f} s in all"
            self.flags.append(Reason("counter_paused", text, self.counter.domain, seconds))
        watched_ns = edge_ns if self._watched_ns is None else self._watched_ns
        still_ns = watched_ns - self._moved_ns
        self.longest_still_ns = max(self.longest_still_ns, still_ns)
        lost_joules = sum(odd.lost_joules() for odd in self._odd)
        how = ""
        if still_ns >= self.frozen_ns:
            how = f"did not move in {still_ns / NS:.1f} s up to the end"
        elif lost_joules > self.joules * design.FROZEN_LOSS_PERCENT / 100:
            how = f"stood still for {self._paused_seconds:.1f} s and did not catch up"
        if how:
            self.refuse("counter_frozen", f"frozen: the counter {how}", self.longest_still_ns / NS)
        elif self._total == 0:
            self.refuse("window_short", "the counter did not move within the window")

    def add_edge_delay(self, opened_ns: int, ended_ns: int) -> None:
        """Judge how far the edge readings lie outside what they stand for, from open to end."""
        if self.opened_ns is not None:
            self._edge_slack_ns += max(0, opened_ns - self.opened_ns)
            self._edge_slack_ns += max(0, self._at_ns - ended_ns)
        slack_seconds, seconds = self._edge_slack_ns / NS, (ended_ns - opened_ns) / NS
        fault, flag = edge_slack(self.counter.domain, self.counter.label, slack_seconds, seconds)
        self.fault = self.fault or fault
        self.flags += [flag] if flag else []

    def edge_joules(self, power_watts: float = 0.0) -> float:
        """How far the edges may be off: one step of the counter, and the delay of the readings.

        `power_watts` is the highest power seen by other means, if that is known.
        """
        step_seconds = max(self._step_seconds, self.period_seconds or 0.0)
        seconds = step_seconds + self._edge_slack_ns / NS
        return max(self.max_watts, power_watts) * seconds + self.counter.joules_per_count
