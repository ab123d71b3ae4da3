"""One xdist worker measures as pytest itself does; several are refused."""

from __future__ import annotations

from conftest import TOY, Project


def test_several_workers_are_refused_in_words(project: Project) -> None:
    project.settings(TOY)
    result = project.refusal("-n", "2")
    result.stderr.fnmatch_lines(["ERROR: 2 workers would measure on the same counters*"])


def test_a_multiplier_of_workers_is_counted(project: Project) -> None:
    project.settings(TOY)
    result = project.refusal("-d", "--tx", "2*popen")
    result.stderr.fnmatch_lines(["ERROR: 2 workers would measure on the same counters*"])


def test_what_a_worker_refuses_is_said_and_ends_with_exit_4(project: Project) -> None:
    (project.path / "repos/toy/train.sh").unlink()
    project.settings(TOY)
    result = project.run("-n", "1")
    assert result.ret == 4, result.stdout.str()
    result.stdout.fnmatch_lines(["ERROR: *models.toy.train_script: no such file*"])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert project.records() == []


def test_one_worker_resumes_and_says_so(project: Project) -> None:
    project.settings(TOY, seed=3)
    assert project.run("-n", "1").ret == 0
    again = project.run("-n", "1", "--resume")
    assert again.ret == 0, again.stdout.str()
    again.stdout.fnmatch_lines(["resume: 1 of 1 experiments found finished, 0 left"])
    assert len(project.records()) == 1


def test_one_worker_measures_and_its_summary_is_shown(project: Project) -> None:
    project.settings(TOY)
    result = project.run("-n", "1")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(
        ["experiment and what was mutated *verdict", "toy-small-default-1 *valid*"]
    )
