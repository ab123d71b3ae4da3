"""Arithmetic on doubles that gives the same bits on every platform.

Only additions, multiplications and divisions of IEEE 754 act on the numbers, and `decimal` for
logarithms. The C library's `exp` and `log`, which `math` and `numpy` use, differ between systems
in the last bit, and with them would the values that one seed draws.
"""

from __future__ import annotations

import math
import struct
from decimal import Context, Decimal

_LOG2_E = 1.4426950408889634
_LN2_HIGH = 0.693147180369123816490  # 33 bits: its product with an exponent is exact
_LN2_LOW = 1.90821492927058770002e-10
_LARGEST_EXPONENT = 709.78
_TAYLOR = tuple(1.0 / math.factorial(n) for n in range(14, -1, -1))


def exp(x: float) -> float:
    """Return e to the power of `x`, the same bits everywhere, within 4e-16 relative.

    x = k ln 2 + r with |r| <= (ln 2)/2; the Taylor series of e^r to r^14 leaves less than 2e-19.
    """
    x = min(x, _LARGEST_EXPONENT)
    k = math.floor(x * _LOG2_E + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    total = 0.0
    for coefficient in _TAYLOR:
        total = total * r + coefficient
    return math.ldexp(total, k)


def logarithms(low: Decimal, high: Decimal) -> tuple[float, float]:
    """Return ln(low) and ln(high) - ln(low)."""
    context = Context(prec=40)
    log_low, log_high = context.ln(low), context.ln(high)
    return float(log_low), float(context.subtract(log_high, log_low))


def ordinal(value: float) -> int:
    """Return the position of a double among all doubles in ascending order; 0 for both zeros."""
    bits: int = struct.unpack(">q", struct.pack(">d", value))[0]
    return bits if bits >= 0 else -(bits & 0x7FFF_FFFF_FFFF_FFFF)
