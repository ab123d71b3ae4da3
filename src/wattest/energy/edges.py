"""Reading counters at the edges of the window, where a single reading decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wattest.energy.base import NS, Clock, ReadingError
from wattest.energy.counter import CounterTrack

Counter = tuple[CounterTrack, Callable[[], int]]
"""A track, and how to read its counter once (raises `ReadingError`)."""


def read_edge(counters: Sequence[Counter], clock: Clock, retry_seconds: float) -> None:
    """Read every counter once; again, for at most `retry_seconds`, those that fail or look odd.

    The first reading of a track opens it. How much later than asked a reading came is added to the
    slack of its track.
    """
    first_ns = clock.monotonic_ns()
    deadline_ns = first_ns + int(retry_seconds * NS)
    rest = [counter for counter in counters if not _read_once(*counter, clock, first_ns)]
    pause = 0.001
    while rest and clock.monotonic_ns() < deadline_ns:
        clock.sleep(pause)
        pause *= 2
        rest = [counter for counter in rest if not _read_once(*counter, clock, first_ns)]


def _read_once(track: CounterTrack, read: Callable[[], int], clock: Clock, first_ns: int) -> bool:
    before_ns = clock.monotonic_ns()
    try:
        value = read()
    except ReadingError as error:
        track.fail(before_ns, error)
        return False
    at_ns = (before_ns + clock.monotonic_ns()) // 2
    if track.opened_ns is None:
        track.open(at_ns, value)
    else:
        track.read(at_ns, value)
    if track.suspicious:
        return False
    track.edge_slack_ns += at_ns - first_ns
    return True


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
