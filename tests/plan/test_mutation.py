"""What `random` mutants promise: distribution, uniqueness, exact counts, reproduction."""

from __future__ import annotations

import itertools
import math
import os
import random
import subprocess
import sys
from collections import Counter
from decimal import Decimal, localcontext
from pathlib import Path

import pytest
from scipy import stats

from wattest.config.design import parameter_faults
from wattest.config.program import Hyperparameter, Value
from wattest.errors import ConfigurationError
from wattest.plan.doubles import exp
from wattest.plan.mutation import SpaceExhausted, derive_seed, draw_mutants, mutant_key

# The seeds are fixed, so a right implementation passes always and a wrong one fails always.
LEAST_P = 1e-3

GOLDEN_SEED = 10122353354421804872
GOLDEN = [
    (0.010404759662742704, 101, 0.195130192780959, 5245, 0.0),
    (0.0551738991731397, 157, 0.010262355126437861, 6979, 2.453189289645178e-05),
    (1.355176880878319e-05, 176, 0.05190383016148131, 7524, 0.0008558741923078284),
]


def ints(low: float, high: float, distribution: str = "uniform", **more) -> Hyperparameter:
    given = {"name": "n", "default": None, **more}
    return Hyperparameter(
        flag="-n", kind="int", minimum=low, maximum=high, distribution=distribution, **given
    )


def floats(low: float, high: float, distribution: str = "uniform", **more) -> Hyperparameter:
    given = {"name": "x", "default": None, **more}
    return Hyperparameter(
        flag="-x", kind="float", minimum=low, maximum=high, distribution=distribution, **given
    )


def first_draws(parameter: Hyperparameter, seeds: int) -> list[Value]:
    """Return the first value of each of many seeds: independent draws with repetition."""
    drawn = (draw_mutants([parameter], 1, seed=derive_seed(7, str(n))) for n in range(seeds))
    return [mutant[parameter.name] for (mutant,) in drawn]


def many(parameter: Hyperparameter, count: int) -> list[Value]:
    return [mutant[parameter.name] for mutant in draw_mutants([parameter], count, seed=11)]


def as_tuples(mutants) -> list[tuple[Value, ...]]:
    return [tuple(mutant.values()) for mutant in mutants]


# Distributions


def test_uniform_floats_are_uniform():
    values = many(floats(-2.0, 3.0), 5000)
    assert stats.kstest(values, stats.uniform(-2, 5).cdf).pvalue > LEAST_P


def test_log_uniform_floats_are_uniform_in_the_logarithm():
    values = many(floats(1e-6, 0.5, "log_uniform"), 5000)
    assert stats.kstest(values, stats.loguniform(1e-6, 0.5).cdf).pvalue > LEAST_P


def test_every_integer_of_a_uniform_range_is_equally_likely():
    counts = Counter(first_draws(ints(2, 10), 4500))
    assert set(counts) == set(range(2, 11))
    assert stats.chisquare([counts[n] for n in range(2, 11)]).pvalue > LEAST_P


def test_log_uniform_integers_have_no_edge_bias():
    counts = Counter(first_draws(ints(1, 8, "log_uniform"), 4000))
    share = [math.log((n + 0.5) / (n - 0.5)) / math.log(8.5 / 0.5) for n in range(1, 9)]
    expected = [4000 * one for one in share]
    assert stats.chisquare([counts[n] for n in range(1, 9)], expected).pvalue > LEAST_P


def test_levels_are_equally_likely_and_nothing_else_is_drawn():
    counts = Counter(first_draws(ints(16, 128, "log_uniform", levels=(16, 32, 64, 128)), 2000))
    assert set(counts) == {16, 32, 64, 128}
    assert stats.chisquare(list(counts.values())).pvalue > LEAST_P


def test_zero_probability_gives_exact_zeros_and_leaves_the_rest_as_it_was():
    decay = floats(1e-5, 1e-2, "log_uniform", zero_probability=0.3)
    values = first_draws(decay, 3000)
    zeros = [value for value in values if value == 0]
    rest = [value for value in values if value != 0]
    assert stats.binomtest(len(zeros), 3000, 0.3).pvalue > LEAST_P
    assert stats.kstest(rest, stats.loguniform(1e-5, 1e-2).cdf).pvalue > LEAST_P
    assert all(math.copysign(1, value) == 1 for value in zeros)


def test_names_are_drawn_independently_of_each_other():
    mutants = draw_mutants([floats(0, 1, name="a"), floats(0, 1, name="b")], 2000, seed=3)
    pairs = [list(column) for column in zip(*as_tuples(mutants), strict=True)]
    assert stats.spearmanr(*pairs).pvalue > LEAST_P


