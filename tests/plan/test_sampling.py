"""What `random` mutants promise: distribution, uniqueness, exact counts, reproduction."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from decimal import Decimal, localcontext

import pytest
from drawing import as_tuples, draw_mutants, floats, ints
from scipy import stats

from wattest.config.program import Hyperparameter, Value
from wattest.errors import ConfigurationError
from wattest.plan.sampling import derive_seed, quantile

# The seeds are fixed, so a right implementation passes always and a wrong one fails always.
LEAST_P = 1e-3


def first_draws(parameter: Hyperparameter, seeds: int) -> list[Value]:
    """Return the first value of each of many seeds: independent draws with repetition."""
    drawn = (draw_mutants([parameter], 1, seed=derive_seed(7, str(n))) for n in range(seeds))
    return [mutant[parameter.name] for (mutant,) in drawn]


def many(parameter: Hyperparameter, count: int) -> list[Value]:
    return [value for (value,) in as_tuples(draw_mutants([parameter], count, seed=11))]


# Distributions


def test_uniform_floats_are_uniform() -> None:
    assert stats.kstest(many(floats(-2, 3), 5000), stats.uniform(-2, 5).cdf).pvalue > LEAST_P


def test_log_uniform_floats_are_uniform_in_the_logarithm() -> None:
    drawn = many(floats(1e-6, 0.5, "log_uniform"), 5000)
    assert stats.kstest(drawn, stats.loguniform(1e-6, 0.5).cdf).pvalue > LEAST_P


def test_every_integer_of_a_uniform_range_is_equally_likely() -> None:
    counts = Counter(first_draws(ints(2, 10), 4500))
    assert set(counts) == set(range(2, 11))
    assert stats.chisquare([counts[n] for n in range(2, 11)]).pvalue > LEAST_P


def test_log_uniform_integers_have_no_edge_bias() -> None:
    counts = Counter(first_draws(ints(1, 8, "log_uniform"), 4000))
    share = [math.log((n + 0.5) / (n - 0.5)) / math.log(8.5 / 0.5) for n in range(1, 9)]
    expected = [4000 * one for one in share]
    assert stats.chisquare([counts[n] for n in range(1, 9)], expected).pvalue > LEAST_P


def test_levels_are_equally_likely_and_nothing_else_is_drawn() -> None:
    counts = Counter(first_draws(ints(16, 128, "log_uniform", levels=(16, 32, 64, 128)), 2000))
    assert set(counts) == {16, 32, 64, 128}
    assert stats.chisquare(list(counts.values())).pvalue > LEAST_P


def test_zero_probability_gives_exact_zeros_and_leaves_the_rest_as_it_was() -> None:
    decay = floats(1e-5, 1e-2, "log_uniform", zero_probability=0.3)
    drawn = first_draws(decay, 3000)
    zeros = [value for value in drawn if value == 0]
    rest = [value for value in drawn if value != 0]
    assert stats.binomtest(len(zeros), 3000, 0.3).pvalue > LEAST_P
    assert stats.kstest(rest, stats.loguniform(1e-5, 1e-2).cdf).pvalue > LEAST_P
    assert all(math.copysign(1, value) == 1 for value in zeros)


def test_names_are_drawn_independently_of_each_other() -> None:
    drawn = as_tuples(draw_mutants([floats(0, 1, name="a"), floats(0, 1, name="b")], 2000, seed=3))
    assert stats.spearmanr(*map(list, zip(*drawn, strict=True))).pvalue > LEAST_P


def test_successive_mutants_and_neighbouring_seeds_are_independent() -> None:
    drawn = many(floats(0, 1), 2000)
    assert stats.spearmanr(drawn[:-1], drawn[1:]).pvalue > LEAST_P
    first = [draw_mutants([floats(0, 1)], 1, seed=seed)[0]["x"] for seed in range(1000)]
    assert stats.kstest(first, "uniform").pvalue > LEAST_P
    assert stats.spearmanr(first[:-1], first[1:]).pvalue > LEAST_P


def test_log_uniform_values_are_right_to_their_last_digit() -> None:
    parameter = floats(1e-6, 0.5, "log_uniform")
    with localcontext() as context:
        context.prec = 50
        low, high = Decimal(parameter.minimum), Decimal(parameter.maximum)
        for step in range(1000):
            unit = step / 1000 + 0.000123
            true = low * (high / low) ** Decimal(unit)
            assert quantile(parameter, unit) == float(f"{true:.12g}")


# Types and ranges


def test_ints_are_ints_and_floats_are_floats() -> None:
    parameters = [ints(1, 9), floats(0, 1), ints(2, 8, name="l", levels=(2, 4, 8))]
    for drawn in as_tuples(draw_mutants(parameters, 20)):
        assert [type(value) for value in drawn] == [int, float, int]


def test_both_ends_of_an_integer_range_are_drawn() -> None:
    assert sorted(many(ints(-1, 1), 3)) == [-1, 0, 1]
    assert sorted(many(ints(1, 3, "log_uniform"), 3)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("low", "high", "distribution"),
    [
        (0.1, 0.1 + 3e-17, "uniform"),
        (0.1, math.nextafter(0.1, 1), "uniform"),
        (0.3, math.nextafter(0.3, 1), "log_uniform"),
        (0.1234567890123456, 0.1234567890123999, "uniform"),
        (5e-324, 1e-320, "uniform"),
        (5e-324, 1.7e308, "log_uniform"),
        (-1.7e308, 1.7e308, "uniform"),
        (1e300, 1.7976931348623157e308, "log_uniform"),
        (1.0, 1.0, "log_uniform"),
        (-0.0, 0.0, "uniform"),
    ],
)
def test_no_float_leaves_its_range(low: float, high: float, distribution: str) -> None:
    for value in first_draws(floats(low, high, distribution), 50):
        assert low <= value <= high
        assert float(repr(value)) == value


def test_a_drawn_float_has_twelve_significant_digits() -> None:
    for parameter in (floats(1e-6, 0.5, "log_uniform"), floats(-3, 7e5)):
        for value in many(parameter, 500):
            assert value == float(f"{value:.12g}")


def test_huge_integer_ranges_stay_integers_in_range() -> None:
    for parameter in (ints(0, 10**30), ints(1, 10**30, "log_uniform")):
        drawn = many(parameter, 100)
        assert len(set(drawn)) == 100
        assert all(type(value) is int and 0 <= value <= 10**30 for value in drawn)


# Distinct, not the default, not taken


def test_mutants_are_distinct_and_none_is_the_default() -> None:
    parameters = [ints(1, 4, default=2, name="a"), ints(1, 4, default=3, name="b")]
    drawn = as_tuples(draw_mutants(parameters, 15))
    assert set(drawn) == set(itertools.product(range(1, 5), repeat=2)) - {(2, 3)}
    assert any(a == 2 for a, _ in drawn), "one name may well keep its default"


def test_a_null_default_excludes_nothing() -> None:
    parameters = [ints(1, 2, default=None, name="a"), ints(1, 2, default=1, name="b")]
    assert len(draw_mutants(parameters, 4)) == 4


def test_a_default_outside_the_range_excludes_nothing() -> None:
    assert len(draw_mutants([ints(1, 3, default=200)], 3)) == 3


def test_what_is_taken_is_not_drawn_whatever_the_type_of_the_number() -> None:
    taken = [(1.0,), (3,), (3.0,), (99,), (2.5,)]
    assert set(as_tuples(draw_mutants([ints(1, 4)], 2, taken=taken))) == {(2,), (4,)}


# Exact counts


@pytest.mark.parametrize(
    ("parameters", "taken", "available"),
    [
        ([ints(2, 10, default=10)], [], 8),
        ([ints(2, 10, default=10)], [(10,), (3,), (3.0,), (77,)], 7),
        ([ints(5, 15, "log_uniform", default=10)], [], 10),
        ([ints(0, 0, default=0)], [], 0),
        ([ints(1, 2, zero_probability=0.5)], [], 3),
        ([ints(0, 2, zero_probability=0.5)], [], 3),
        ([ints(-1, 2, zero_probability=0.5, default=0)], [], 3),
        ([ints(1, 9, zero_probability=1.0)], [], 1),
        ([ints(1, 9, zero_probability=1.0, default=0)], [], 0),
        ([floats(0.5, 0.5)], [], 1),
        ([floats(0.5, 0.5, default=0.5)], [], 0),
        ([floats(0.5, 0.5, zero_probability=0.1, default=0.5)], [], 1),
        ([floats(1e-5, 1e-2, "log_uniform", zero_probability=1.0)], [], 1),
        ([ints(16, 64, levels=(16, 32, 64), default=32)], [(64,)], 1),
        ([floats(1, 2, levels=(1, 1.5, 2), zero_probability=0.2)], [], 4),
        ([ints(1, 3, name="a", default=1), ints(1, 3, name="b", default=1)], [(1, 2)], 7),
        # Probabilities whose product is no float, and an integer that has no half beside it.
        ([ints(2, 3, zero_probability=1e-300, name=name) for name in "ab"], [], 9),
        ([ints(int(1e50), int(1e50), "log_uniform", name="a"), ints(0, 3, name="b")], [], 4),
        ([ints(0, 9999, "uniform", default=1)], [(n,) for n in range(0, 9999, 2)], 4999),
    ],
)
def test_a_countable_space_is_drawn_to_its_last_mutant_and_counted_exactly(
    parameters: list[Hyperparameter], taken: list[tuple[Value, ...]], available: int
) -> None:
    drawn = as_tuples(draw_mutants(parameters, available, taken=taken)) if available else []
    assert len(set(drawn)) == available
    assert not set(drawn) & set(taken)
    expected = f"^only {available} distinct .* {available + 1} were asked for"
    with pytest.raises(ConfigurationError, match=expected) as caught:
        draw_mutants(parameters, available + 1, taken=taken)
    assert len(str(caught.value).splitlines()) == 1
    assert "of which )" not in str(caught.value)


def test_an_exhausted_space_says_why_with_numbers() -> None:
    with pytest.raises(ConfigurationError) as caught:
        draw_mutants([ints(2, 10, default=10, name="kfold")], 9, taken=[(2,), (3,)])
    message = str(caught.value)
    assert message.startswith("only 6 distinct mutants of kfold exist, 9 were asked for")
    assert "9 in all, of which 1 is the default, 2 taken by earlier experiments" in message


def test_nothing_to_mutate_is_an_exhausted_space() -> None:
    with pytest.raises(ConfigurationError, match=r"^only 0 distinct mutants of nothing"):
        draw_mutants([], 1)


@pytest.mark.parametrize(
    "parameter",
    [
        floats(1.0, math.nextafter(1.0, 2)),
        floats(1e-5, 1e-2, zero_probability=1 - 1e-12, default=0.0),
    ],
)
def test_drawing_from_floats_that_never_come_up_ends(parameter: Hyperparameter) -> None:
    with pytest.raises(ConfigurationError, match=r"no further distinct mutant of x came up in "):
        draw_mutants([parameter], 3)


def test_what_remains_of_a_nearly_exhausted_space_keeps_its_probabilities() -> None:
    # Beside the default (0, 0) a one is drawn with 1e-6 for a and 3e-6 for b: b gets 3 of 4.
    parameters = [
        ints(1, 1, zero_probability=1 - 1e-6, default=0, name="a"),
        ints(1, 1, zero_probability=1 - 3e-6, default=0, name="b"),
    ]
    drawn = Counter(
        as_tuples(draw_mutants(parameters, 1, seed=derive_seed(1, str(n))))[0] for n in range(400)
    )
    assert set(drawn) == {(0, 1), (1, 0)}
    assert stats.binomtest(drawn[0, 1], 400, 0.75).pvalue > LEAST_P


def test_drawing_a_whole_space_follows_the_probabilities_at_every_step() -> None:
    # Where nearly all draws miss, the order is that of the clocks alone.
    rare = ints(1, 3, "log_uniform", zero_probability=1 - 1e-6, default=0)
    share = {n: math.log((n + 0.5) / (n - 0.5)) / math.log(7) for n in (1, 2, 3)}
    every = list(itertools.permutations((1, 2, 3)))
    expected = [1500 * share[a] * share[b] / (1 - share[a]) for a, b, _ in every]
    for parameter in (ints(1, 3, "log_uniform"), rare):
        orders = Counter(
            tuple(value for (value,) in as_tuples(draw_mutants([parameter], 3, seed=seed)))
            for seed in range(1500)
        )
        assert stats.chisquare([orders[order] for order in every], expected).pvalue > LEAST_P


def test_a_mass_that_is_all_but_taken_leaves_an_endless_rest_to_draw() -> None:
    decay = floats(1e-5, 1e-2, "log_uniform", zero_probability=1 - 1e-3, default=0.0)
    drawn = many(decay, 200)
    assert len(set(drawn)) == 200
    assert stats.kstest(drawn, stats.loguniform(1e-5, 1e-2).cdf).pvalue > LEAST_P
