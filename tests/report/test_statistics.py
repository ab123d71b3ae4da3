"""Pure functions, against figures that are known from elsewhere."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from scipy import stats

from benchmarks.campaigns import Campaign, Figures
from wattest.report.answers import answer
from wattest.report.model import Estimate
from wattest.report.reading import read_runs
from wattest.report.statistics import Scatter, combined, paired, slopes, smallest_effect, with_holm
from wattest.report.studies import Options


@pytest.mark.parametrize(("n", "percent"), [(3, 6.7), (5, 3.4), (10, 2.0)])
def test_the_smallest_effect_at_two_percent_noise(n: int, percent: float) -> None:
    found = smallest_effect(0.02 / math.sqrt(n), n - 1, "ratio")
    assert round(100 * found, 1) == percent


def test_differences_are_those_of_scipy() -> None:
    values = [-0.3, 0.1, -0.2, -0.4, -0.35]
    found = paired(values, "difference")
    known = stats.ttest_1samp(values, 0)
    low, high = known.confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p_value == pytest.approx(known.pvalue)


def test_a_slope_is_that_of_scipy() -> None:
    x, y = [1.0, 2.0, 3.0, 4.0, 6.0], [1.1, 1.9, 3.2, 3.9, 6.3]
    (found,) = slopes([x], y, "difference")
    known = stats.linregress(x, y)
    half = stats.t.ppf(0.975, 3) * known.stderr
    assert found.value == pytest.approx(known.slope)
    assert (found.low, found.high) == pytest.approx((known.slope - half, known.slope + half))


def test_degrees_of_freedom_are_those_of_welch() -> None:
    one, other = [1.0, 1.2, 1.1, 1.4], [2.0, 2.6, 2.1]
    parts = [
        Scatter(0, stats.tvar(values) / len(values), len(values) - 1) for values in (one, other)
    ]
    known = stats.ttest_ind(one, other, equal_var=False)
    assert combined(parts, 0).freedom == pytest.approx(known.df)


def test_holm_corrects_step_by_step() -> None:
    ps = {"a": 0.01, "b": 0.04, "c": 0.03}
    found = with_holm({key: Estimate(1.0, p_value=p) for key, p in ps.items()})
    assert {key: one.p_value for key, one in found.items()} == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06}
    )


def test_a_front_is_of_means_and_sure_only_beyond_the_scatter(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, repetitions=2)
    spots = {0.1: (1.0, 90.0), 0.2: (1.5, 92.0), 0.4: (1.51, 91.99), 0.8: (2.0, 80.0)}
    for rate, (energy, accuracy) in spots.items():
        for repetition, wobble in enumerate((0.99, 1.01), start=1):
            figures = Figures(60, 3000 * energy * wobble, 12000 * energy * wobble,
                              {"accuracy": accuracy + wobble - 1})  # fmt: skip
            campaign.run({"learning_rate": rate}, figures, repetition=repetition)
    (study,) = answer(read_runs([tmp_path]), Options(better={"accuracy": "higher"})).studies
    (front,) = study.fronts
    standing = [(one.is_on_front, one.is_surely_dominated) for one in front.points]
    assert standing == [(True, False), (True, False), (False, False), (False, True)]
    (turned,) = answer(read_runs([tmp_path]), Options(better={"accuracy": "lower"})).studies
    assert [one.is_on_front for one in turned.fronts[0].points] == [True, False, False, True]
