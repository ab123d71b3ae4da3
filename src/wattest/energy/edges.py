"""Reading counters at the edges of the window, where a single reading decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wattest.energy.base import NS, Clock, ReadingError
from wattest.energy.counter import CounterTrack

Counter = tuple[CounterTrack, Callable[[], int]]
"""A track, and how to read its counter once (raises `ReadingError`)."""


Take = Callable[[CounterTrack, int, int], None]
"""What a track does with a reading: `CounterTrack.open` or `CounterTrack.read`."""


def read_edge(counters: Sequence[Counter], take: Take, clock: Clock, retry_seconds: float) -> None:
    """Read every counter once; again, for at most `retry_seconds`, those that fail or look odd."""
    deadline_ns = clock.monotonic_ns() + int(retry_seconds * NS)
    rest = [counter for counter in counters if not _read_once(*counter, take, clock)]
    pause = 0.001
    while rest and clock.monotonic_ns() < deadline_ns:
        clock.sleep(pause)
        pause *= 2
        rest = [counter for counter in rest if not _read_once(*counter, take, clock)]


def _read_once(track: CounterTrack, read: Callable[[], int], take: Take, clock: Clock) -> bool:
    before_ns = clock.monotonic_ns()
    try:
        value = read()
    except ReadingError as error:
        track.fail(before_ns, error)
        return False
    at_ns = (before_ns + clock.monotonic_ns()) // 2
    take(track, at_ns, value)
    return not track.suspicious


def watch_still_counters(counters: Sequence[Counter], clock: Clock, edge_ns: int) -> None:
    """After the closing edge, see whether counters that stand still are frozen or only slow.

    Takes no time unless one stands still longer than usual, and then at most the time after which
    it counts as frozen.
    """
    still = [counter for counter in counters if counter[0].needs_watching(edge_ns)]
    while still:
        clock.sleep(0.01)
        now_ns = clock.monotonic_ns()
        still = [
            (track, read) for track, read in still if not track.watch(edge_ns, now_ns, _try(read))
        ]


def _try(read: Callable[[], int]) -> int | None:
    try:
        return read()
    except ReadingError:
        return None
