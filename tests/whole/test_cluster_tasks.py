"""Shards of one plan, run as the tasks of a cluster run them; Slurm itself is played here."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conftest import LOAD, TOY, Project
from wattest.cli import main
from wattest.report.reading import read_runs

PAIRS: dict[str, Any] = {
    "foreground": {
        "repo": "toy", "model": "small", "mutate": ["epochs"],
        "hyperparameters": {"seconds": 0.1},
    },
    "background": LOAD,
    "baseline": True,
    "runs_per_config": 3,
}  # fmt: skip
MUTANTS: dict[str, Any] = {
    "repo": "toy", "model": "small", "mutate": ["epochs"], "hyperparameters": {"seconds": 0.1},
    "runs_per_config": 4,
}  # fmt: skip


def collected(project: Project, *words: str) -> list[str]:
    """Return the ids that pytest would run."""
    shown = project.run_here("--collect-only", "-q", *words).stdout.str()
    return re.findall(r"test_training\[(.*)\]", shown)


def test_shards_cover_what_is_selected(project: Project) -> None:
    project.settings(PAIRS, repetitions=2, seed=3)
    count = 5
    for selection in ([], ["-k", "baseline or parallel-1"]):
        whole = collected(project, *selection)
        parts = [
            collected(project, "--shard", f"{number}/{count}", *selection)
            for number in range(1, count + 1)
        ]
        assert sorted(itertools.chain(*parts)) == sorted(whole)
        assert len(set(whole)) == len(whole) > 0


@pytest.mark.parametrize("more", [{}, {"use_deduplication": True, "seed": 3}])
def test_a_shard_without_a_fixed_plan_is_refused(project: Project, more: dict[str, Any]) -> None:
    project.settings(MUTANTS, **more)
    told = project.refusal("--shard", "1/2").stderr.str()
    assert "ERROR: --shard 1/2: " in told
    assert "fix the plan first with wattest submit" in told
    assert not (project.path / "results").exists()


def submitted(project: Project, *words: str) -> Path:
    """Fix the plan as `wattest submit` does, and return the batch file."""
    settings = project.path / "settings" / "test.json"
    results = project.path / "results"
    command = ["submit", str(settings), "--root", str(project.path), "--results-dir", str(results)]
    assert main([*command, "--dry-run", *words]) == 0
    (file,) = results.glob("slurm/*.sbatch")
    return file


def test_what_is_submitted_is_fixed_and_readable(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.settings(PAIRS, repetitions=2, use_deduplication=True)
    file = submitted(project, "--", "--time=00:30", "-p", "gpu", "--signal=B:TERM@20")
    text = file.read_text()
    assert "#SBATCH --array=1-2\n" in text
    assert "#SBATCH --time=00:30\n#SBATCH -p gpu\n#SBATCH --signal=B:TERM@20\n" in text
    assert text.index("--signal=B:TERM@20") > text.index("--signal=B:TERM@60")
    assert text.count("\nexec ") == 1
    told = capsys.readouterr().out
    assert "0 of 12 done" in told
    assert "warning: --time gives a task 30 s, and timeout_seconds a training 36000 s" in told
    for no_limit in ("--time=0", "--time=UNLIMITED", "--time=-5"):
        submitted(project, "--", no_limit)
    assert "warning" not in capsys.readouterr().out
    plans = [path.read_text() for path in (project.path / "results" / "plans").iterdir()]
    first = collected(project, "--shard", "1/2"), collected(project, "--shard", "2/2")
    assert submitted(project).read_text().count("#SBATCH -p") == 0
    assert plans == [path.read_text() for path in (project.path / "results" / "plans").iterdir()]
    assert first == (collected(project, "--shard", "1/2"), collected(project, "--shard", "2/2"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--array=1-3"], "the array is chosen by what is missing"),
        (["-a1-3"], "the array is chosen by what is missing"),
        (["-J", "mine"], "by the name of a job the campaign is known"),
        (["--signal=USR1@5"], "pytest must get SIGTERM"),
        (["--signal=TERM@20"], "pytest must get SIGTERM"),
        (["--wait"], "nothing waits for the tasks"),
        (["--comment=one\nrm -r x"], "a line break has no place in a batch file"),
        (["gpu"], "gpu: no option of sbatch"),
        (["--comment=" + os.fsdecode(b"\xff")], "is no UTF-8, which a batch file must be"),
    ],
)
def test_words_that_would_undo_the_batch_file_are_refused(
    project: Project, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    project.settings(MUTANTS, seed=5)
    command = ["submit", "settings/test.json", "--root", str(project.path), "--dry-run", "--"]
    assert main([*command, *words]) == 4
    assert told in capsys.readouterr().err
    assert not (project.path / "results").exists()


@pytest.mark.parametrize("name", ["back\\slash", "line\nbreak", os.fsdecode(b"\xff")])
def test_a_folder_that_slurm_cannot_read_is_refused(
    project: Project, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    project.settings(MUTANTS, seed=5)
    command = ["submit", "settings/test.json", "--root", str(project.path), "--dry-run"]
    assert main([*command, "--results-dir", str(project.path / name)]) == 4
    assert "which Slurm does not understand" in capsys.readouterr().err
    assert not (project.path / name).exists()


def test_a_batch_file_that_a_person_has_changed_is_kept(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.settings(MUTANTS, seed=5)
    file = submitted(project)
    written = file.read_text()
    assert "-p gpu" in submitted(project, "--", "-p", "gpu").read_text()
    assert submitted(project).read_text() == written
    assert "warning" not in capsys.readouterr().out
    own = written.replace("exec ", "module load cuda\nexec ")
    file.write_text(own)
    assert submitted(project).read_text() == written
    kept = file.with_suffix(".sbatch.old")
    assert f"it is kept as {kept}\n" in capsys.readouterr().out
    assert kept.read_text() == own


def test_two_results_folders_are_two_campaigns(project: Project) -> None:
    project.settings(MUTANTS, seed=5)
    names = set()
    for results in ("one %A", "two ü"):
        command = ["submit", "settings/test.json", "--root", str(project.path), "--dry-run"]
        assert main([*command, "--results-dir", str(project.path / results)]) == 0
        (file,) = (project.path / results).glob("slurm/*.sbatch")
        names.add(re.findall("--job-name=(.*)", file.read_text())[0])
    assert len(names) == 2


def test_a_changed_campaign_is_drawn_anew_on_demand(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.settings(MUTANTS, seed=5)
    submitted(project)
    assert project.run_here("--shard", "1/4").ret == 0
    project.settings(MUTANTS, seed=5, timeout_seconds=50)
    command = ["submit", "settings/test.json", "--root", str(project.path), "--dry-run"]
    assert main(command) == 4
    assert "wattest submit --new" in capsys.readouterr().err
    assert main([*command, "--new"]) == 0
    assert main(["status", str(project.path / "results")]) == 0
    told = capsys.readouterr().out
    assert told.count("1 done, 3 missing") == 1
    assert told.count("4 experiments: 4 missing") == 1


def test_a_plan_that_is_queued_is_not_queued_again(
    slurm: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["submit", "settings/test.json", "--root", str(slurm.path)]
    assert main(command) == 4
    assert "job RUNNING of this plan is queued" in capsys.readouterr().err
    assert not (slurm.path / "results").exists()


def test_without_slurm_nothing_can_be_queued(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.settings(MUTANTS, seed=5)
    monkeypatch.setenv("PATH", str(project.path))
    assert main(["submit", "settings/test.json", "--root", str(project.path)]) == 4
    assert "is this a machine of the cluster?" in capsys.readouterr().err


def test_blocks_beyond_the_largest_array_share_tasks(project: Project) -> None:
    project.settings(TOY, repetitions=1002, seed=5)
    assert "#SBATCH --array=1-501\n" in submitted(project).read_text()


def test_workers_of_a_shard_run_the_plan_that_is_fixed(project: Project) -> None:
    project.settings(MUTANTS, use_deduplication=True)
    submitted(project)
    done = project.run_apart("-n", "2", "--cpu-energy", "off", "--shard", "1/2", "--resume")
    assert done.returncode == 0, done.stdout
    assert len(list((project.path / "results").glob("counted/*/*.json"))) == 2


def test_tasks_at_once_finish_a_campaign_together(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.settings(MUTANTS, seed=5)
    words = shlex.split(submitted(project, "--shards", "2").read_text().split("\nexec ")[1])
    own = words[words.index("experiments") + 1 : words.index("--shard")]
    own.remove("--require-energy")

    def task(number: int) -> int:
        # As on two nodes: each has counters of its own.
        return project.run_apart(*own, "--shard", f"{number}/2").returncode

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(task, (1, 2))) == [0, 0]
    assert len({record["plan"]["plan_digest"] for record in project.records()}) == 1
    capsys.readouterr()
    results = str(project.path / "results")
    table = project.path / "all.csv"
    assert main(["status", results, "--csv", str(table)]) == 0
    assert "4 experiments: 4 done\n" in capsys.readouterr().out
    assert len(table.read_text().splitlines()) == 5
    assert main(["submit", "settings/test.json", "--root", str(project.path), "--dry-run"]) == 0
    assert "4 of 4 done\n" in capsys.readouterr().out


def test_of_an_experiment_trained_twice_one_record_counts(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.settings(MUTANTS, seed=5)
    assert project.run_here("--shard", "1/4").ret == 0
    again = project.run_here("--shard", "1/4")
    assert again.ret == 0
    again.stdout.fnmatch_lines(["*is the record that counts of this experiment*"])
    first, second = project.records()
    assert "duplicate_of" not in first
    assert second["duplicate_of"] == first["experiment_id"]
    assert second["quality"]["flags"][-1].startswith(first["experiment_id"])
    capsys.readouterr()
    assert main(["status", str(project.path / "results")]) == 0
    assert "1 done, 3 missing" in capsys.readouterr().out
    reading = read_runs([project.path / "results"])
    assert [run.is_valid for run in reading.runs] == [True, False]
    assert reading.runs[1].reasons == (f"{first['experiment_id']} counts in its place",)
    assert reading.repeated == 0, "a second name of a record is no copy"


def test_status_says_what_failed_and_why(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.settings({**MUTANTS, "hyperparameters": {"seconds": 0.1, "exit": 3}}, seed=5)
    assert project.run_here("--shard", "1/4").ret == 1
    capsys.readouterr()
    assert main(["status", str(project.path / "results")]) == 0
    shown = capsys.readouterr().out
    assert "1 failed, 3 missing" in shown
    assert f"failed  toy-small-mutation-1  {os.uname().nodename}  training ended with" in shown


@pytest.mark.parametrize(
    ("job", "listed", "expected"),
    [
        ("9_1", "9_1", "1 running, 3 missing"),
        ("9_1", "9_2", "4 missing"),
        ("9_1", None, "1 running, 3 missing"),
        (None, "9_2", "1 running, 3 missing"),
    ],
)
def test_status_tells_from_anywhere_what_runs(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    job: str | None,
    listed: str | None,
    expected: str,
) -> None:
    project.settings(MUTANTS, seed=5)
    submitted(project)
    folder, plan = project.path / "results/sessions/one", project.plan(resume=True)
    folder.mkdir(parents=True)
    told = {"plan_digest": plan.digest, "experiment_key": plan.experiments[0].key, "job": job,
            "test_id": plan.experiments[0].id, "since": "2020-01-01T00:00:00",
            "host": "another", "owner": "1-1-1-1"}  # fmt: skip
    (folder / "running.json").write_text(json.dumps(told))
    monkeypatch.setenv("PATH", str(project.path))
    if listed is not None:
        (project.path / "squeue").write_text(f"#!/bin/sh\necho {listed}\n")
        (project.path / "squeue").chmod(0o755)
    capsys.readouterr()
    assert main(["status", str(project.path / "results")]) == 0
    shown = capsys.readouterr().out
    assert expected in shown
    assert ("its task is gone (begun 2020-01-01T00:00:00, job 9_1)" in shown) == (
        expected == "4 missing"
    )


@pytest.mark.parametrize("text", ["{", "[]", '{"experiments": [{}]}', '{"experiments": 3}'])
def test_a_damaged_plan_is_told_beside_the_others(
    project: Project, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    project.settings(MUTANTS, seed=5)
    submitted(project)
    (project.path / "results/plans/damaged.json").write_text(text)
    capsys.readouterr()
    assert main(["status", str(project.path / "results")]) == 0
    shown = capsys.readouterr().out
    assert "damaged.json is no plan" in shown
    assert "4 experiments: 4 missing" in shown


def test_words_for_pytest_that_end_nowhere_are_refused(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.settings(MUTANTS, seed=5)
    with pytest.raises(SystemExit) as ended:
        main(["submit", "settings/test.json", "--dry-run", "--pytest", "-k 'one"])
    assert ended.value.code
    assert "No closing quotation" in capsys.readouterr().err


def test_status_of_nothing_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path)]) == 4
    assert "holds no plan" in capsys.readouterr().err


@pytest.fixture
def slurm(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project in the last task of a job array; `squeue` says that it runs."""
    folder = project.path / "slurm"
    folder.mkdir()
    for command, does in (("squeue", "echo RUNNING"), ("scontrol", 'echo "$@" >> calls.txt')):
        script = folder / command
        script.write_text(f"#!/bin/sh\ncd {shlex.quote(str(folder))}\n{does}\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    values = {"JOB_ID": "9", "ARRAY_JOB_ID": "9", "ARRAY_TASK_ID": "2", "ARRAY_TASK_MIN": "1",
              "ARRAY_TASK_MAX": "2", "ARRAY_TASK_COUNT": "2", "JOB_PARTITION": "gpu"}  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    project.settings(MUTANTS, seed=5)
    return project


