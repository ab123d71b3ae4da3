"""Whole numbers in a log: what a pattern has taken may be a part of one."""

from __future__ import annotations

import math
import re

_AROUND = 64
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_SIGN = r"(?<![\w.)\]+\-\u2212])[+\-\u2212]"
# What stands directly before a match and belongs to its number.
_BEFORE = re.compile(
    r"(?:(?<!\w)0[xXbBoO]\w*"
    rf"|(?:{_SIGN})?(?:(?<![\w.])\.|\d[\d.,'_]*(?<=[\d.])(?:[eE][+\-\u2212]?)?)"
    rf"|{_SIGN})$"
)
# What stands directly behind it and belongs to its number, whatever the pattern says of it:
# digits and exponents, groups of thousands, ``x 10^``, superscripts and fractions, and what C
# libraries write of a number that is none (``1.#IND``).
_BEHIND = re.compile(
    r"\.?#(?:IND|INF|[QS]?NAN)\w*|\.?[eE][+\-\u2212]?\d+"
    r"|[.\u00b7\u066b\u066c]?\d\w*(?:(?<=[eE])[+-]\d+)?(?:[.,]\d\w*)*"
    r"|(?:[\u00a0\u2009\u202f]\d{3})+(?!\d)"
    r"|\s?(?:[\u00d7\u00b7]\s?10|[*xX]\s?10(?:\^|\*\*))\S*"
    r"|[\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209c\u2150-\u215e]+"
)
# What does so unless the pattern takes it, too: a factor without a unit, an exponent that is cut
# short, a decimal comma, another separator, the rest of a time of day. A unit (`12ms`) is no part
# of the number.
_GLUED = re.compile(
    r"(?:[kKMGTPeEdD](?!\w)|[^\W\d_]+[\d_]\w*)|,\d+(?:[.,]\d+)*|[_'\u2019]\d\w*"
    r"|(?::[0-5]\d)+(?:\.\d+)?(?!\w)"
)
_BEFORE_COMMA = re.compile(r"[+-]?(?:\d+|[1-9]\d{0,2}\.\d{3})")


def number(token: str) -> float | None:
    """Return the finite number that this text is as a whole; None for any other text."""
    value = float(token) if _NUMBER.fullmatch(token) else math.nan
    return value if math.isfinite(value) else None


def whole(text: str, start: int, end: int, is_stated: bool) -> str:
    """Return the number of which `text[start:end]` may be a part, as it stands in the text.

    `is_stated` tells that the pattern itself says what comes next, a unit perhaps.
    """
    taken = text[start:end]
    if not _NUMBER.fullmatch(taken):
        return taken
    # A line is never looked beyond: white space of other kinds groups thousands.
    before = text[max(0, start - _AROUND) : start].rpartition("\n")[2]
    after = text[end : end + _AROUND].partition("\n")[0]
    left = None if taken[0] in "+-" else _BEFORE.search(before)
    right = _BEHIND.match(after)
    if right is None and not is_stated:
        right = _GLUED.match(after)
        if right and right[0][0] == "," and not _BEFORE_COMMA.fullmatch(taken):
            right = None
    return (left[0] if left else "") + taken + (right[0] if right else "")
