"""Power over time becomes energy."""

from __future__ import annotations

import pytest

from wattest.energy.gpu.power import Integral
from wattest.energy.types import NS


def test_power_is_integrated_by_the_trapezoid_rule_and_held_at_the_edges():
    power = Integral()
    for at, watts in ((1.0, 100.0), (1.5, 300.0), (3.0, 200.0)):
        power.add(int(at * NS), watts)
    assert power.joules == pytest.approx(0.5 * 200 + 1.5 * 250)
    assert power.mean_watts == pytest.approx(475 / 2)
    assert power.over(0, 4 * NS) == pytest.approx(100 + 475 + 200)
    assert (power.low_watts, power.high_watts, power.range_watts) == (100, 300, 200)
    assert power.gap_ns(0, 4 * NS) == 1.5 * NS
    assert power.gap_ns(0, 6 * NS) == 3 * NS
