"""What runs is selected exactly, and found from wherever pytest is called."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import LOAD, TOY, Project, quick_words

REORDER = """
import pytest

@pytest.hookimpl({when})
def {hook}:
    {items}.reverse()
"""
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


def ran(project: Project) -> list[int]:
    """Return the planned positions of the experiments in the order in which they ran."""
    return [record["plan"]["position"] for record in project.records()]


def flags(project: Project) -> list[list[str]]:
    results = (record.get("foreground_result", record) for record in project.records())
    return [result["quality"]["flags"] for result in results]


def in_another_order(project: Project) -> list[list[str]]:
    return [[flag for flag in one if "position and block" in flag] for one in flags(project)]


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["here", "in a worker"])
def test_ids_on_the_command_line_run_in_the_order_of_the_plan(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.settings(TOY, runs_per_config=4, seed=7)
    test = "experiments/test_training.py::test_training"
    ids = [f"{test}[toy-small-default-{number}]" for number in (4, 2, 3)]
    result = project.run_here(*ids, *workers)
    assert result.ret == 0, result.stdout.str()
    assert ran(project) == sorted(ran(project))
    assert len(ran(project)) == 3
    assert in_another_order(project) == [[], [], []]
    result.stdout.fnmatch_lines(["the experiments run in the order of the plan"])


@pytest.mark.parametrize("when", ["tryfirst=True", "trylast=True"])
def test_plugins_that_reorder_do_not_reorder_experiments(project: Project, when: str) -> None:
    hook = "pytest_collection_modifyitems(items)"
    with (project.path / "conftest.py").open("a") as file:
        file.write(REORDER.format(when=when, hook=hook, items="items"))
    entry = {**TOY, "mutate": ["learning_rate"]}
    project.settings(entry, seed=7, runs_per_config=2, repetitions=2)
    listed = project.run_here("--collect-only", "-q")
    assert collected(listed) == [one.id for one in project.plan().experiments]
    assert project.run_here().ret == 0
    assert ran(project) == [1, 2, 3, 4]


def test_failed_first_keeps_the_order_of_the_plan(project: Project) -> None:
    failing = {**TOY, "hyperparameters": {"seconds": 0.1, "exit": 3}}
    project.settings(TOY, failing, order="as_written")
    cache = ("-p", "cacheprovider")
    assert project.run_here(*cache).ret == 1
    again = project.run_here(*cache, "--ff")
    assert again.ret == 1
    assert ran(project) == [1, 2, 1, 2]
    assert in_another_order(project) == [[], [], [], []]


def test_what_still_runs_in_another_order_is_flagged(project: Project) -> None:
    with (project.path / "conftest.py").open("a") as file:
        hook = "pytest_runtestloop(session)"
        file.write(REORDER.format(when="tryfirst=True", hook=hook, items="session.items"))
    project.settings(TOY, runs_per_config=3)
    result = project.run_here()
    assert ran(project) == [3, 2, 1]
    told = [len(one) for one in in_another_order(project)]
    assert told == [0, 1, 1]
    assert (
        "ran as number 3 of its session, after toy-small-default-"
        in in_another_order(project)[2][0]
    )
    result.stdout.fnmatch_lines(["*warning*in another order than planned*"])


def test_other_tests_stay_where_they_are_among_experiments(project: Project) -> None:
    (project.path / "experiments" / "test_alone.py").write_text("def test_alone(): pass\n")
    with (project.path / "conftest.py").open("a") as file:
        hook = "pytest_collection_modifyitems(items)"
        file.write(REORDER.format(when="trylast=True", hook=hook, items="items"))
    project.settings(TOY, runs_per_config=2)
    result = project.run_here("--collect-only", "-q")
    lines = [line for line in result.outlines if "::" in line]
    assert [line.split("::")[1] for line in lines] == [
        "test_training[toy-small-default-1]",
        "test_training[toy-small-default-2]",
        "test_alone",
    ]
