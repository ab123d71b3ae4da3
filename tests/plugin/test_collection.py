"""What runs is selected exactly, and found from wherever pytest is called."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import LOAD, TOY, Project, quick_words

PARALLEL: dict[str, Any] = {"foreground": {**TOY, "mutate": ["learning_rate"]}, "background": LOAD}


def test_selection_picks_exactly_the_foregrounds(project: Project) -> None:
    project.settings(PARALLEL, {**PARALLEL, "foreground": {**TOY, "model": "large"}}, TOY)
    by_mark = project.run_here("--collect-only", "-q", "-m", "experiment(model='small')")
    assert collected(by_mark) == ["toy-small-parallel-1", "toy-small-default-1"]
    by_load = project.run_here("--collect-only", "-q", "-m", "experiment(background='large')")
    assert collected(by_load) == ["toy-small-parallel-1", "toy-large-parallel-1"]
    by_mode = project.run_here("--collect-only", "-q", "-m", "parallel")
    assert collected(by_mode) == ["toy-small-parallel-1", "toy-large-parallel-1"]
    by_name = project.run_here("--collect-only", "-q", "-k", "toy-large", "-p", "no:xdist")
    assert collected(by_name) == ["toy-large-parallel-1"]


def collected(result: pytest.RunResult) -> list[str]:
    assert result.ret == 0, result.stderr.str()
    return [line.split("[")[1].rstrip("]") for line in result.outlines if "[" in line]


def test_collecting_works_from_elsewhere_and_names_resolve_against_the_root(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.settings(TOY)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    folder = str(project.path / "experiments")
    result = project.run_here(folder, "--config", "settings/test.json", "--collect-only", "-q")
    assert collected(result) == ["toy-small-default-1"]


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["here", "in a worker"])
def test_experiments_that_nobody_named_are_found_where_they_are_collected(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.settings(TOY).rename(project.path / "settings" / "default.json")
    assert project.pytester is not None
    result = project.pytester.runpytest_subprocess(*quick_words(*workers, "."))
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["toy-small-default-1 *valid*"])
    assert len(project.records()) == 1


def test_a_run_without_experiments_meets_no_campaign(project: Project) -> None:
    project.settings(TOY)
    test = (
        "def test_it(pytestconfig):\n    assert not pytestconfig.pluginmanager.has_plugin({!r})\n"
    )
    (project.path / "test_other.py").write_text(test.format("wattest-campaign"))
    assert project.pytester is not None
    result = project.pytester.runpytest_inprocess(*quick_words("test_other.py"))
    result.assert_outcomes(passed=1)
