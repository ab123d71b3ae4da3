"""What a Slurm job knows of itself; the commands are played."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wattest.errors import WattestError
from wattest.machine.slurm import Job, call

Play = Callable[..., Path]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Return what lets a command print this, end so, and note its arguments."""

    def make(command: str, prints: str = "", code: int = 0) -> Path:
        script, log = tmp_path / "bin" / command, tmp_path / f"{command}.log"
        script.parent.mkdir(exist_ok=True)
        told = f"cat <<'END'\n{prints}\nEND\n" if prints else ""
        script.write_text(f'#!/bin/sh\necho "$@" >> {str(log)!r}\n{told}exit {code}\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
        return log

    return make


def job(**more: str) -> Job:
    found = Job.here({"SLURM_JOB_ID": "17", **more})
    assert found is not None
    return found


ARRAY = {"SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "4"}


def test_outside_of_slurm_there_is_no_job() -> None:
    assert Job.here({}) is None


def test_the_last_task_of_an_array_is_named_by_its_own_number(play: Play) -> None:
    log = play("scontrol")
    job(**ARRAY).requeue()
    assert log.read_text() == "requeue 17_4\n"


def test_the_end_is_told_by_the_environment_or_by_squeue(play: Play) -> None:
    assert job(SLURM_JOB_END_TIME="1900000000").ends_at == 1_900_000_000
    log = play("squeue", time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 100)))
    left = job(**ARRAY).seconds_left()
    assert left is not None
    assert 95 < left <= 100
    assert "--jobs 17_4" in log.read_text()


@pytest.mark.parametrize("told", ["N/A", "NONE", ""])
def test_an_end_that_nobody_knows_is_none(play: Play, told: str) -> None:
    play("squeue", told)
    assert job().seconds_left() is None


@pytest.mark.parametrize(
    ("state", "expected"),
    [("RUNNING|None|n1", True), ("COMPLETING|TimeLimit|n1", True), ("COMPLETING|None|n1", False),
     ("RUNNING|None|n2", False), ("PENDING|BeginTime|", False), ("", False)],
)  # fmt: skip
def test_a_run_that_was_cancelled_or_replaced_is_not_wanted(
    play: Play, state: str, expected: bool
) -> None:
    play("squeue", state)
    assert job(SLURM_JOB_NODELIST="n1").is_wanted() is expected


def test_what_slurm_refuses_is_one_line(play: Play) -> None:
    play("scontrol", code=1)
    with pytest.raises(WattestError, match=r"^scontrol: exit code 1$"):
        job().requeue()


def test_what_a_user_likes_to_see_of_jobs_changes_no_answer(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play("squeue")
    (tmp_path / "bin/squeue").write_text("#!/bin/sh\nenv | grep -e ^SQUEUE_ -e ^SLURM_TIME_\n")
    monkeypatch.setenv("SQUEUE_STATES", "PENDING")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    assert call("squeue") == "SLURM_TIME_FORMAT=standard\n"


@pytest.mark.parametrize("odd", ["", "0", "-1", "abc", "\u00b2", "9" * 18, "9" * 5000, "1e9", " 1"])
def test_odd_variables_of_slurm_are_none(play: Play, odd: str) -> None:
    play("squeue", "N/A")
    found = job(SLURM_RESTART_COUNT=odd, SLURM_JOB_END_TIME=odd)
    assert found.restarts == 0
    assert found.facts()["end_time"] is None