def ends_in(seconds: float) -> dict[str, str]:
    return {"SLURM_JOB_END_TIME": f"{time.time() + seconds:.0f}"}


def calls(project: Project) -> str:
    file = project.path / "slurm" / "calls.txt"
    return file.read_text() if file.exists() else ""


def test_a_task_leaves_what_does_not_fit_to_a_later_one(
    slurm: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*next(iter(ends_in(3600).items())))
    assert slurm.run_here("--shard", "slurm", "--resume").ret == 0
    assert calls(slurm) == ""
    (known, _) = slurm.records()
    assert known["environment"]["scheduler"]["array_task_id"] == "2"
    monkeypatch.setenv(*next(iter(ends_in(30).items())))
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    # The first of its kind is begun; what it took tells that the second does not fit.
    result = slurm.run_here("--shard", "slurm")
    assert result.ret == 75, result.stdout.str()
    assert len(slurm.records()) == 3
    assert calls(slurm) == "requeue 9_1\n"
    result.stdout.fnmatch_lines(["*and this task has * s left*", "time is up: 9_1 is queued again"])


def test_a_run_on_a_lost_node_leaves_the_one_that_replaced_it_alone(
    slurm: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*next(iter(ends_in(30).items())))
    monkeypatch.setenv("SLURM_JOB_NODELIST", "another")
    result = slurm.run_here("--shard", "slurm")
    assert result.ret == 75, result.stdout.str()
    assert calls(slurm) == ""
    result.stdout.fnmatch_lines(["not queued again: it was cancelled, or runs elsewhere"])


