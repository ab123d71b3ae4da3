"""Rows of records, for people who compute for themselves."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import wattest
from benchmarks.campaigns import Campaign, Figures, copied_records, paired_campaign
from wattest.errors import ExtraError, RecordError


def test_rows_are_those_of_the_csv_with_every_record_once(tmp_path: Path) -> None:
    paired_campaign(tmp_path, [1.2, 1.3])
    copy = min(tmp_path.glob("*.json"))
    (tmp_path / "copy.json").write_text(copy.read_text())
    rows = wattest.read_rows(tmp_path)
    assert len(rows) == 4
    assert [row["timestamp"] for row in rows] == sorted(row["timestamp"] for row in rows)
    assert all(row.keys() == rows[0].keys() for row in rows)
    assert rows[0]["energy_gpu_total_joules"] == pytest.approx(14400)
    assert rows[0]["energy_cpu_ram_joules"] is None


def test_records_of_an_earlier_version_have_rows(tmp_path: Path) -> None:
    paired_campaign(tmp_path, [1.2], old=True)
    assert len(wattest.read_rows(tmp_path)) == 2


def test_a_table_has_types_that_fit(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    campaign.run({"learning_rate": 0.1, "epochs": 3}, Figures())
    campaign.run({"learning_rate": 0.2}, Figures(gpu_joules=None, metrics={"accuracy": None}),
                 reasons=["exit code 3"])  # fmt: skip
    table = wattest.read_results(tmp_path)
    types = {name: str(kind) for name, kind in table.dtypes.items()}
    assert types["timestamp"] == "datetime64[ns]"
    assert types["training_success"] == "boolean"
    assert types["retries"] == types["hyperparam_epochs"] == "Int64"
    assert types["duration_seconds"] == types["energy_gpu_total_joules"] == "Float64"
    assert types["energy_cpu_ram_joules"] == types["perf_accuracy"] == "Float64"
    assert types["repository"] == types["mode"] == types["session_id"] == "category"
    assert types["experiment_id"] == "string"
    assert table["hyperparam_epochs"].isna().tolist() == [False, True]
    assert table["energy_gpu_total_joules"][1] is pd.NA
    assert table.groupby("repository", observed=True)["duration_seconds"].mean()["toy"] == 60


def test_a_table_of_two_hundred_records_has_each_in_a_row_of_its_own(tmp_path: Path) -> None:
    names = copied_records(tmp_path, 200)
    table = wattest.read_results(tmp_path)
    assert table["experiment_id"].tolist() == names
    assert table["duration_seconds"].tolist() == [60.0 + number for number in range(200)]


def test_what_is_damaged_is_named_and_what_is_foreign_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (whole, cut) = paired_campaign(tmp_path, [1.2]).folder.glob("*.json")
    cut.write_text(whole.read_text()[:-40])
    (tmp_path / "package.json").write_text('{"name": "foreign"}')
    emptied = tmp_path / "20261101_235959_toy_small.json"
    emptied.write_text("{}")
    assert len(wattest.read_rows(tmp_path)) == 1
    error = capsys.readouterr().err
    assert f"{emptied.name}: is no valid record ($: lacks 'experiment_id'" in error
    assert f"{cut.name}: is damaged or cut short" in error
    assert "package" not in error


def test_foreign_json_is_not_even_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paired_campaign(tmp_path, [1.2])
    (tmp_path / "annotations.json").write_text('{"images": [1, 2, 3]}')
    loads = json.loads
    parsed: list[str] = []
    monkeypatch.setattr(json, "loads", lambda text, **k: parsed.append(text) or loads(text, **k))
    assert len(wattest.read_rows(tmp_path)) == 2
    assert len([text for text in parsed if "images" in text]) == 0 < len(parsed)


def test_a_folder_of_records_may_have_any_name(tmp_path: Path) -> None:
    paired_campaign(tmp_path / "energy_of_tests", [1.2])
    assert len(wattest.read_rows(tmp_path)) == 2


def test_a_folder_that_cannot_be_read_is_named_and_costs_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paired_campaign(tmp_path, [1.2])
    locked, read = tmp_path / "lost+found", Path.iterdir
    locked.mkdir()

    def refused(folder: Path) -> Iterator[Path]:
        if folder == locked:
            raise PermissionError(13, "Permission denied")
        return read(folder)

    monkeypatch.setattr(Path, "iterdir", refused)
    assert len(wattest.read_rows(tmp_path)) == 2
    assert capsys.readouterr().err == f"warning: {locked}: cannot be read: Permission denied\n"


def test_without_pandas_one_line_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ExtraError, match=r"pip install 'wattest\[pandas\]'"):
        wattest.read_results(tmp_path)


def test_a_folder_without_records_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="holds no record"):
        wattest.read_rows(tmp_path)
    with pytest.raises(RecordError, match="no such folder"):
        wattest.read_rows(tmp_path / "elsewhere")