def test_successive_mutants_and_neighbouring_seeds_are_independent():
    values = many(floats(0, 1), 2000)
    assert stats.spearmanr(values[:-1], values[1:]).pvalue > LEAST_P
    first = [draw_mutants([floats(0, 1)], 1, seed=seed)[0]["x"] for seed in range(1000)]
    assert stats.kstest(first, "uniform").pvalue > LEAST_P
    assert stats.spearmanr(first[:-1], first[1:]).pvalue > LEAST_P


# Types and ranges


def test_ints_are_ints_and_floats_are_floats():
    parameters = [ints(1.0, 9.0), floats(0, 1), ints(2, 8, name="l", levels=(2.0, 4.0, 8.0))]
    for mutant in draw_mutants(parameters, 20, seed=1):
        assert [type(value) for value in mutant.values()] == [int, float, int]


def test_both_ends_of_an_integer_range_are_drawn():
    assert sorted(many(ints(-1, 1), 3)) == [-1, 0, 1]
    assert sorted(many(ints(1, 3, "log_uniform"), 3)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("low", "high", "distribution"),
    [
        (0.1, 0.1 + 3e-17, "uniform"),
        (0.1, math.nextafter(0.1, 1), "uniform"),
        (0.3, math.nextafter(0.3, 1), "log_uniform"),
        (5e-324, 1e-320, "uniform"),
        (5e-324, 1.7e308, "log_uniform"),
        (-1.7e308, 1.7e308, "uniform"),
        (1e300, 1.7976931348623157e308, "log_uniform"),
        (1.0, 1.0, "log_uniform"),
        (-0.0, 0.0, "uniform"),
    ],
)
def test_no_float_leaves_its_range(low: float, high: float, distribution: str):
    for value in first_draws(floats(low, high, distribution), 50):
        assert low <= value <= high
        assert float(repr(value)) == value


def test_huge_integer_ranges_stay_integers_in_range():
    for parameter in (ints(0, 10**30), ints(1, 10**30, "log_uniform")):
        values = many(parameter, 100)
        assert len(set(values)) == 100
        assert all(type(value) is int and 0 <= value <= 10**30 for value in values)


def test_exp_is_right_to_the_last_bits():
    with localcontext() as context:
        context.prec = 40
        for step in range(-7000, 7090, 7):
            x = step / 10 + 0.0123
            true = Decimal(x).exp()
            assert abs(Decimal(exp(x)) - true) <= true * Decimal("4.5e-16")


# Distinct, not the default, not taken


def test_mutants_are_distinct_and_none_is_the_default():
    parameters = [ints(1, 4, default=2, name="a"), ints(1, 4, default=3, name="b")]
    mutants = as_tuples(draw_mutants(parameters, 15, seed=5))
    assert set(mutants) == set(itertools.product(range(1, 5), repeat=2)) - {(2, 3)}
    assert any(a == 2 for a, _ in mutants), "one name may well keep its default"


def test_a_null_default_excludes_nothing():
    parameters = [ints(1, 2, default=None, name="a"), ints(1, 2, default=1, name="b")]
    assert len(draw_mutants(parameters, 4, seed=5)) == 4


def test_a_default_outside_the_range_excludes_nothing():
    assert len(draw_mutants([ints(1, 3, default=200)], 3, seed=5)) == 3


def test_what_is_taken_is_not_drawn_whatever_the_type_of_the_number():
    assert many_with_taken([(1.0,), (3,), (3.0,), (99,), (2.5,)]) == {2, 4}


def many_with_taken(taken) -> set[Value]:
    return {mutant["n"] for mutant in draw_mutants([ints(1, 4)], 2, seed=2, taken=taken)}


def test_taken_values_of_another_shape_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="one value for each"):
        draw_mutants([ints(1, 4)], 1, seed=1, taken=[(1, 2)])


# Exact counts

