"""What an estimate says, as a person would say it: text and page take their words from here."""

from __future__ import annotations

from wattest.report.model import Effect, Estimate, ForestRow, HyperparameterRow, Quantity


def load_sentence(row: ForestRow) -> str:
    """Return what the load did to a quantity, such as `With the load, GPU energy was …`."""
    estimate, title = row.estimate, _titled(row.quantity)
    if estimate.value is None:
        return f"{title}: no number. {_reason(estimate)}"
    subject = f"With the load, {title}"
    if row.quantity.unit == "J":
        subject += " (of both trainings together)"
    return f"{subject} was {_change(estimate)}."


def effect_sentence(row: HyperparameterRow, effect: Effect) -> str:
    """Return what a step of a hyper-parameter does, such as `Doubling x: GPU energy …`."""
    estimate, title = effect.estimate, _titled(effect.quantity)
    if estimate.value is None:
        return f"{row.name} and {title}: no number. {_reason(estimate)}"
    if effect.quantity.unit == "J" and row.arm == "parallel":
        title += " (of both trainings together)"
    step = row.step[:1].upper() + row.step[1:]
    return f"{step} {row.name}: {title} {_change(estimate)}."


def _change(estimate: Estimate) -> str:
    """Return by how much, how surely, and what would have been found."""
    if not estimate.has_interval:
        return f"{_by(estimate.value, estimate)} ({_why(estimate)})"
    interval = f"95 %: {_between(estimate)}; n = {estimate.n} {estimate.unit}"
    if not is_clear(estimate):
        found = f"not found to differ ({interval}"
        if estimate.smallest is not None:
            found += f"; {smallest(estimate)} would be found 4 times in 5"
        return found + ")"
    return f"{_by(estimate.value, estimate)} ({interval})"


def is_clear(estimate: Estimate) -> bool:
    """Tell whether an interval excludes that nothing happened."""
    nothing = 1.0 if estimate.kind == "ratio" else 0.0
    if estimate.low is None or estimate.high is None:
        return False
    return not estimate.low <= nothing <= estimate.high


def smallest(estimate: Estimate) -> str:
    """Return the smallest effect that is found with 80 % power; empty where it is not known."""
    if estimate.smallest is None:
        return ""
    if estimate.kind == "ratio":
        return f"{100 * estimate.smallest:.2g} %"
    return f"{estimate.smallest:.2g}"


def remarks(estimate: Estimate) -> str:
    """Return all that is to be said beside an estimate: its reason, its bounds, its tests."""
    told = [estimate.reason, estimate.note, estimate.equivalence]
    if estimate.p_value is not None:
        told.append(f"p = {estimate.p_value:.2g} (Holm)")
    return "; ".join(one for one in told if one)


def _by(value: float | None, estimate: Estimate) -> str:
    """Return `30 % higher`, or a difference as `0.3 lower`."""
    assert value is not None
    if estimate.kind == "ratio":
        share = 100 * (value - 1)
        if value >= 2:
            return f"{value:.3g} times as high"
        return f"{abs(share):.3g} % {'higher' if share >= 0 else 'lower'}"
    return f"{abs(value):.3g} {'higher' if value >= 0 else 'lower'}"


def _between(estimate: Estimate) -> str:
    return f"from {_by(estimate.low, estimate)} to {_by(estimate.high, estimate)}"


def _titled(quantity: Quantity) -> str:
    title = quantity.title
    plain = title[:1].lower() + title[1:] if title[1:2].islower() else title
    return f"~{plain} (estimated)" if quantity.estimated else plain


def _why(estimate: Estimate) -> str:
    return estimate.reason or f"no interval; n = {estimate.n} {estimate.unit}"


def _reason(estimate: Estimate) -> str:
    reason = estimate.reason or "Nothing was measured"
    return reason[:1].upper() + reason[1:] + "."
