"""Numbers as people read them."""

from __future__ import annotations

import pytest

from wattest.report import numbers
from wattest.report.model import Estimate
from wattest.report.runs import Quantity


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (0.4, "0.4 J"), (415.2, "415 J"), (999.4, "999 J"), (999.6, "0.9996 kJ"),
        (12_000, "12 kJ"), (12_345, "12.35 kJ"), (999_960, "1 MJ"), (3.6e6, "3.6 MJ"),
    ],
)  # fmt: skip
def test_joules_have_the_prefix_that_keeps_them_short(value: float | None, text: str) -> None:
    assert numbers.joules(value) == text


def test_an_estimate_of_energy_is_never_without_its_tilde() -> None:
    assert numbers.joules(234.0, estimated=True) == "~234 J"
    assert numbers.amount(234.0, Quantity("cpu_energy", "CPU", "J", estimated=True)) == "~234 J"
    assert numbers.joules(None, estimated=True) == "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.012, "3.01 s"), (119.4, "119 s"), (119.6, "2 min 0 s"), (725, "12 min 5 s"),
     (11_220, "3 h 7 min"), (None, "-")],
)  # fmt: skip
def test_durations_are_told_in_the_units_of_clocks(seconds: float | None, text: str) -> None:
    assert numbers.duration(seconds) == text


def test_an_interval_is_told_only_where_there_is_one() -> None:
    assert numbers.estimate(Estimate(1.29812, 1.20349, 1.40013)) == "×1.2981 [1.2035, 1.4001]"
    assert numbers.estimate(Estimate(1.249, reason="2 pairs: an interval needs 3")) == "×1.2490"
    told = numbers.estimate(Estimate(-0.3, -0.5, 0.1, kind="difference"))
    assert told == "-0.3 [-0.5, +0.1]"
    assert numbers.estimate(Estimate(None)) == "-"
    assert numbers.estimate(Estimate(1e5, 999.9, 1e7)) == "×1e+05 [999.9000, 1e+07]"


def test_four_digits_are_never_rounded_to_a_power_of_ten() -> None:
    assert [numbers.plain(value) for value in (9999.4, 9999.7, 12345.6)] == [
        "9999", "9999.7", "12345.6",
    ]  # fmt: skip
