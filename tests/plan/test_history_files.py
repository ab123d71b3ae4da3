"""The files of a history: CSV files of whatever origin, and folders of our own records."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest
from drawing import draw_mutants, ints
from pastruns import load, single, taken, write_csv

from wattest.errors import ConfigurationError
from wattest.plan.history import history_from_records, load_history

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


def test_a_cell_may_hold_a_whole_log_and_columns_that_say_nothing_may_repeat(tmp_path: Path):
    path = tmp_path / "long.csv"
    head = "repository,model,hyperparam_epochs,log,,,log\n"
    path.write_text(f"{head}toy,small,7,{'x' * 200_000},,,y\n", encoding="utf-8")
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
    folder = tmp_path / "folder"
    folder.mkdir()
    write_csv(folder / "inside.csv", [single(hyperparam_epochs=8)])
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    history = load_history([tmp_path / "absent.csv", empty, good, folder, pipe])
    assert taken(history, "epochs") == {(7,)}
    assert history.warnings == (
        f"{tmp_path / 'absent.csv'}: no such file; its experiments are not avoided",
        f"{empty}: is empty",
        f"{folder}: holds no successful record (*.json)",
        f"{pipe}: cannot be read (is no regular file); its experiments are not avoided",
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
        (b"repository,model,hyperparam_lr,hyperparam_lr\n", "has the column 'hyperparam_lr' twice"),
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
        record("g", "load", hyperparameters={"epochs": 3}),
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


def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert load_history([tmp_path]).warnings == (
        f"{tmp_path}: cannot be read (Permission denied); its experiments are not avoided",
    )
    monkeypatch.undo()
    assert history_from_records(tmp_path / "none").warnings == ()


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
