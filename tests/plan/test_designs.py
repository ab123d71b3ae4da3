"""The designs of mutation: what each spreads, how it is extended, and what it refuses."""

from __future__ import annotations

import itertools
import math
import warnings
from collections import Counter

import pytest
from drawing import BATCH, DECAY, DROPOUT, EPOCHS, FOLDS, RATE, as_tuples, draw_mutants
from scipy.stats import qmc

from wattest.config.design import Design
from wattest.config.program import Hyperparameter
from wattest.errors import ConfigurationError
from wattest.plan.designs import draw

POINT_DESIGNS = ("random", "latin_hypercube", "sobol")
DESIGNS = (*POINT_DESIGNS, "factorial", "one_at_a_time")


def units(mutants) -> list[tuple[float, float]]:
    """Return where each mutant of RATE and DROPOUT lies in the unit square."""
    return [(math.log(one["rate"] / 1e-4) / math.log(1e4), one["dropout"] / 0.5) for one in mutants]


def strata(values, count: int) -> list[int]:
    return sorted(int(value * count) for value in values)


# All designs


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_repeats_itself_and_keeps_to_ranges_and_uniqueness(name: str):
    design = Design(name, {"rate": (0.001, 0.01, 0.1)} if name == "factorial" else {})
    parameters = [RATE, BATCH] if name == "factorial" else [RATE, DROPOUT, EPOCHS, DECAY, BATCH]
    count = 12 if name == "factorial" else 60
    mutants = draw_mutants(parameters, count, seed=3, design=design)
    assert mutants == draw_mutants(parameters, count, seed=3, design=design)
    assert len({tuple(mutant.items()) for mutant in mutants}) == len(mutants) == count
    for mutant in mutants:
        assert 1e-4 <= mutant.get("rate", 0.1) <= 1.0
        assert 1 <= mutant.get("epochs", 1) <= 1000
        decay = mutant.get("decay", 0.0)
        assert decay == 0 or 1e-5 <= decay <= 1e-2
        assert mutant.get("batch", 16) in (16, 32, 64, 128)


@pytest.mark.parametrize("name", [*POINT_DESIGNS, "one_at_a_time"])
def test_another_seed_draws_something_else(name: str):
    drawn = [draw_mutants([RATE], 4, seed=seed, design=name) for seed in (1, 2)]
    assert not {one["rate"] for one in drawn[0]} & {one["rate"] for one in drawn[1]}


@pytest.mark.parametrize("name", ["random", "sobol", "one_at_a_time"])
def test_extendable_designs_begin_with_what_they_had(name: str):
    parameters = [RATE, FOLDS, DECAY]
    more = draw_mutants(parameters, 50, seed=6, design=name)
    for count in (1, 3, 8, 33):
        assert draw_mutants(parameters, count, seed=6, design=name) == more[:count]


@pytest.mark.parametrize("name", POINT_DESIGNS)
def test_a_small_space_is_drawn_to_the_end_and_not_beyond(name: str):
    parameters = [FOLDS, Hyperparameter("flag", "-f", "int", 0, 0, 1, "uniform")]
    taken = [(2, 0), (2, 1)]
    mutants = draw_mutants(parameters, 15, seed=1, design=name, taken=taken)
    every = set(itertools.product(range(2, 11), (0, 1)))
    assert {tuple(mutant.values()) for mutant in mutants} == every - {(2, 0), (2, 1), (10, 0)}
    with pytest.raises(ConfigurationError, match="only 15 "):
        draw_mutants(parameters, 16, seed=1, design=name, taken=taken)


@pytest.mark.parametrize("name", POINT_DESIGNS)
def test_history_is_asked_for_the_mutated_names_and_obeyed(name: str):
    asked = []

    def history(names):
        asked.append(names)
        return {(value,) for value in range(2, 8)}

    mutants = draw_mutants([FOLDS], 2, seed=1, design=name, past=history)
    assert asked == [("folds",)]
    assert {mutant["folds"] for mutant in mutants} == {8, 9}


@pytest.mark.parametrize("name", POINT_DESIGNS)
def test_levels_of_the_design_replace_the_distribution_and_its_zeros(name: str):
    design = Design(name, {"decay": (0.001, 0.0001)})
    mutants = draw_mutants([DECAY, RATE], 40, seed=2, design=design)
    counts = Counter(mutant["decay"] for mutant in mutants)
    assert set(counts) == {0.001, 0.0001}
    if name != "random":
        assert set(counts.values()) == {20}


