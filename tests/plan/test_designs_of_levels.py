"""The designs that count for themselves: every combination of levels, and one name at a time."""

from __future__ import annotations

from collections import Counter

import pytest
from drawing import BATCH, DECAY, EPOCHS, FOLDS, RATE, SEED, draw_mutants

from wattest.config.design import Design
from wattest.errors import ConfigurationError

# Factorial

FACTORIAL = Design("factorial", {"rate": (0.01, 0.1), "epochs": (5, 10, 20.0)})


def test_a_factorial_design_is_every_combination_with_the_defaults_among_them():
    mutants = draw_mutants([RATE, EPOCHS], None, seed=1, design=FACTORIAL)
    assert [tuple(mutant.items()) for mutant in mutants] == [
        (("rate", rate), ("epochs", epochs)) for rate in (0.01, 0.1) for epochs in (5, 10, 20)
    ]
    assert all(type(mutant["epochs"]) is int for mutant in mutants)
    assert draw_mutants([RATE, EPOCHS], 6, seed=2, design=FACTORIAL) == mutants


def test_a_factorial_design_takes_levels_of_the_registry():
    mutants = draw_mutants([BATCH], None, seed=1, design="factorial")
    assert [mutant["batch"] for mutant in mutants] == [16, 32, 64, 128]


@pytest.mark.parametrize("count", [1, 5])
def test_a_factorial_design_is_never_cut_short(count: int):
    with pytest.raises(
        ConfigurationError,
        match=f"has 6 combinations, {count} were asked for; set runs_per_config to 6",
    ):
        draw_mutants([RATE, EPOCHS], count, seed=1, design=FACTORIAL)


def test_a_factorial_design_leaves_out_what_stands_in_the_history():
    taken = [(0.1, 10), (0.01, 5), (0.5, 5)]
    mutants = draw_mutants([RATE, EPOCHS], None, seed=1, design=FACTORIAL, taken=taken)
    assert len(mutants) == 4
    for count in (6, 7):
        with pytest.raises(ConfigurationError, match=r"has 4 combinations \(6 in all, of which 2"):
            draw_mutants([RATE, EPOCHS], count, seed=1, design=FACTORIAL, taken=taken)
    with pytest.raises(ConfigurationError, match=r"has 0 combinations.*asked for$"):
        draw_mutants(
            [BATCH],
            None,
            seed=1,
            design="factorial",
            taken=[(16,), (32,), (64,), (128,)],
        )


@pytest.mark.parametrize(
    ("levels", "fault"),
    [
        ({"rate": (0.01,)}, "needs levels of epochs"),
        ({"rate": (0.01,), "epoch": (5,)}, "levels of 'epoch', which is not mutated; did you mean"),
        ({"rate": (0.01, 7), "epochs": (5,)}, r"levels of rate: 7 is outside the range \[0.0001"),
        ({"rate": (0.01,), "epochs": (5.5,)}, "levels of epochs: 5.5 is not an int"),
    ],
)
def test_levels_that_do_not_fit_are_refused_with_their_reason(levels, fault: str):
    with pytest.raises(ConfigurationError, match=fault):
        draw_mutants([RATE, EPOCHS], None, seed=1, design=Design("factorial", levels))


def test_a_level_may_be_zero_or_the_default_where_the_parameter_knows_them():
    design = Design("factorial", {"decay": (0, 0.001)})
    assert [one["decay"] for one in draw_mutants([DECAY], 2, seed=1, design=design)] == [0.0, 0.001]


# One at a time

ALONE = Design("one_at_a_time")


def test_one_at_a_time_varies_each_name_in_turn_and_leaves_the_others_out():
    mutants = draw_mutants([RATE, EPOCHS, SEED], 9, seed=1, design=ALONE)
    assert [list(mutant) for mutant in mutants] == [["rate"], ["epochs"], ["seed"]] * 3
    assert all(mutant.get("rate") != 0.1 and mutant.get("epochs") != 10 for mutant in mutants)


def test_one_at_a_time_draws_from_the_names_that_are_left():
    parameters = [FOLDS, BATCH, SEED]
    mutants = draw_mutants(parameters, 21, seed=1, design=ALONE)
    drawn = Counter(name for mutant in mutants for name in mutant)
    assert drawn == {"folds": 8, "batch": 3, "seed": 10}
    assert len({tuple(mutant.items()) for mutant in mutants}) == 21
    with pytest.raises(
        ConfigurationError,
        match=r"only 21 .* 22 were asked for \(8 of folds, 3 of batch, 10 of seed",
    ):
        draw_mutants(parameters, 22, seed=1, design=ALONE)


def test_one_at_a_time_over_levels_knows_its_own_count():
    design = Design("one_at_a_time", {"rate": (0.01, 0.1, 0.5)})
    mutants = draw_mutants([RATE, BATCH], None, seed=1, design=design)
    assert {tuple(*mutant.items()) for mutant in mutants} == {
        ("rate", 0.01),
        ("rate", 0.5),
        ("batch", 16),
        ("batch", 64),
        ("batch", 128),
    }
    assert len(draw_mutants([RATE, BATCH], None, seed=1, design=ALONE)) == 1


def test_what_one_name_draws_alone_does_not_depend_on_the_others():
    with_folds = draw_mutants([RATE, FOLDS], 6, seed=1, design=ALONE)
    with_batch = draw_mutants([BATCH, RATE], 6, seed=1, design=ALONE)
    rates = [
        [one["rate"] for one in mutants if "rate" in one] for mutants in (with_folds, with_batch)
    ]
    assert rates[0] == rates[1]


def test_one_at_a_time_avoids_what_earlier_runs_varied_alone():
    past = {("folds",): {(value,) for value in range(2, 6)}, ("batch",): {(16,)}}
    # The others stand at their defaults in the first two only.
    taken = [(6, 32, None), (7, 32, None), (8, 64, None)]
    mutants = draw_mutants(
        [FOLDS, BATCH, SEED],
        14,
        seed=1,
        design=ALONE,
        taken=taken,
        past=lambda names: past.get(names, ()),
    )
    assert {one["folds"] for one in mutants if "folds" in one} == {8, 9}
    assert {one["batch"] for one in mutants if "batch" in one} == {64, 128}