@pytest.mark.parametrize(
    ("left", "restarts", "again"), [(20, "0", True), (20, "3", False), (3600, "0", False)]
)
def test_only_a_task_whose_time_is_up_queues_itself_again(
    slurm: Project, left: float, restarts: str, again: bool
) -> None:
    slurm.settings({**MUTANTS, "hyperparameters": {"seconds": 30}}, seed=5)
    slurm.interfere("run.foreground:_watch", "os.kill(os.getpid(), signal.SIGTERM)")
    done = slurm.run_apart("--shard", "slurm", SLURM_RESTART_COUNT=restarts, **ends_in(left))
    assert done.returncode == 2, done.stdout
    assert calls(slurm) == ("requeue 9_2\n" if again else "")
    assert slurm.record()["error_message"].startswith("interrupted")


@pytest.mark.parametrize(("noted", "left"), [("twice", 3600), ("had begun 110 s before", 130)])
def test_what_never_fits_is_refused_after_its_second_interruption(
    slurm: Project, monkeypatch: pytest.MonkeyPatch, noted: str, left: float
) -> None:
    note_interruptions(slurm, noted)
    monkeypatch.setenv(*next(iter(ends_in(left).items())))
    result = slurm.run_here("--shard", "slurm")
    assert result.parseoutcomes()["errors"] == 2
    assert "has interrupted it 2 times" in result.stdout.str()
    assert slurm.records() == []


