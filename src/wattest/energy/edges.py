"""Reading counters at the edges of the window, where a single reading decides."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from wattest.energy.counter import CounterTrack
from wattest.energy.types import NS, ReadingError

Counter = tuple[CounterTrack, Callable[[], int]]
"""A track, and how to read its counter once (raises `ReadingError`)."""


def read_opening_edge(counters: Sequence[Counter], retry_seconds: float) -> None:
    """Open every track, by two readings that agree; again for at most `retry_seconds`."""
    deadline_ns = time.monotonic_ns() + int(retry_seconds * NS)
    rest = _until_done(counters, _open, deadline_ns)
    _until_done([one for one in counters if one not in rest], _reopen, deadline_ns)


def read_closing_edge(counters: Sequence[Counter], retry_seconds: float) -> None:
    """Read every counter; again, for at most `retry_seconds`, those that fail or look odd."""
    deadline_ns = time.monotonic_ns() + int(retry_seconds * NS)
    _until_done(counters, _read, deadline_ns)


Attempt = Callable[[CounterTrack, int, int], bool]
"""Gives a track a reading (time, value); whether that is enough."""


def _open(track: CounterTrack, at_ns: int, value: int) -> bool:
    track.open(at_ns, value)
    return True


def _reopen(track: CounterTrack, at_ns: int, value: int) -> bool:
    track.read(at_ns, value)
    if track.is_suspicious:
        track.open(at_ns, value)
        return False
    return True


def _read(track: CounterTrack, at_ns: int, value: int) -> bool:
    track.read(at_ns, value)
    return not track.is_suspicious


def _until_done(counters: Sequence[Counter], attempt: Attempt, deadline_ns: int) -> list[Counter]:
    """Attempt every counter, then those that it was not enough for; what is left at the end."""
    rest = [counter for counter in counters if not _try_once(*counter, attempt)]
    pause = 0.001
    while rest and time.monotonic_ns() < deadline_ns:
        time.sleep(pause)
        pause *= 2
        rest = [counter for counter in rest if not _try_once(*counter, attempt)]
    return rest


def _try_once(track: CounterTrack, read: Callable[[], int], attempt: Attempt) -> bool:
    before_ns = time.monotonic_ns()
    try:
        value = read()
    except ReadingError as error:
        track.fail(before_ns, error)
        return False
    return attempt(track, (before_ns + time.monotonic_ns()) // 2, value)


def watch_before_edge(counters: Sequence[Counter]) -> None:
    """Before the opening edge, see every counter move whose period is known: none may be frozen.

    One that stood still would show at its next movement what was used before the window.
    """
    began_ns = time.monotonic_ns()
    rest = [
        (track, read, _value_or_none(read))
        for track, read in counters
        if track.spec.period_seconds is not None
    ]
    while rest:
        time.sleep(0.001)
        rest = [one for one in rest if one[2] is not None and _value_or_none(one[1]) == one[2]]
        still_ns = time.monotonic_ns() - began_ns
        for track, _, _ in rest:
            if still_ns >= track.stillness.frozen_ns:
                text = f"frozen: the counter did not move for {still_ns / NS:.1f} s"
                track.refuse("counter_frozen", f"{text} before the opening edge", still_ns / NS)
        rest = [one for one in rest if one[0].fault is None]


def watch_after_edge(counters: Sequence[Counter]) -> None:
    """After the closing edge, see that every counter still moves: none may have frozen unseen.

    Takes one update period of the slowest counter; one that does not move, the time after which it
    counts as frozen.
    """
    rest = [counter for counter in counters if counter[0].is_watchable()]
    pause = 0.002
    while rest:
        time.sleep(pause)
        pause = min(0.01, 1.5 * pause)
        rest = [
            (track, read)
            for track, read in rest
            if not track.watch(time.monotonic_ns(), _value_or_none(read))
        ]


def _value_or_none(read: Callable[[], int]) -> int | None:
    try:
        return read()
    except ReadingError:
        return None