ULP_3 = math.nextafter(math.nextafter(1.0, 2), 2)


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
        ([floats(1.0, ULP_3)], [(1,)], 2),
        ([floats(-5e-324, 5e-324)], [], 3),
        ([floats(1e-5, 1e-2, "log_uniform", zero_probability=1.0)], [], 1),
        ([ints(16, 64, levels=(16, 32, 64), default=32)], [(64,)], 1),
        ([floats(1, 2, levels=(1, 1.5, 2), zero_probability=0.2)], [], 4),
        ([ints(1, 3, name="a", default=1), ints(1, 3, name="b", default=1)], [(1, 2)], 7),
        ([ints(0, 9999, "uniform", default=1)], [(n,) for n in range(0, 9999, 2)], 4999),
    ],
)
def test_a_finite_space_is_drawn_to_its_last_mutant_and_counted_exactly(
    parameters, taken, available
):
    mutants = as_tuples(draw_mutants(parameters, available, seed=9, taken=taken))
    assert len(set(mutants)) == available
    assert not set(mutants) & set(taken)
    with pytest.raises(SpaceExhausted, match=f"^only {available} distinct") as caught:
        draw_mutants(parameters, available + 1, seed=9, taken=taken)
    assert (caught.value.asked, caught.value.available) == (available + 1, available)
    assert len(str(caught.value).splitlines()) == 1


def test_an_exhausted_space_says_why_with_numbers():
    with pytest.raises(SpaceExhausted) as caught:
        draw_mutants([ints(2, 10, default=10, name="kfold")], 9, seed=1, taken=[(2,), (3,)])
    message = str(caught.value)
    assert message.startswith("only 6 distinct mutants of kfold exist, 9 were asked for")
    assert "9 in all, of which 1 is the default, 2 taken by earlier experiments" in message


def test_nothing_to_mutate_is_an_exhausted_space():
    with pytest.raises(SpaceExhausted, match=r"^only 0 distinct mutants of nothing"):
        draw_mutants([], 1, seed=1)


def test_what_remains_of_a_nearly_exhausted_space_keeps_its_probabilities():
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


def test_drawing_a_whole_space_follows_the_probabilities_at_every_step():
    orders = Counter(
        tuple(mutant["n"] for mutant in draw_mutants([ints(1, 3, "log_uniform")], 3, seed=seed))
        for seed in range(1500)
    )
    share = {n: math.log((n + 0.5) / (n - 0.5)) / math.log(7) for n in (1, 2, 3)}
    every = list(itertools.permutations((1, 2, 3)))
    expected = [1500 * share[a] * share[b] / (1 - share[a]) for a, b, _ in every]
    assert stats.chisquare([orders[order] for order in every], expected).pvalue > LEAST_P


def test_a_mass_that_is_all_but_taken_leaves_an_endless_rest_to_draw():
    decay = floats(1e-5, 1e-2, "log_uniform", zero_probability=1 - 1e-12, default=0.0)
    values = many(decay, 200)
    assert len(set(values)) == 200
    assert stats.kstest(values, stats.loguniform(1e-5, 1e-2).cdf).pvalue > LEAST_P


# Reproduction


def test_the_same_seed_draws_the_same_and_another_seed_does_not():
    parameters = [floats(0, 1), ints(1, 10**6)]
    assert draw_mutants(parameters, 50, seed=4) == draw_mutants(parameters, 50, seed=4)
    seeds: list[int | str] = [4, -4, 5, "4", "4 ", 2**70]
    assert len({draw_mutants(parameters, 1, seed=seed)[0]["x"] for seed in seeds}) == len(seeds)


def test_these_values_belong_to_this_seed_for_good():
    parameters = [
        floats(1e-6, 0.5, "log_uniform", name="learning_rate"),
        ints(100, 300, "log_uniform", name="epochs"),
        floats(0.0, 0.5, name="dropout"),
        ints(0, 9999, name="seed"),
        floats(1e-5, 1e-2, "log_uniform", zero_probability=0.3, name="weight_decay"),
    ]
    drawn = as_tuples(draw_mutants(parameters, 3, seed=derive_seed(2025, "golden")))
    assert drawn == GOLDEN


def test_more_mutants_begin_with_the_fewer():
    parameters = [ints(0, 20, default=3), floats(0, 1, levels=(0, 0.5, 1))]
    everything = draw_mutants(parameters, 63, seed=8)
    for count in (0, 1, 5, 62):
        assert draw_mutants(parameters, count, seed=8) == everything[:count]


def test_the_order_in_which_taken_mutants_are_named_changes_nothing():
    # Multiples of this number hash alike, so that a set keeps them in the order of insertion.
    step = sys.hash_info.modulus
    levels = (step, 2 * step, 3 * step)
    rare = {"levels": levels, "zero_probability": 1 - 1e-9, "default": 0}
    parameters = [ints(0, 3 * step, name=name, **rare) for name in ("a", "b")]
    taken = [(step, step), (2 * step, step)]
    for seed in range(40):
        first = draw_mutants(parameters, 1, seed=seed, taken=taken)
        assert draw_mutants(parameters, 1, seed=seed, taken=taken[::-1]) == first


