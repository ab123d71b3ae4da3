"""Records are written whole or not at all, under a name of their own, and given back under sudo."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from planning import FIXED, plan

from conftest import TOY, Project
from wattest.errors import RecordError
from wattest.files import give_back, write_atomically
from wattest.plan.experiment import Experiment
from wattest.records.folder import ResultsFolder
from wattest.records.resume import finished_experiments
from wattest.records.table import SessionArtefacts, complete_csv

THREE = {**TOY, "mutate": ["learning_rate"], "runs_per_config": 3}


@pytest.fixture
def planned(tmp_path: Path) -> Experiment:
    return plan(tmp_path, FIXED, seed=1).experiments[0]


def test_ids_made_in_the_same_second_are_unique(tmp_path: Path, planned: Experiment) -> None:
    results = ResultsFolder(tmp_path / "results")
    results.prepare()
    ids = [results.reserve(planned).experiment_id for _ in range(5)]
    assert len(set(ids)) == 5
    assert all("_toy_small" in name for name in ids)


def test_what_a_killed_write_left_is_removed_and_a_write_in_progress_is_not(tmp_path: Path) -> None:
    left, current = tmp_path / ".a.json.x1.tmp", tmp_path / ".b.json.x2.tmp"
    for file in (left, current):
        file.touch()
    os.utime(left, (0, 0))
    ResultsFolder(tmp_path).prepare()
    assert list(tmp_path.iterdir()) == [current]


def test_a_document_that_breaks_the_schema_is_not_written(
    tmp_path: Path, planned: Experiment
) -> None:
    results = ResultsFolder(tmp_path / "results")
    results.prepare()
    files = results.reserve(planned)
    with pytest.raises(RecordError, match="breaks its own schema"):
        results.write(files, {"experiment_id": files.experiment_id})
    assert not files.record.exists()


def test_a_failed_write_leaves_the_old_content_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "record.json"
    write_atomically(target, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, "new")
    assert target.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [target]


def test_a_results_folder_that_is_a_file_is_found_out_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(RecordError, match=r"cannot be written.*--results-dir"):
        ResultsFolder(tmp_path / "results").prepare()


def test_under_sudo_files_belong_to_who_called_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda *words, **_: given.append(words))
    monkeypatch.setenv("SUDO_UID", "1234")
    monkeypatch.setenv("SUDO_GID", "567")
    give_back(tmp_path)
    assert given == [(tmp_path, 1234, 567)]
    monkeypatch.delenv("SUDO_UID")
    give_back(tmp_path)
    assert len(given) == 1


def test_a_disk_that_takes_half_a_row_leaves_the_csv_as_it_was(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.settings(TOY)
    assert project.run_here().ret == 0
    (record,) = project.records()
    artefacts = SessionArtefacts(project.path, "session", project.resumed_plan())
    artefacts.open({})
    artefacts.add(record)
    before, write = artefacts.csv.read_bytes(), os.write

    def half(descriptor: int, content: bytes) -> int:
        if len(content) < 50:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, content[: len(content) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        artefacts.add(record)
    assert artefacts.csv.read_bytes() == before
    monkeypatch.setattr(os, "write", lambda to, content: write(to, content[:100]))
    artefacts.add(record)
    lines = artefacts.csv.read_bytes().splitlines()
    assert lines[1:] == [lines[1]] * 3


@pytest.mark.parametrize("cut", [1, 30, 10**9])
def test_a_row_that_a_kill_kept_out_of_the_csv_is_added(project: Project, cut: int) -> None:
    project.settings(THREE, seed=1)
    assert project.run_here().ret == 0
    results, plan = project.path / "results", project.resumed_plan()
    (file,) = (results / "sessions").glob("*/experiments.csv")
    whole = file.read_bytes()
    done = finished_experiments(results, plan)
    assert complete_csv(results, done, plan) is None
    os.truncate(file, max(0, len(whole) - cut))
    assert complete_csv(results, done, plan) == file
    assert file.read_bytes() == whole
    file.unlink()
    file.parent.rename(file.parent.with_name("elsewhere"))
    assert complete_csv(results, done, plan) == file
    assert file.read_bytes() == whole
    assert complete_csv(results, {}, plan) is None


def test_rows_of_failed_experiments_stay_when_a_csv_is_completed(project: Project) -> None:
    failing = {**TOY, "hyperparameters": {"seconds": 0.1, "exit": 1}}
    project.settings(failing, TOY, seed=1)
    assert project.run_here().ret == 1
    results, plan = project.path / "results", project.resumed_plan()
    (file,) = (results / "sessions").glob("*/experiments.csv")
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    assert complete_csv(results, finished_experiments(results, plan), plan) == file
    assert file.read_bytes() == whole
