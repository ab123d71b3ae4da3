"""The probe at the start of a session: how often, and in what steps, each counter moves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from wattest.energy.types import NS, ReadingError

_ENOUGH_CHANGES = 6
_PAUSE_SECONDS = 0.001


@dataclass(frozen=True)
class Probed:
    """What the probe saw of one counter.

    Attributes:
        period_seconds: Median time between its changes, never below the millisecond at which we
            look; None if it changed less than twice.
        longest_seconds: Longest time between its changes; None likewise.
        step_counts: Smallest change seen; None if there was none.
        first: Its first value; None if it could not be read at all.
        last: Its last value.
        seconds: For how long it was watched.
    """

    period_seconds: float | None
    longest_seconds: float | None
    step_counts: int | None
    first: int | None
    last: int | None
    seconds: float


class _Watched:
    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read
        self.changes_ns: list[int] = []
        self.steps: list[int] = []
        self.first: int | None = None
        self.last: int | None = None

    def look(self) -> None:
        try:
            value = self._read()
        except ReadingError:
            return
        if self.last is None:
            self.first = value
        elif value != self.last:
            self.changes_ns.append(time.monotonic_ns())
            if value > self.last:
                self.steps.append(value - self.last)
        self.last = value

    @property
    def is_known(self) -> bool:
        return len(self.changes_ns) >= _ENOUGH_CHANGES

    @property
    def is_slow(self) -> bool:
        """Whether it may have a period that was not seen yet; one that stands at 0 has none."""
        return len(self.changes_ns) < 2 and bool(self.last)

    def result(self, seconds: float) -> Probed:
        changes = self.changes_ns
        spans = [later - earlier for earlier, later in pairwise(changes)]
        return Probed(
            period_seconds=median(spans) / NS if spans else None,
            longest_seconds=max(spans) / NS if spans else None,
            step_counts=min(self.steps, default=None),
            first=self.first,
            last=self.last,
            seconds=seconds,
        )


def probe(
    counters: Mapping[str, Callable[[], int]], seconds: float, slow_seconds: float
) -> dict[str, Probed]:
    """Watch all counters together until each has changed a few times.

    Args:
        counters: How to read each, by its label.
        seconds: For how long at most.
        slow_seconds: The same for one that has changed less than twice by then.
    """
    if not counters:
        return {}
    watched = {label: _Watched(read) for label, read in counters.items()}
    start_ns = time.monotonic_ns()
    usual_ns, last_ns = (start_ns + int(one * NS) for one in (seconds, slow_seconds))
    rest = list(watched.values())
    while rest and (now_ns := time.monotonic_ns()) < last_ns:
        for one in rest:
            one.look()
        rest = [one for one in rest if not one.is_known and (now_ns < usual_ns or one.is_slow)]
        time.sleep(_PAUSE_SECONDS)
    took = (time.monotonic_ns() - start_ns) / NS
    return {label: one.result(took) for label, one in watched.items()}
