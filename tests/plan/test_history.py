"""Which mutants count as taken: from CSV files of earlier campaigns, and from our own records."""

from __future__ import annotations

import csv
import json
import os
from functools import partial
from pathlib import Path

import pytest
from drawing import draw_mutants, ints

from wattest.errors import ConfigurationError
from wattest.plan.history import History, history_from_records, load_history

HYPERPARAMETERS = ("hyperparam_batch_size", "hyperparam_epochs", "hyperparam_learning_rate")
COLUMNS = [
    *("experiment_id", "timestamp", "repository", "model", "training_success"),
    *HYPERPARAMETERS,
    *("num_mutated_params", "mutated_param", "mode", "error_message"),
    *("fg_repository", "fg_model", "fg_training_success"),
    *(f"fg_{name}" for name in HYPERPARAMETERS),
]


def single(**cells: object) -> dict[str, object]:
    """Return a row of a training alone, as older campaigns wrote it: no mode."""
    return {"repository": "toy", "model": "small", "training_success": "True", **cells}


def parallel(**cells: object) -> dict[str, object]:
    """Return a row of a parallel experiment: what was mutated, and all values with `fg_`."""
    foreground = {"fg_repository": "toy", "fg_model": "small", "fg_training_success": "True"}
    return {**single(), **foreground, "mode": "parallel", **cells}


def write_csv(path: Path, rows, columns=COLUMNS) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def load(tmp_path: Path, *rows, columns=COLUMNS) -> History:
    history = load_history([write_csv(tmp_path / "past.csv", rows, columns)])
    assert history.warnings == ()
    return history


def taken(history: History, *names: str, alone: bool = True, model: str = "small"):
    return history.taken("toy", model, parallel=not alone, names=names)


# Rows


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


# Files


def test_missing_columns_are_columns_without_values(tmp_path: Path):
    columns = ["repository", "model", "hyperparam_epochs"]
    row = {"repository": "toy", "model": "small", "hyperparam_epochs": 7}
    history = load(tmp_path, row, columns=columns)
    assert taken(history, "epochs") == {(7,)}
    assert taken(history, "epochs", "batch_size") == set()


def test_a_file_of_a_spreadsheet_reads_like_any_other(tmp_path: Path):
    path = tmp_path / "excel.csv"
    text = 'repository, model ,hyperparam_epochs,note\r\ntoy,small,7,"a, b\r\n""c"""\r\n,,,\r\n\r\n'
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    history = load_history([path])
    assert taken(history, "epochs") == {(7,)}
    assert history.warnings == ()


def test_a_row_that_was_cut_short_still_counts(tmp_path: Path):
    path = tmp_path / "cut.csv"
    path.write_text(
        "repository,model,hyperparam_epochs,mode\ntoy,small,7\ntoy,sm", encoding="utf-8"
    )
    assert taken(load_history([path]), "epochs") == {(7,)}


def test_odd_cells_and_rows_are_counted_and_the_first_is_named(tmp_path: Path):
    path = tmp_path / "odd.csv"
    path.write_text(
        "repository,model,hyperparam_epochs\n"
        "toy,small,ten\ntoy,small,inf\ntoy,small,7\ntoy,small,8,9\n,small,3\n",
        encoding="utf-8",
    )
    history = load_history([path])
    assert taken(history, "epochs") == {(7,)}
    assert history.warnings == (
        f"{path}: 2 cells of hyperparam_epochs are not numbers (first: 'ten' in line 2);"
        " they are passed over",
        f"{path}: 1 rows have more cells than there are columns (first: line 5);"
        " they are passed over",
        f"{path}: 1 rows name no repository or no model (first: line 6); they are passed over",
    )


def test_what_is_missing_or_empty_is_warned_of_and_the_rest_is_read(tmp_path: Path):
    good = write_csv(tmp_path / "good.csv", [single(hyperparam_epochs=7)])
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"\n")
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    history = load_history([tmp_path / "absent.csv", empty, good, pipe])
    assert taken(history, "epochs") == {(7,)}
    assert history.warnings == (
        f"{tmp_path / 'absent.csv'}: no such file; its experiments are not avoided",
        f"{empty}: is empty",
        f"{pipe}: is no file; its experiments are not avoided",
    )


def test_a_path_that_leads_through_a_file_is_warned_of(tmp_path: Path):
    loop = tmp_path / "loop.csv" / "below"
    loop.parent.write_text("a file where a folder should be", encoding="utf-8")
    (warning,) = load_history([loop]).warnings
    assert warning.startswith(f"{loop}: ")


