"""One xdist worker measures as pytest itself does; several without a GPU each are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import TOY, Project, quick_words


def test_several_workers_are_refused_in_words(project: Project) -> None:
    project.settings(TOY)
    result = project.refusal("-n", "2")
    result.stderr.fnmatch_lines(["ERROR: 2 workers would measure on the same counters*"])


def test_a_multiplier_of_workers_is_counted(project: Project) -> None:
    project.settings(TOY)
    result = project.refusal("-d", "--tx", "2*popen")
    result.stderr.fnmatch_lines(["ERROR: 2 workers would measure on the same counters*"])


def test_workers_are_counted_as_xdist_starts_them(project: Project) -> None:
    project.settings(TOY)
    result = project.refusal("-n", "4", "--maxprocesses", "2")
    result.stderr.fnmatch_lines(["ERROR: 2 workers would measure on the same counters*"])
    assert project.run_here("--tx", "2*popen").ret == 0
    assert len(project.records()) == 1


def test_what_a_worker_refuses_is_said_and_ends_with_exit_4(project: Project) -> None:
    (project.path / "repos/toy/train.sh").unlink()
    project.settings(TOY)
    result = project.run("-n", "1")
    assert result.ret == 4, result.stdout.str()
    result.stdout.fnmatch_lines(["ERROR: *models.toy.train_script: no such file*"])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert project.records() == []


def test_one_worker_measures_shows_its_summary_resumes_and_says_so(project: Project) -> None:
    project.settings(TOY, seed=3)
    result = project.run("-n", "1")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(
        ["experiment and what was mutated *verdict", "toy-small-default-1 *valid*"]
    )
    again = project.run("-n", "1", "--resume")
    assert again.ret == 0, again.stdout.str()
    again.stdout.fnmatch_lines(["resume: 1 of 1 experiments found finished, 0 left"])
    assert len(project.records()) == 1


@pytest.mark.parametrize("arguments", [(".",), (), ("--pyargs", "experiments.test_training")])
def test_several_workers_are_refused_once_whatever_way_experiments_are_collected(
    project: Project, arguments: tuple[str, ...]
) -> None:
    project.settings(TOY).rename(project.path / "settings" / "default.json")
    assert project.pytester is not None
    (project.path / "test_other.py").write_text("def test_it(): pass\n")
    project.pytester.syspathinsert()
    result = project.pytester.runpytest_inprocess(*quick_words("-n", "2", *arguments))
    assert result.ret == pytest.ExitCode.USAGE_ERROR, result.stdout.str()
    assert result.stdout.str().count("2 workers would measure on the same counters") == 1
    assert project.records() == []


def test_several_workers_may_run_what_is_no_experiment(project: Project) -> None:
    project.settings(TOY).rename(project.path / "settings" / "default.json")
    (project.path / "test_other.py").write_text("def test_it(): pass\ndef test_that(): pass\n")
    assert project.pytester is not None
    words = quick_words("-n", "2", ".", "-k", "test_other")
    result = project.pytester.runpytest_inprocess(*words)
    assert result.ret == 0, result.stdout.str()
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("place", ["-c", "--rootdir"])
def test_the_project_is_found_though_pytest_has_another_root(
    project: Project, place: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project.settings(TOY, seed=4)
    other = tmp_path_factory.mktemp("other")
    (other / "ci.ini").write_text("[pytest]\n")
    named = str(other / "ci.ini" if place == "-c" else other)
    result = project.refusal(place, named, "-n", "2")
    result.stderr.fnmatch_lines(["ERROR: 2 workers would measure on the same counters*"])
    assert project.run_here(place, named).ret == 0
    assert len(project.records()) == 1
    assert not (Path(named).parent / "results").exists()
