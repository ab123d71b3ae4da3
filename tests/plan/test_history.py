"""Which mutants count as taken: what the rows of older campaigns' CSV files tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from pastruns import load, parallel, single, taken


def test_the_values_of_the_mutated_names_are_taken(tmp_path: Path):
    history = load(
        tmp_path,
        single(hyperparam_epochs=7, num_mutated_params=1, mutated_param="epochs"),
        single(hyperparam_learning_rate="2.4e-05", num_mutated_params=1, mutated_param=""),
        single(hyperparam_epochs=9, hyperparam_learning_rate=0.1),
    )
    assert taken(history, "epochs") == {(7,), (9,)}
    assert taken(history, "learning_rate") == {(2.4e-05,), (0.1,)}
    assert taken(history, "learning_rate", "epochs") == {(0.1, 9)}
    assert taken(history, "batch_size") == set()


def test_parallel_and_single_trainings_are_kept_apart(tmp_path: Path):
    history = load(
        tmp_path,
        single(hyperparam_epochs=7),
        parallel(hyperparam_epochs=8, fg_hyperparam_epochs=8, fg_hyperparam_batch_size=32),
        single(mode="mutation", hyperparam_epochs=9),
        single(mode="default", hyperparam_epochs=10),
    )
    assert taken(history, "epochs") == {(7,), (9,), (10,)}
    assert taken(history, "epochs", alone=False) == {(8,)}
    assert taken(history, "epochs", "batch_size", alone=False) == {(8, 32)}


@pytest.mark.parametrize("name", ["toy_small_003_parallel", "20251111_180000_toy_small_parallel_2"])
def test_a_row_without_mode_is_parallel_by_its_name(tmp_path: Path, name: str):
    history = load(tmp_path, single(experiment_id=name, hyperparam_epochs=7))
    assert taken(history, "epochs", alone=False) == {(7,)}
    assert taken(history, "epochs") == set()


def test_a_row_without_mode_is_parallel_by_its_foreground(tmp_path: Path):
    history = load(
        tmp_path, {"fg_repository": "toy", "fg_model": "small", "fg_hyperparam_epochs": 3}
    )
    assert taken(history, "epochs", alone=False) == {(3,)}


def test_repositories_and_models_are_kept_apart(tmp_path: Path):
    history = load(
        tmp_path,
        single(hyperparam_epochs=7),
        single(model="large", hyperparam_epochs=8),
        single(repository="other", hyperparam_epochs=9),
        single(model="none", hyperparam_epochs=4),
    )
    assert taken(history, "epochs") == {(7,)}
    assert taken(history, "epochs", model="large") == {(8,)}
    assert taken(history, "epochs", model="none") == {(4,)}
    assert taken(history, "epochs", model="unheard-of") == set()


def test_a_parallel_row_that_contradicts_itself_takes_both_values(tmp_path: Path):
    history = load(
        tmp_path,
        parallel(hyperparam_epochs=7, fg_hyperparam_epochs=8, fg_hyperparam_batch_size=32),
    )
    assert taken(history, "epochs", "batch_size", alone=False) == {(7, 32), (8, 32)}


def test_a_single_training_does_not_look_at_foreground_columns(tmp_path: Path):
    history = load(tmp_path, single(mode="mutation", fg_hyperparam_epochs=3))
    assert taken(history, "epochs") == set()


def test_a_row_that_mutated_other_names_besides_was_another_training(tmp_path: Path):
    both = {"hyperparam_epochs": 7, "hyperparam_learning_rate": 0.2, "num_mutated_params": 2}
    history = load(
        tmp_path,
        single(**both, mutated_param="epochs,learning_rate"),
        single(hyperparam_epochs=5, hyperparam_learning_rate=0.1, mutated_param="epochs"),
    )
    assert taken(history, "learning_rate") == set()
    assert taken(history, "epochs") == {(5,)}
    assert taken(history, "epochs", "learning_rate") == {(7, 0.2), (5, 0.1)}


@pytest.mark.parametrize(
    "cells",
    [
        {"num_mutated_params": 2, "mutated_param": "batch_size"},
        {"num_mutated_params": 2, "mutated_param": ""},
        {"num_mutated_params": "", "mutated_param": ""},
        {"num_mutated_params": 1, "mutated_param": "all"},
        {"num_mutated_params": "many", "mutated_param": ""},
    ],
)
def test_a_row_that_does_not_tell_all_it_mutated_is_avoided(tmp_path: Path, cells):
    history = load(tmp_path, single(hyperparam_epochs=7, **cells))
    assert taken(history, "epochs") == {(7,)}


@pytest.mark.parametrize(
    "written",
    ["epochs,batch_size", "epochs; batch_size", "['epochs', 'batch_size']", "epochs|batch_size"],
)
def test_several_mutated_names_are_read_in_every_usual_notation(tmp_path: Path, written: str):
    row = single(hyperparam_epochs=7, hyperparam_batch_size=32, mutated_param=written)
    history = load(tmp_path, row | {"num_mutated_params": "2.0"})
    assert taken(history, "epochs") == set()
    assert taken(history, "batch_size", "epochs") == {(32, 7)}


def test_default_trainings_are_avoided_too(tmp_path: Path):
    history = load(tmp_path, single(hyperparam_epochs=10, num_mutated_params=0, mutated_param=""))
    assert taken(history, "epochs") == {(10,)}


def test_failed_trainings_left_no_data_and_are_not_taken(tmp_path: Path):
    history = load(
        tmp_path,
        single(hyperparam_epochs=5, training_success="False"),
        single(hyperparam_epochs=6, training_success="false"),
        single(hyperparam_epochs=9, training_success="0.0"),
        single(hyperparam_epochs=7, training_success=""),
        single(hyperparam_epochs=8, training_success="true"),
        parallel(hyperparam_epochs=5, fg_training_success="False"),
        parallel(hyperparam_epochs=6, fg_training_success="", training_success="False"),
        parallel(hyperparam_epochs=7, fg_training_success="", training_success=""),
    )
    assert taken(history, "epochs") == {(7,), (8,)}
    assert taken(history, "epochs", alone=False) == {(7,)}


@pytest.mark.parametrize("text", ["10", "10.0", " 10 ", "1e1", "+10"])
def test_integers_are_equal_however_they_are_written(tmp_path: Path, text: str):
    assert taken(load(tmp_path, single(hyperparam_epochs=text)), "epochs") == {(10,)}


@pytest.mark.parametrize("value", [0.1, 1e-05, 5.123456789e-06, 0.011795336261176143, 0.0])
def test_floats_are_equal_bit_for_bit(tmp_path: Path, value: float):
    (found,) = taken(load(tmp_path, single(hyperparam_learning_rate=repr(value))), "learning_rate")
    assert found == (value,)


@pytest.mark.parametrize("text", ["", "nan", "NaN", "None", "null", "N/A"])
def test_a_cell_without_a_value_says_nothing(tmp_path: Path, text: str):
    assert taken(load(tmp_path, single(hyperparam_epochs=text)), "epochs") == set()
