"""Numbers as people read them: three or four digits, a unit, and a dash for what is not known."""

from __future__ import annotations

import math

UNKNOWN = "-"
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def plain(value: float | None) -> str:
    """Return a number with four significant digits, such as a metric or a hyper-parameter."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.6g}"


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