def test_what_did_not_fit_is_tried_again_with_more_time(
    slurm: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_interruptions(slurm, "had begun 110 s before")
    monkeypatch.setenv(*next(iter(ends_in(600).items())))
    assert slurm.run_here("--shard", "slurm").ret == 0
    assert len(slurm.records()) == 2


def note_interruptions(project: Project, noted: str) -> None:
    """Leave what the end of tasks has noted, of every experiment."""
    plan = project.plan()
    notes = project.path / "results" / "slurm" / plan.digest
    notes.mkdir(parents=True)
    for one in plan.experiments:
        (notes / f"{one.key}.interrupted").write_text(f"{one.id} {noted}\n" * 2)


def test_a_resumed_task_is_quick_and_writes_little(project: Project) -> None:
    project.settings({**MUTANTS, "runs_per_config": 19}, seed=5)
    assert project.run_here("--shard", "1/19").ret == 0
    (good,) = project.records()
    results, plan = project.path / "results", project.plan(resume=True)
    for number, one in enumerate(plan.experiments[1:-1]):
        good["experiment_id"] = f"20200101_000000_{number}"
        good["plan"]["experiment_key"], good["plan"]["test_id"] = one.key, one.id
        (results / f"{good['experiment_id']}.json").write_text(json.dumps(good))
    before = {path: path.stat().st_size for path in results.rglob("*") if path.is_file()}
    result = project.run_here("--shard", "1/1", "--resume")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["resume: 18 of 19 experiments found finished, 1 left"])
    assert len(list(results.glob("counted/*/*.json"))) == 19
    written = sum(
        path.stat().st_size
        for path in results.rglob("*")
        if path.is_file() and path not in before and "counted" not in path.parts
    )
    assert written < 50_000


