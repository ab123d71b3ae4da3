"""A killed campaign goes on where it was, nothing twice and nothing missing, or not at all."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter

import pytest
from livesession import LiveSession

from conftest import Project, toy_registry

SEED = 11
KILLS = 2
MUTATION = {"repo": "toy", "model": "small", "mutate": ["learning_rate"],
            "hyperparameters": {"seconds": 0.1}, "runs_per_config": 4}  # fmt: skip
FIXED = {"repo": "toy", "model": "large", "hyperparameters": {"seconds": 0.1},
         "runs_per_config": 2}  # fmt: skip


def six_experiments(project: Project) -> None:
    """Write settings that plan six experiments of a sixth of a second."""
    project.settings(MUTATION, FIXED, seed=SEED)


def keys(project: Project, successful: bool = True) -> Counter[str]:
    """Count the records per experiment, those that count or those that do not."""
    return Counter(
        record["plan"]["experiment_key"]
        for record in project.records()
        if record["training_success"] is successful
    )


def planned_keys(project: Project) -> set[str]:
    """Return the experiments of the plan that lies in the results folder."""
    (file,) = (project.path / "results" / "plans").glob("test-*.json")
    plan = json.loads(file.read_text())
    return {experiment["key"] for experiment in plan["experiments"]}


def test_a_campaign_killed_at_random_moments_is_completed_by_resume(project: Project) -> None:
    six_experiments(project)
    chance = random.Random(4)
    arguments: tuple[str, ...] = ()
    for _ in range(KILLS):
        with LiveSession(project, *arguments) as session:
            records = len(project.records())
            if chance.random() < 0.7:
                session.until(lambda: len(project.records()) > records, "one more record")  # noqa: B023
            else:
                session.await_text("command ")
            session.send(signal.SIGKILL)
            assert session.wait() == -signal.SIGKILL
            assert session.left() == []
        assert set(keys(project).values()) <= {1}
        arguments = ("--resume",)
    done = sum(keys(project).values())
    result = project.run_here("--resume")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(
        [f"resume: {done} of 6 experiments found finished, {6 - done} left"]
    )
    found = keys(project)
    assert set(found) == planned_keys(project)
    assert set(found.values()) == {1}
    rows = project.rows(newest=True)
    assert Counter(row["experiment_id"] for row in rows) == Counter(
        record["experiment_id"] for record in project.records()
    )
    undisturbed = project.run_here("--results-dir", "undisturbed")
    assert undisturbed.ret == 0
    others = [
        json.loads(file.read_text()) for file in (project.path / "undisturbed").glob("*.json")
    ]
    assert {record["plan"]["experiment_key"] for record in others} == set(found)
    assert {json.dumps(record["hyperparameters"]) for record in others} == {
        json.dumps(record["hyperparameters"]) for record in project.records()
    }


def test_a_drawn_seed_is_kept_and_a_finished_plan_is_done(project: Project) -> None:
    project.settings(MUTATION, FIXED)
    assert project.run_here("-k", "small").ret == 0
    assert sum(keys(project).values()) == 4
    result = project.run_here("--resume")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(
        ["wattest: *(of the plan that is resumed)*",
         "resume: 4 of 6 experiments found finished, 2 left"]
    )  # fmt: skip
    again = project.run_here("--resume")
    assert again.ret == 0, again.stdout.str()
    again.stdout.fnmatch_lines(["resume: 6 of 6 experiments found finished, 0 left"])
    assert len(project.records()) == 6


def test_a_run_in_between_orphans_no_campaign(project: Project) -> None:
    project.settings(MUTATION, FIXED)
    assert project.run_here("--seed", "5", "-k", "large").ret == 0
    assert project.run_here("--seed", "6", "-k", "mutation-1").ret == 0
    sessions = sorted((project.path / "results/sessions").iterdir())
    newest = project.run_here("--resume", "--collect-only", "-q")
    newest.stdout.fnmatch_lines(["resume: 1 of 6 experiments found finished, 5 left"])
    newest.stderr.fnmatch_lines(["resume: continues the campaign of seed 6, *: seed 5, planned *"])
    for named in (("--seed", "5"), ("--session", sessions[0].name)):
        first = project.run_here("--resume", *named, "--collect-only")
        left = "resume: 2 of 6 experiments found finished, 4 left"
        first.stdout.fnmatch_lines(["resume: continues the campaign of seed 5, *", left])
    project.refusal("--session", sessions[0].name).stderr.fnmatch_lines(["*: add --resume to *"])


def test_a_failed_experiment_runs_again_and_its_record_stays(project: Project) -> None:
    project.settings({**FIXED, "runs_per_config": 1}, seed=SEED)
    script = project.program("toy", "#!/bin/sh\nexit 1\n")
    good = script.read_text().replace("exit 1", "echo Accuracy: 1")
    assert project.run_here().ret == 1
    script.write_text(good)
    assert project.run_here("--resume").ret == 0
    assert sum(keys(project, successful=False).values()) == 1
    assert keys(project) == keys(project, successful=False)


def test_damaged_and_foreign_records_are_no_finished_experiments(project: Project) -> None:
    six_experiments(project)
    assert project.run_here().ret == 0
    first, second, third, *_ = sorted((project.path / "results").glob("*.json"))
    first.write_text(first.read_text()[:100])
    second.write_text("[]")
    foreign = json.loads(third.read_text())
    foreign["plan"]["plan_digest"] = "another"
    third.write_text(json.dumps(foreign))
    result = project.run_here("--resume", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["resume: 3 of 6 experiments found finished, 3 left"])


@pytest.mark.parametrize("changed", ["settings", "registry", "seed"])
def test_resume_refuses_a_plan_that_has_changed_with_the_reason(
    project: Project, changed: str
) -> None:
    six_experiments(project)
    assert project.run_here("-k", "large").ret == 0
    before = len(project.records())
    arguments = ["--resume"]
    if changed == "settings":
        project.settings(MUTATION, {**FIXED, "hyperparameters": {"seconds": 0.2}}, seed=SEED)
        reason = "ERROR: *settings/test.json has changed since this plan was made*"
    elif changed == "registry":
        registry = toy_registry()
        registry["models"]["toy"]["supported_hyperparams"]["learning_rate"]["range"] = [1e-3, 0.5]
        project.registry(registry)
        reason = "ERROR: *the registry's entry of toy has changed since this plan was made*"
    else:
        arguments += ["--seed", "12"]
        reason = "ERROR: *was made with seed 11, not 12*"
    result = project.refusal(*arguments)
    result.stderr.fnmatch_lines([reason])
    assert len(project.records()) == before


@pytest.mark.parametrize("changed", ["settings", "registry"])
def test_records_of_other_settings_or_another_registry_do_not_count(
    project: Project, changed: str
) -> None:
    project.settings(MUTATION, seed=SEED)
    assert project.run_here().ret == 0
    if changed == "settings":
        project.settings(MUTATION, seed=SEED, timeout_seconds=1000)
    else:
        project.describe("toy", required_args={"dataset": "-d imagenet"})
    assert project.run_here("-k", "mutation-1").ret == 0
    result = project.run_here("--resume", "--collect-only", "-q")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["resume: 1 of 4 experiments found finished, 3 left"])


def test_a_comment_that_has_changed_refuses_nothing(project: Project) -> None:
    project.settings({**MUTATION, "note": "fisrt"}, seed=SEED, comment="a tpyo")
    assert project.run_here("-k", "mutation-1").ret == 0
    project.settings({**MUTATION, "_why": "first"}, seed=SEED, comment="a typo", description="new")
    project.describe("toy", notes="a program")
    result = project.run_here("--resume", "--collect-only", "-q")
    assert result.ret == 0, result.stderr.str()
    result.stdout.fnmatch_lines(["resume: 1 of 4 experiments found finished, 3 left"])


def test_a_resume_with_nothing_left_completes_the_csv(project: Project) -> None:
    six_experiments(project)
    assert project.run_here().ret == 0
    (file,) = (project.path / "results" / "sessions").glob("*/experiments.csv")
    whole = file.read_text()
    file.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    assert project.run_here("--resume", "--collect-only").ret == 0
    assert file.read_text() != whole
    result = project.run_here("--resume")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["resume: *experiments.csv was cut short and is complete now"])
    assert file.read_text() == whole
    assert "cut short" not in project.run_here("--resume").stdout.str()
