"""Records are written whole or not at all, each under a name of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from planning import FIXED, plan

from wattest.errors import RecordError
from wattest.records import prepare, reserve, write


def test_ids_made_in_the_same_second_are_unique(tmp_path: Path) -> None:
    planned = plan(tmp_path, FIXED).experiments[0]
    prepare(tmp_path / "results")
    ids = [reserve(tmp_path / "results", planned).experiment_id for _ in range(5)]
    assert len(set(ids)) == 5
    assert all("_toy_small" in name for name in ids)


def test_what_a_killed_write_left_is_removed_and_a_write_in_progress_is_not(tmp_path: Path) -> None:
    left, current = tmp_path / ".a.json.x1.tmp", tmp_path / ".b.json.x2.tmp"
    for file in (left, current):
        file.touch()
    os.utime(left, (0, 0))
    prepare(tmp_path)
    assert list(tmp_path.iterdir()) == [current]


def test_a_document_that_breaks_the_schema_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="breaks its own schema"):
        write(tmp_path / "record.json", {"experiment_id": "1"})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_removed_meanwhile_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the place of a file system that is gone: what is written there would be hidden."""
    monkeypatch.setattr("wattest.records.folder.schema_faults", lambda *_: [])
    with pytest.raises(RecordError, match="cannot be written: No such file"):
        write(tmp_path / "results" / "record.json", {"experiment_id": "1"})
    assert not (tmp_path / "results").exists()


def test_a_results_folder_that_is_a_file_is_found_out_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(RecordError, match=r"cannot be written.*--results-dir"):
        prepare(tmp_path / "results")