def test_workers_leave_what_does_not_fit_to_a_later_task(
    slurm: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*next(iter(ends_in(3600).items())))
    assert slurm.run_here("--shard", "1/2").ret == 0
    with (slurm.path / "slurm" / "scontrol").open("a") as script:
        script.write("kill -TERM $PPID\n")
    workers = ("-n", "2", "--cpu-energy", "off", "--shard", "2/2", "--resume")
    done = slurm.run_apart(*workers, **ends_in(30))
    assert done.returncode == 75, done.stdout
    assert "Traceback" not in done.stdout
    assert re.search("needs about .* and this task has .* s left", done.stdout)
    assert len(slurm.records()) == 2
    assert calls(slurm) == "requeue 9_2\n"


def test_workers_that_time_interrupts_are_queued_again(slurm: Project) -> None:
    slurm.settings({**MUTANTS, "hyperparameters": {"seconds": 30}}, seed=5)
    slurm.interfere("run.foreground:_watch", "os.kill(os.getppid(), signal.SIGTERM)")
    workers = ("-n", "2", "--cpu-energy", "off", "--shard", "2/2")
    done = slurm.run_apart(*workers, **ends_in(20))
    assert done.returncode == 2, done.stdout
    assert calls(slurm) == "requeue 9_2\n"
    assert all(one["error_message"].startswith("interrupted") for one in slurm.records())
    note = next((slurm.path / "results").glob("slurm/*/*.interrupted"))
    assert re.search("had begun [12]?[0-9] s before the end of 9_2", note.read_text())
