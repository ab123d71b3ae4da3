"""What an estimate says, as a person would say it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wattest.report.model import Estimate
from wattest.report.runs import Quantity


def change(estimate: Estimate, quantity: Quantity) -> str:
    """Return by how much: `30 % higher`, `the same`, `not found to differ`, `not known`.

    A number of what was only estimated has a `~`.
    """
    if estimate.value is None:
        return "not known"
    if estimate.has_interval and not is_clear(estimate):
        return "not found to differ"
    if estimate.value == nothing(estimate):
        return "the same"
    return "~" * quantity.estimated + _by(estimate.value, estimate)


def grounds(estimate: Estimate) -> str:
    """Return what a number rests on: interval or reason, n and unit, power, notes, tests."""
    told = []
    if estimate.low is not None and estimate.high is not None:
        told.append(f"95 %: {_between(estimate.low, estimate.high, estimate)}")
    told.append(f"n = {estimate.n} {estimate.unit}")
    if estimate.smallest is not None:
        told.append(f"80 % power for {smallest(estimate)}")
    return "; ".join([*told, *_remarks(estimate)])


def remark(estimate: Estimate) -> str:
    """Return what is to be said beside an estimate: reason, notes, tests."""
    return "; ".join(_remarks(estimate))


def _remarks(estimate: Estimate) -> Iterator[str]:
    yield from filter(None, (estimate.reason, estimate.note, estimate.equivalence))
    if estimate.p_value is not None:
        yield f"p = {estimate.p_value:.2g} (Holm)"


def few(words: Iterable[str | None], most: int, between: str = ", ") -> str:
    """Return the first of different words, and how many more there are."""
    found = list(dict.fromkeys(word for word in words if word))
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return between.join(found[:most]) + more


def sentence(text: str) -> str:
    """Return a text as a sentence: with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def is_clear(estimate: Estimate) -> bool:
    """Tell whether an interval excludes that nothing happened."""
    if estimate.low is None or estimate.high is None:
        return False
    return not estimate.low <= nothing(estimate) <= estimate.high


def nothing(estimate: Estimate) -> float:
    """Return the value that says that nothing happened."""
    return 1.0 if estimate.kind == "ratio" else 0.0


def smallest(estimate: Estimate) -> str:
    """Return the smallest effect that is found with 80 % power; empty where it is not known."""
    if estimate.smallest is None:
        return ""
    if estimate.kind == "ratio":
        share = 100 * estimate.smallest
        return f"{share:.2g} %" if share < 99.5 else f"{share:.0f} %"
    return f"{estimate.smallest:.2g}"


def _by(value: float, estimate: Estimate) -> str:
    """Return `30 % higher`, `2.4 times as high`, or for a difference `0.3 lower`."""
    if estimate.kind == "ratio" and value >= 2:
        return f"{value:.3g} times as high"
    size, way = _size(value, estimate)
    return f"{size} {way}"


def _size(value: float, estimate: Estimate) -> tuple[str, str]:
    if estimate.kind == "ratio":
        share = 100 * (value - 1)
        return f"{abs(share):.3g} %", "higher" if share >= 0 else "lower"
    return f"{abs(value):.3g}", "higher" if value >= 0 else "lower"


def _between(low: float, high: float, estimate: Estimate) -> str:
    """Return `20 % to 40 % higher`, naming the way once where it is the same."""
    if estimate.kind == "ratio" and high >= 2:
        return f"{low:.3g} to {high:.3g} times as high"
    (size, way), other = _size(low, estimate), _by(high, estimate)
    return f"{size} to {other}" if other.endswith(way) else f"{size} {way} to {other}"