def test_global_random_state_is_neither_used_nor_changed():
    random.seed(1)
    before = random.getstate()
    first = draw_mutants([floats(0, 1)], 3, seed=1)
    assert random.getstate() == before
    random.seed(2)
    assert draw_mutants([floats(0, 1)], 3, seed=1) == first


SCRIPT = """
import sys
from wattest.plan.mutation import draw_mutants
from wattest.config.program import Hyperparameter
n = Hyperparameter("n", "-n", "int", None, 0, 999, "uniform")
x = Hyperparameter("x", "-x", "float", 0.0, 1e-5, 1, "log_uniform", 0.9)
taken = frozenset((value,) for value in range(990))
print(draw_mutants([n], 10, seed="s", taken=taken), draw_mutants([n, x], 3, seed="s"))
print(sorted({"numpy", "scipy", "torch"} & set(sys.modules)))
"""


def test_another_process_draws_the_same_and_loads_no_heavy_module():
    outputs = set()
    for hash_seed in ("0", "1"):
        path = str(Path(__file__).parents[2] / "src")
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        command = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        outputs.add(done.stdout)
    (output,) = outputs
    assert output.splitlines()[1] == "[]"


def test_derived_seeds_tell_parts_and_their_borders_apart():
    seeds = [
        derive_seed(1),
        derive_seed(1, ""),
        derive_seed(1, "ab", "c"),
        derive_seed(1, "a", "bc"),
        derive_seed(1, "abc"),
        derive_seed(2, "abc"),
        derive_seed(-1, "abc"),
        derive_seed(1, "\udce9"),
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert derive_seed(2025, "entry", "ü") == GOLDEN_SEED


def test_the_key_of_a_mutant_fills_in_defaults():
    parameters = [ints(1, 3, default=2, name="a"), floats(0, 1, name="b")]
    assert mutant_key({"b": 0.5}, parameters) == (2, 0.5)
    assert mutant_key({}, parameters) == (2, None)


# Faults


@pytest.mark.parametrize(
    ("parameter", "fault"),
    [
        (ints(5, 2), "range: [5, 2] is upside down"),
        (ints(1.5, 4), "range: 1.5 is not an int"),
        (ints(1, 4, default=2.5), "default: 2.5 is not an int"),
        (ints(1, 4, levels=(1, 2.5)), "levels: 2.5 is not an int"),
        (ints(1, 4, levels=()), "levels: must not be empty"),
        (ints(1, 4, levels=(2, 2.0)), "levels: name a value twice"),
        (ints(1, 4, levels=(2, 5)), "levels: 5 is outside the range [1, 4]"),
        (ints(1, 4, levels=(2, 0)), "levels: 0 is outside"),
        (floats(0, 1, "log_uniform"), "range: log_uniform must begin above 0"),
        (floats(-1, 1, "log_uniform"), "range: log_uniform must begin above 0"),
        (floats(math.nan, 1), "range: nan is not a number"),
        (floats(0, math.inf), "range: inf is not a number"),
        (floats(0, 1, default=math.nan), "default: nan is not a number"),
        (floats(0, 1, default="0.5"), "default: 0.5 is not a number"),
        (floats(0, 1, default=True), "default: True is not a number"),
        (floats(0, 1, zero_probability=1.5), "zero_probability: 1.5 is not in [0, 1]"),
        (floats(0, 1, zero_probability=-0.1), "zero_probability: -0.1 is not in [0, 1]"),
        (floats(0, 1, zero_probability=math.nan), "zero_probability: nan is not in [0, 1]"),
    ],
)
def test_a_contradiction_is_named_and_nothing_is_drawn(parameter: Hyperparameter, fault: str):
    (found,) = parameter_faults(parameter)
    assert found.startswith(fault)
    with pytest.raises(ConfigurationError, match=f"{parameter.name}: "):
        draw_mutants([parameter], 1, seed=1)


@pytest.mark.parametrize(
    "parameter",
    [
        ints(1.0, 4.0, default=4.0),
        ints(1, 4, zero_probability=0.5, levels=(0, 2)),
        ints(1, 4, default=9, levels=(2, 9)),
        floats(1e-5, 1e-2, "log_uniform", default=0.0, zero_probability=0.3),
    ],
)
def test_what_is_merely_unusual_is_no_fault(parameter: Hyperparameter):
    assert parameter_faults(parameter) == []


def test_a_name_that_stands_twice_is_refused():
    with pytest.raises(ConfigurationError, match="twice"):
        draw_mutants([ints(1, 4), ints(1, 4)], 1, seed=1)
