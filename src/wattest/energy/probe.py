"""The probe: how often, and in what steps, each counter moves."""

from __future__ import annotations

import time
from collections.abc import Sequence

from wattest.energy.counter import Counter
from wattest.energy.types import NS, ReadingError

_ENOUGH_SPANS = 5
_PAUSE_SECONDS = 0.001


def probe(counters: Sequence[Counter], seconds: float, slow_seconds: float) -> None:
    """Watch all counters together until each has changed a few times; their `seen` takes it in.

    May be called again for longer: what was seen before counts.

    Args:
        counters: What to watch.
        seconds: For how long at most, counted from the first call.
        slow_seconds: The same for one that has changed less than twice by then.
    """
    rest = [_Watch(counter) for counter in counters]
    while rest := [one for one in rest if not one.is_enough(seconds, slow_seconds)]:
        for one in rest:
            one.look()
        time.sleep(_PAUSE_SECONDS)


class _Watch:
    """One counter while it is watched without interruption."""

    def __init__(self, counter: Counter) -> None:
        self._read, self._seen = counter.read, counter.seen
        self._began_ns = time.monotonic_ns() - int(counter.seen.seconds * NS)
        self._changed_ns: int | None = None
        self._value: int | None = None

    def is_enough(self, seconds: float, slow_seconds: float) -> bool:
        """Whether its period is known, or was waited for; one that stands at 0 has none."""
        is_slow = not self._seen.spans_ns and bool(self._seen.last)
        is_over = self._seen.seconds >= (slow_seconds if is_slow else seconds)
        return is_over or len(self._seen.spans_ns) >= _ENOUGH_SPANS

    def look(self) -> None:
        """Read it, and note whether it has changed."""
        seen = self._seen
        try:
            value: int | None = self._read()
        except ReadingError:
            value = None
        now_ns = time.monotonic_ns()
        seen.seconds = (now_ns - self._began_ns) / NS
        if value is None:
            return
        if self._value is not None and value != self._value:
            self._note_change(now_ns, value - self._value)
        seen.first = value if seen.first is None else seen.first
        seen.last = self._value = value

    def _note_change(self, now_ns: int, step: int) -> None:
        if self._changed_ns is not None:
            self._seen.spans_ns.append(now_ns - self._changed_ns)
        self._changed_ns = now_ns
        if step > 0:
            self._seen.least_step = min(step, self._seen.least_step or step)