@pytest.mark.parametrize("name", [*POINT_DESIGNS, "one_at_a_time"])
def test_without_a_count_one_mutant_is_drawn(name: str):
    assert draw_mutants([RATE], None, seed=1, design=name) == draw_mutants(
        [RATE], 1, seed=1, design=name
    )


# Latin hypercube


def test_a_latin_hypercube_uses_every_stratum_of_every_name_once():
    design = Design("latin_hypercube")
    for count in (1, 7, 50):
        points = units(draw_mutants([RATE, DROPOUT], count, seed=4, design=design))
        for column in zip(*points, strict=True):
            assert strata(column, count) == list(range(count))


def test_a_latin_hypercube_pairs_its_strata_anew_for_each_seed():
    pairs = Counter()
    for seed in range(400):
        points = units(draw_mutants([RATE, DROPOUT], 2, seed=seed, design="latin_hypercube"))
        pairs[tuple(tuple(int(unit * 2) for unit in point) for point in points)] += 1
    assert len(pairs) == 4
    assert min(pairs.values()) > 60


def test_a_latin_hypercube_spreads_zeros_as_their_probability():
    mutants = draw_mutants([DECAY, RATE], 40, seed=4, design="latin_hypercube")
    assert sum(mutant["decay"] == 0 for mutant in mutants) == 10


def test_what_is_taken_is_drawn_again_within_its_stratum():
    design = Design("latin_hypercube")
    first = as_tuples(draw_mutants([EPOCHS], 10, seed=4, design=design))
    second, notes = draw([EPOCHS], 10, seed=4, design=design, taken=first)
    assert not set(first) & set(as_tuples(second))
    assert strata(((one["epochs"] - 0.5) / 1000 for one in second), 10) == list(range(10))
    assert notes == []


def test_a_stratum_without_a_free_value_is_left_with_a_note():
    drawn, notes = draw([DECAY], 8, seed=4, design=Design("latin_hypercube"))
    assert notes == ["2 of 8 mutants lie outside their strata, where all are taken"]
    assert len({mutant["decay"] for mutant in drawn} - {0.0}) == 8


# Sobol'


def test_a_sobol_sequence_fills_every_dyadic_stratum_once():
    for seed in range(5):
        points = units(draw_mutants([RATE, DROPOUT], 64, seed=seed, design="sobol"))
        for column in zip(*points, strict=True):
            assert strata(column, 64) == list(range(64))
        cells = {(int(x * 8), int(y * 8)) for x, y in points}
        assert len(cells) == 64


def test_a_sobol_sequence_covers_the_square_better_than_chance():
    spread = {
        name: qmc.discrepancy(units(draw_mutants([RATE, DROPOUT], 100, seed=1, design=name)))
        for name in ("random", "sobol")
    }
    assert spread["sobol"] < spread["random"] / 5


def test_the_first_sobol_points_of_many_seeds_are_uniform():
    first = [draw_mutants([DROPOUT], 1, seed=seed, design="sobol") for seed in range(200)]
    counts = Counter(int(one["dropout"] / 0.5 * 4) for (one,) in first)
    assert all(30 < counts[quarter] < 70 for quarter in range(4))


def test_sobol_skips_what_is_taken_and_goes_on_along_its_sequence():
    design = Design("sobol")
    plain = draw_mutants([EPOCHS, RATE], 20, seed=5, design=design)
    taken = [tuple(plain[index].values()) for index in (0, 3, 4)]
    skipped = draw_mutants([EPOCHS, RATE], 17, seed=5, design=design, taken=taken)
    assert skipped == [one for index, one in enumerate(plain) if index not in (0, 3, 4)]


def test_sobol_of_any_count_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for count in (1, 2, 3, 9, 100):
            assert len(draw_mutants([RATE], count, seed=5, design="sobol")) == count


def test_an_exhausted_sobol_sequence_goes_on_at_random_with_a_note():
    rare = Hyperparameter("rare", "-r", "float", 0.0, 1.0, 2.0, "uniform", 1 - 1e-4)
    drawn, notes = draw([rare], 3, seed=5, design=Design("sobol"))
    assert notes == ["3 of 3 mutants lie off the Sobol' sequence: all its points are taken"]
    assert all(1 <= mutant["rare"] <= 2 for mutant in drawn)
