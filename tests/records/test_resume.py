"""What has counted is found again; a row that a kill kept out of the CSV is added."""

from __future__ import annotations

import os

import pytest

from conftest import TOY, Project
from wattest.errors import RecordError
from wattest.records import complete_csv, finished_experiments

THREE = {**TOY, "mutate": ["learning_rate"], "runs_per_config": 3}


def test_where_nothing_was_run_yet_nothing_has_counted(project: Project) -> None:
    project.settings(THREE, seed=1)
    assert finished_experiments(project.path / "results", project.plan()) == {}
    result = project.run_here("--resume", "--collect-only")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["resume: 0 of 3 experiments found finished, 3 left"])
    (project.path / "results").write_text("")
    with pytest.raises(RecordError, match="results cannot be read: Not a directory"):
        finished_experiments(project.path / "results", project.plan())


@pytest.mark.parametrize("cut", [1, 30, 10**9])
def test_a_row_that_a_kill_kept_out_of_the_csv_is_added(project: Project, cut: int) -> None:
    project.settings(THREE, seed=1)
    assert project.run_here().ret == 0
    results, plan = project.path / "results", project.plan(resume=True)
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
    results, plan = project.path / "results", project.plan(resume=True)
    (file,) = (results / "sessions").glob("*/experiments.csv")
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    assert complete_csv(results, finished_experiments(results, plan), plan) == file
    assert file.read_bytes() == whole