def test_a_header_alone_is_a_history_without_runs(tmp_path: Path):
    assert load(tmp_path).runs == ()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"repository;model;hyperparam_epochs\ntoy;small;7\n", "has no column 'repository'"),
        (b"repository,hyperparam_epochs\ntoy,7\n", "has no column 'model'"),
        (b'{"experiments": []}', "has no column 'repository'"),
        ("repository,model\nté".encode("latin-1"), "is not UTF-8 (byte 18)"),
        (b'repository,model\ntoy,"small\ntoy,large\n', "is not CSV: "),
    ],
)
def test_what_is_no_table_of_experiments_is_a_fault_of_one_line(
    tmp_path: Path, content: bytes, fault: str
):
    path = tmp_path / "wrong.csv"
    path.write_bytes(content)
    second = tmp_path / "second.csv"
    second.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(ConfigurationError) as caught:
        load_history([path, second])
    first, other = caught.value.faults
    assert first.startswith(f"{path}: ")
    assert fault in first
    assert other.startswith(f"{second}: ")
    assert len(str(caught.value).splitlines()) == 2


# Our own records


def record(name: str, mode: str = "mutation", mutated=("epochs",), **result) -> dict[str, object]:
    body = {
        "repository": "toy",
        "model": "small",
        "hyperparameters": {"epochs": 7, "learning_rate": 5.123456789e-06},
        "training_success": True,
        **result,
    }
    head: dict[str, object] = {"experiment_id": name, "mode": mode}
    head["plan"] = {"mutated": list(mutated)}
    return {**head, "foreground_result": body} if mode == "parallel" else {**head, **body}


def write_records(folder: Path, *documents: dict[str, object]) -> Path:
    for document in documents:
        path = folder / f"{document['experiment_id']}.json"
        path.write_text(json.dumps(document), encoding="utf-8")
    return folder


def test_our_own_records_are_history(tmp_path: Path):
    write_records(
        tmp_path,
        record("a"),
        record("b", "parallel", hyperparameters={"epochs": 8, "learning_rate": 0.1}),
        record("c", "default", (), hyperparameters={"epochs": 9}),
        record("d", training_success=False, hyperparameters={"epochs": 3}),
        record("e", "parallel", training_success=False, hyperparameters={"epochs": 3}),
        record("f", mutated=("epochs", "learning_rate"), hyperparameters={"epochs": 4}),
    )
    history = history_from_records(tmp_path)
    assert taken(history, "epochs") == {(7,), (9,)}
    assert taken(history, "epochs", "learning_rate") == {(7, 5.123456789e-06)}
    assert taken(history, "epochs", alone=False) == {(8,)}
    assert history.warnings == ()


def test_a_results_folder_may_stand_among_the_historical_files(tmp_path: Path):
    folder = tmp_path / "results"
    folder.mkdir()
    write_records(folder, record("a"))
    past = write_csv(tmp_path / "past.csv", [single(hyperparam_epochs=5)])
    history = load_history([past, folder])
    assert taken(history, "epochs") == {(5,), (7,)}


def test_other_documents_in_the_folder_are_passed_over_and_broken_ones_named(tmp_path: Path):
    for name, text in {
        "plan": '{"experiments": []}',
        "list": "[1]",
        "odd": '{"experiment_id": "x", "mode": "mutation", "training_success": true}',
        "half": '{"experiment_id": "x", "mo',
        "bytes": "\xff",
    }.items():
        (tmp_path / f"{name}.json").write_bytes(text.encode("latin-1"))
    (tmp_path / "folder.json").mkdir()
    write_records(tmp_path, record("a", plan=None))
    history = history_from_records(tmp_path)
    assert taken(history, "epochs") == {(7,)}
    assert [warning.split(":")[0] for warning in history.warnings] == [
        str(tmp_path / name) for name in ("bytes.json", "folder.json", "half.json")
    ]


def test_values_that_are_no_numbers_say_nothing(tmp_path: Path):
    values = {"epochs": None, "learning_rate": True, "batch_size": "32"}
    write_records(tmp_path, record("a", hyperparameters=values))
    history = history_from_records(tmp_path)
    assert taken(history, "epochs") == taken(history, "learning_rate") == set()
    assert taken(history, "batch_size") == set()


# Together


def test_histories_add_up(tmp_path: Path):
    first = load(tmp_path, single(hyperparam_epochs=5))
    second = load_history([tmp_path / "absent.csv"]) + load(tmp_path, single(hyperparam_epochs=6))
    both = first + second
    assert taken(both, "epochs") == {(5,), (6,)}
    assert both.warnings == second.warnings
    assert taken(first, "epochs") == {(5,)}


def test_no_drawn_mutant_stands_in_the_history(tmp_path: Path):
    history = load(
        tmp_path, *(single(hyperparam_epochs=n, mutated_param="epochs") for n in range(1, 8))
    )
    epochs = ints(1, 10, name="epochs", default=9)
    alone = partial(history.taken, "toy", "small", False)
    assert {one["epochs"] for one in draw_mutants([epochs], 2, past=alone)} == {8, 10}
    with pytest.raises(
        ConfigurationError,
        match=r"^only 2 .* 3 were asked for \(10 in all, of which 1 is the default, 7 ",
    ):
        draw_mutants([epochs], 3, past=alone)
    over_a_load = partial(history.taken, "toy", "small", True)
    assert len(draw_mutants([epochs], 9, past=over_a_load)) == 9
