"""Numbers as people read them: three or four digits, a unit, and a dash for what is not known."""

from __future__ import annotations

import math

from wattest.report.model import Estimate
from wattest.report.runs import Quantity

UNKNOWN = "-"
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def plain(value: float | None) -> str:
    """Return a number with four significant digits, such as a metric or a hyper-parameter."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:.4g}" if abs(value) < 9999.5 else f"{value:.6g}"


def joules(value: float | None, estimated: bool = False) -> str:
    """Return joules as `415 J`, `12.34 kJ`, `1.2 MJ`; an estimate has a `~` before it."""
    return UNKNOWN if value is None else "~" * estimated + _scaled(value, "J")


def watts(value: float | None) -> str:
    """Return watts as `185 W`."""
    return UNKNOWN if value is None else _scaled(value, "W")


def duration(seconds: float | None) -> str:
    """Return seconds as `3.01 s`, `12 min 5 s`, `3 h 7 min`."""
    if seconds is None:
        return UNKNOWN
    if abs(seconds) < 119.5:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def percent(share: float | None) -> str:
    """Return a share of 1 as `99.6 %`."""
    return UNKNOWN if share is None else f"{100 * share:.3g} %"


def _scaled(value: float, unit: str) -> str:
    for factor, prefix in _PREFIXES:
        # What would be rounded up to the prefix has it.
        if abs(value) >= 0.9995 * factor:
            return f"{value / factor:.4g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def ratio(value: float | None) -> str:
    """Return a ratio as `×1.2981`."""
    return UNKNOWN if value is None else f"×{_factor(value)}"


def _factor(value: float) -> str:
    return f"{value:.4f}" if 0.001 <= value < 1000 else f"{value:.4g}"


def difference(value: float | None) -> str:
    """Return a difference with its sign, as `+0.25`."""
    return UNKNOWN if value is None else f"{value:+.4g}"


def estimate(one: Estimate) -> str:
    """Return `×1.2981 [1.2035, 1.4001]`, or the value alone where there is no interval."""
    said = ratio if one.kind == "ratio" else difference
    interval = interval_of(one)
    return f"{said(one.value)} {interval}" if interval else said(one.value)


def interval_of(one: Estimate) -> str:
    """Return `[1.2035, 1.4001]`; empty where there is no interval."""
    if one.low is None or one.high is None:
        return ""
    if one.kind == "ratio":
        return f"[{_factor(one.low)}, {_factor(one.high)}]"
    return f"[{one.low:+.4g}, {one.high:+.4g}]"


def amount(value: float | None, quantity: Quantity) -> str:
    """Return an amount of a quantity in its unit, an estimate with a `~`."""
    if quantity.unit == "J":
        return joules(value, quantity.estimated)
    return duration(value) if quantity.unit == "s" else plain(value)
