"""The counters of one kind in one window, and reading them at its edges, where each one decides."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from wattest.energy import design
from wattest.energy.schedule import Schedule
from wattest.energy.track import CounterTrack
from wattest.energy.types import NS, DomainResult, ReadingError


class Recording(ABC):
    """What one kind of source does in one window, in the order of the methods below.

    Attributes:
        tracks: One per counter.
        period_ns: Nominal time between two calls of `sample`.
        closed_ns: When the counters had been read at the closing edge.
    """

    def __init__(self, tracks: Sequence[CounterTrack], period_seconds: float) -> None:
        self.tracks = tuple(tracks)
        self.period_ns = int(NS * period_seconds)
        self.closed_ns = 0

    def prepare(self) -> None:
        """Make the readings that belong to the opening edge but are not energy; may be slow."""
        _watch_before_edge(self.tracks)

    def read_opening(self) -> None:
        """Read the energy at the opening edge: twice, until the two agree; failures are kept."""
        deadline_ns = time.monotonic_ns() + int(design.EDGE_RETRY_SECONDS * NS)
        failed = _read_until(deadline_ns, self.tracks, lambda track: read(track, track.open))
        opened = [track for track in self.tracks if track not in failed]
        _read_until(deadline_ns, opened, lambda track: read(track, track.agree))

    @abstractmethod
    def sample(self, now_ns: int) -> None:
        """Read once, `now_ns` being the monotonic time at which the tick began."""

    def read_closing(self) -> None:
        """Read the energy at the closing edge, before anything else is done."""
        deadline_ns = time.monotonic_ns() + int(design.EDGE_RETRY_SECONDS * NS)
        _read_until(deadline_ns, self.tracks, read)
        self.closed_ns = time.monotonic_ns()

    def finish(self, opened_ns: int, ended_ns: int) -> None:
        """Make the readings that may follow the edge, and decide what is open.

        The window was open at `opened_ns`, and what was measured ended at `ended_ns`.
        """
        _watch_after_edge(self.tracks)
        for track in self.tracks:
            track.settle(self.closed_ns)
            track.add_edge_delay(opened_ns, ended_ns)

    @abstractmethod
    def results(self, schedule: Schedule) -> tuple[DomainResult, ...]:
        """Judge the window, which was sampled on `schedule`."""

    @abstractmethod
    def live(self) -> Mapping[str, float | None]:
        """The latest values by the names of a `Snapshot`, without reading anything."""


def read(track: CounterTrack, take: Callable[[int, int], bool] | None = None) -> bool:
    """Read a counter once, for `track.read` or another `take`; false if nothing is sure yet."""
    before_ns = time.monotonic_ns()
    try:
        value = track.counter.read()
    except ReadingError as error:
        track.fail(before_ns, error)
        return False
    return (take or track.read)((before_ns + time.monotonic_ns()) // 2, value)


def _read_until(
    deadline_ns: int, tracks: Sequence[CounterTrack], how: Callable[[CounterTrack], bool]
) -> list[CounterTrack]:
    """Read every counter, then those for which it was not enough; returns what is left."""
    rest = [track for track in tracks if not how(track)]
    pause = 0.001
    while rest and time.monotonic_ns() < deadline_ns:
        time.sleep(pause)
        pause *= 2
        rest = [track for track in rest if not how(track)]
    return rest


def _watch_before_edge(tracks: Sequence[CounterTrack]) -> None:
    """See every counter move whose period is known: none may be frozen.

    One that stood still would show at its next movement what was used before the window.
    """
    began_ns = time.monotonic_ns()
    known = [track for track in tracks if track.counter.period_seconds is not None]
    rest = [(track, _value_or_none(track)) for track in known]
    while rest:
        time.sleep(0.001)
        rest = [one for one in rest if one[1] is not None and _value_or_none(one[0]) == one[1]]
        still_ns = time.monotonic_ns() - began_ns
        for track, _ in rest:
            if still_ns >= track.frozen_ns:
                text = f"frozen: the counter did not move for {still_ns / NS:.1f} s"
                track.refuse("counter_frozen", f"{text} before the opening edge", still_ns / NS)
        rest = [one for one in rest if one[0].fault is None]


def _watch_after_edge(tracks: Sequence[CounterTrack]) -> None:
    """See that every counter still moves: none may have frozen unseen.

    Takes one update period of the slowest counter; one that does not move, the time after which it
    counts as frozen.
    """
    rest = [track for track in tracks if track.is_watchable()]
    pause = 0.002
    while rest:
        time.sleep(pause)
        pause = min(0.01, 1.5 * pause)
        rest = [one for one in rest if not one.watch(time.monotonic_ns(), _value_or_none(one))]


def _value_or_none(track: CounterTrack) -> int | None:
    try:
        return track.counter.read()
    except ReadingError:
        return None
