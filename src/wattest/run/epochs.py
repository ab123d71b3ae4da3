"""The epochs of a training: the spans between its marks, their energy, and what is not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from wattest.run.marks import Mark

DOMAINS = ("cpu", "gpu")


@dataclass(frozen=True)
class Epoch:
    """What lies between a mark and the one before it, or the window's opening edge.

    `seen_seconds` counts from that edge. A mark is seen late by up to a look: `uncertainty_seconds`
    is that of `seconds`. The joules are uncertain besides by the counters' update period; theirs
    is that time at each end, at the greater mean power of what lies before and behind that end.
    None is not known.
    """

    epoch: float
    seen_seconds: float | None
    seconds: float | None = None
    cpu_joules: float | None = None
    gpu_joules: float | None = None
    cpu_watts: float | None = None
    gpu_watts: float | None = None
    uncertainty_seconds: float | None = None
    cpu_uncertainty_joules: float | None = None
    gpu_uncertainty_joules: float | None = None


@dataclass(frozen=True)
class Rest:
    """The window less its epochs: what lies behind the last mark, and what no epoch is known of."""

    seconds: float
    cpu_joules: float | None
    gpu_joules: float | None
    cpu_watts: float | None
    gpu_watts: float | None


@dataclass(frozen=True)
class Whole:
    """A window: its opening edge, its length, its joules and the counters' periods by domain."""

    opened_ns: int
    seconds: float
    joules: Mapping[str, float | None]
    period_seconds: Mapping[str, float]


def epochs_of(marks: Sequence[Mark], whole: Whole) -> list[Epoch]:
    """Return the epochs of a window; of those that came in one look only the number is known."""
    edges = [_opening(whole), *(mark for mark in marks if mark.alone)]
    closing = _closing(whole)
    edges += [closing] if closing.seen_ns > edges[-1].seen_ns else []
    late = {domain: dict(_late_joules(edges, domain, whole)) for domain in DOMAINS}
    before: Mark | None = edges[0]
    found = []
    for mark in marks:
        found.append(_epoch(mark, before, whole, late))
        before = mark if mark.alone else None
    return found


def rest_of(epochs: Sequence[Epoch], whole: Whole) -> Rest:
    """Return what the epochs leave of their window: with them it is the whole run."""
    seconds = max(0.0, whole.seconds - sum(one.seconds or 0.0 for one in epochs))
    left = {domain: _left(epochs, domain, whole.joules[domain]) for domain in DOMAINS}
    watts = {domain: _watts(joules, seconds) for domain, joules in left.items()}
    return Rest(seconds, left["cpu"], left["gpu"], watts["cpu"], watts["gpu"])


def _left(epochs: Sequence[Epoch], domain: str, joules: float | None) -> float | None:
    known = [one for one in epochs if one.seconds is not None]
    used = [_joules(one, domain) for one in known]
    told = [one for one in used if one is not None]
    return None if joules is None or len(told) < len(used) else joules - sum(told)


def _opening(whole: Whole) -> Mark:
    return Mark(0, whole.opened_ns, 0, True, 0.0, 0.0)


def _closing(whole: Whole) -> Mark:
    closed_ns = whole.opened_ns + int(whole.seconds * 1e9)
    return Mark(0, closed_ns, 0, True, whole.joules["cpu"], whole.joules["gpu"])


def _late_joules(edges: Sequence[Mark], domain: str, whole: Whole) -> Iterator[tuple[int, float]]:
    """Yield for the time of each edge what may stand on its wrong side."""
    powers = [_watts(_between(a, b, domain), _seconds(a, b)) for a, b in pairwise(edges)]
    for index, edge in enumerate(edges):
        sides = [one for one in powers[max(index - 1, 0) : index + 1] if one is not None]
        seconds = max(edge.gap_ns / 1e9, whole.period_seconds[domain])
        yield edge.seen_ns, max([0.0, *sides]) * seconds


def _epoch(
    mark: Mark, before: Mark | None, whole: Whole, late: Mapping[str, Mapping[int, float]]
) -> Epoch:
    if not mark.alone:
        return Epoch(mark.epoch, None)
    seen_seconds = (mark.seen_ns - whole.opened_ns) / 1e9
    if before is None:
        return Epoch(mark.epoch, seen_seconds)
    seconds = _seconds(before, mark)
    # Where the whole is not known, no part of it is.
    used = {
        domain: None if joules is None else _between(before, mark, domain)
        for domain, joules in whole.joules.items()
    }
    wrong = {
        domain: None if used[domain] is None else ats[before.seen_ns] + ats[mark.seen_ns]
        for domain, ats in late.items()
    }
    watts = {domain: _watts(used[domain], seconds) for domain in DOMAINS}
    return Epoch(
        mark.epoch, seen_seconds, seconds,
        used["cpu"], used["gpu"], watts["cpu"], watts["gpu"],
        (mark.gap_ns + before.gap_ns) / 1e9, wrong["cpu"], wrong["gpu"],
    )  # fmt: skip


def _seconds(before: Mark, after: Mark) -> float:
    return (after.seen_ns - before.seen_ns) / 1e9


def _between(before: Mark, after: Mark, domain: str) -> float | None:
    first, second = _joules(before, domain), _joules(after, domain)
    # What has fallen was taken back meanwhile: how much of it lies in between is not known.
    return None if first is None or second is None or second < first else second - first


def _joules(one: Mark | Epoch, domain: str) -> float | None:
    return one.cpu_joules if domain == "cpu" else one.gpu_joules


def _watts(joules: float | None, seconds: float) -> float | None:
    return None if joules is None or seconds <= 0 else joules / seconds
