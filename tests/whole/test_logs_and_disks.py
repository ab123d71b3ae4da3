"""Disks that are full or closed, logs that flood."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from livesession import LiveSession

from conftest import Project, await_until, quick_pytest
from wattest.process import Command, Loop

TOY: dict[str, Any] = {"repo": "toy", "model": "small", "hyperparameters": {"seconds": 0.2}}
OVER_LOAD = {"foreground": TOY, "background": {**TOY, "repo": "busy"}}
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")


def two_programs(project: Project, foreground: str, load: str) -> None:
    """Give the foreground and the load a program each."""
    project.program("toy", foreground)
    project.load(load)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs on `folder`; skip where even root may not."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine mounts no tmpfs: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@is_root
def test_a_disk_that_fills_up_fails_the_experiment_and_spares_earlier_records(
    project: Project, sysfs: Path
) -> None:
    two_programs(
        project,
        """\
        #!/bin/sh
        [ "$2" = large ] && head -c 8000000 /dev/zero | tr '\\0' 'x'
        sleep 0.6
        echo Accuracy: 1
        """,
        "#!/bin/sh\nexec sleep 60\n",
    )
    second = {**OVER_LOAD, "foreground": {**TOY, "model": "large"}}
    third = {**OVER_LOAD, "foreground": {**TOY, "hyperparameters": {"seconds": 0.1}}}
    project.settings(OVER_LOAD, second, third)
    with mounted(project.path / "small_disk", "size=2m") as disk:
        options = ("--results-dir", str(disk), "--sysfs", str(sysfs))
        with LiveSession(project, *options) as session:
            assert session.wait() == 1, session.output()
            assert session.left() == []
        records = {file: json.loads(file.read_text()) for file in disk.glob("*.json")}
        successes = [
            one for one in records.values() if one["foreground_result"]["training_success"]
        ]
        assert [one["foreground_result"]["model"] for one in successes] == ["small"]
        assert not list(disk.rglob(".*.tmp"))
        output = session.output()
    assert "No space left on device" in output
    assert "Traceback" not in output
    assert "INTERNALERROR" not in output
    assert "2 failed, 1 passed" in output


@pytest.mark.parametrize("obstacle", ["a file", "below a file"])
def test_a_results_folder_that_is_a_file_is_found_before_the_first_training(
    project: Project, obstacle: str
) -> None:
    project.settings(TOY)
    (project.path / "taken").write_text("mine")
    folder = "taken" if obstacle == "a file" else "taken/results"
    assert_results_folder_refused(project, folder)
    assert (project.path / "taken").read_text() == "mine"


@is_root
def test_a_read_only_results_folder_is_found_before_the_first_training(project: Project) -> None:
    project.settings(TOY)
    with mounted(project.path / "closed", "ro") as folder:
        assert_results_folder_refused(project, str(folder))


@is_root
def test_a_full_disk_is_found_before_the_first_training(project: Project) -> None:
    project.settings(TOY)
    with mounted(project.path / "full", "size=64k") as folder:
        with pytest.raises(OSError, match="No space left"):
            (folder / "filler").write_bytes(b"x" * 1_000_000)
        assert_results_folder_refused(project, str(folder))


def test_a_plan_that_cannot_be_written_is_found_before_the_first_training(
    project: Project,
) -> None:
    project.settings(TOY)
    (project.path / "results").mkdir()
    (project.path / "results" / "plans").write_text("in the way")
    result = project.refusal()
    result.stderr.fnmatch_lines(["ERROR: *results/plans cannot be written: File exists"])


def test_a_results_folder_that_vanishes_fails_each_experiment_in_words(project: Project) -> None:
    project.program("toy", "#!/bin/sh\necho Accuracy: 1\nrm -r ../../results\n")
    project.settings(TOY, {**TOY, "model": "large"})
    result = project.run_here()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*results/*_toy_large_foreground.log cannot be created: No such*"])
    assert "recorder.py" not in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_a_reader_of_the_output_that_goes_away_costs_no_finished_training(
    project: Project,
) -> None:
    project.program("toy", "#!/bin/sh\nuntil [ -e go ]; do sleep 0.02; done\necho Accuracy: 1\n")
    project.settings(TOY)
    command = [*quick_pytest("experiments"), "--config", "settings/test.json"]
    with subprocess.Popen(command, cwd=project.path, stdout=subprocess.PIPE) as session:
        assert session.stdout is not None
        assert any(b"command" in line for line in session.stdout)
        session.stdout.close()
        (project.path / "repos/toy/go").touch()
        session.wait(30)
    (record,) = project.records()
    assert record["training_success"] is True, record["error_message"]


def assert_results_folder_refused(project: Project, folder: str) -> None:
    result = project.refusal("--results-dir", folder)
    result.stderr.fnmatch_lines(["ERROR: results folder * cannot be written: *--results-dir*"])
    assert "command" not in result.stdout.str()


MEMORY = """\
from pathlib import Path

def pytest_sessionfinish():
    status = Path("/proc/self/status").read_text()
    Path(__file__).with_name("memory.txt").write_text(status)
"""

FLOOD = """\
    #!/bin/sh
    for tenth in 1 2 3 4 5 6 7 8 9 10; do
        yes 'epoch 7, loss 0.1234567, and more words to fill the line' | head -c {bytes}
        sleep 0.1
    done
    echo; echo Accuracy: 91.5
    """


def peak_kilobytes(project: Project) -> int:
    """Return the highest memory use of the pytest that ran last (VmHWM)."""
    text = (project.path / "experiments" / "memory.txt").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert match is not None
    return int(match[1])


def test_a_flood_of_output_costs_no_memory_and_does_not_slow_the_meter(
    project: Project, sysfs: Path
) -> None:
    (project.path / "experiments" / "conftest.py").write_text(MEMORY)
    project.settings(TOY)
    peaks = []
    for megabytes in (1, 4):
        project.program("toy", FLOOD.format(bytes=megabytes * 1_000_000))
        result = project.run("--sysfs", str(sysfs))
        assert result.ret == 0, result.stdout.str()
        peaks.append(peak_kilobytes(project))
    record = project.records()[-1]
    assert record["performance_metrics"] == {"accuracy": 91.5}
    assert (project.path / "results" / record["attempts"][0]["log"]).stat().st_size > 30e6
    assert peaks[1] - peaks[0] < 20_000, f"{peaks} kB"
    meter = record["meter"]
    assert meter["longest_gap_seconds"] < 1.5, meter
    assert meter["p95_period_seconds"] < 1.5, meter


def test_a_load_that_floods_keeps_its_log_under_the_cap_and_the_log_says_so(
    project: Project,
) -> None:
    two_programs(
        project,
        """\
        #!/bin/sh
        until [ -e ../busy/said ]; do sleep 0.05; done
        sleep 0.5
        echo Accuracy: 1
        """,
        """\
        #!/bin/sh
        echo the load begins
        yes 'a line of a load that says too much, far too much, again and again' | head -c 40000000
        sleep 0.5
        echo the load has said it
        touch said
        exec sleep 60
        """,
    )
    project.settings(OVER_LOAD, timeout_seconds=40)
    assert project.run().ret == 0
    (log,) = (project.path / "results").glob("background_logs_*/run_1.log")
    assert log.stat().st_size <= 16 * 2**20
    text = log.read_text()
    assert text.startswith("the load begins\n")
    assert re.search(r"\[wattest: \d+ bytes of output were dropped here", text)
    assert text.endswith("the load has said it\n")


def test_a_load_that_starts_again_and_again_keeps_its_folder_under_the_cap(tmp_path: Path) -> None:
    cap = 300_000
    script = "yes 'a line of the load' | head -c 20000; sleep 0.06"
    command = Command(("/bin/sh", "-c", script), tmp_path, dict(os.environ))
    with Loop(command, tmp_path / "logs", logs_cap_bytes=cap) as loop:
        loop.start()
        with_note = tmp_path / "logs" / "dropped_logs.txt"
        await_until(with_note.exists, "the note is written")
        status = loop.status()
        loop.stop(grace_seconds=0)
    logs = list((tmp_path / "logs").glob("run_*.log"))
    assert sum(log.stat().st_size for log in logs) <= cap + 20_000
    assert tmp_path / "logs" / "run_1.log" in logs
    assert "wattest deleted" in with_note.read_text()
    assert status.failures == 0


def test_names_that_are_no_utf8_stop_no_campaign(project: Project) -> None:
    project.settings(TOY)
    name = os.fsdecode(b"r\xe9sultats")
    assert project.run_here("--results-dir", name).ret == 0
    (record,) = (project.path / name).glob("*.json")
    command = json.loads(record.read_bytes().decode())["environment"]["command"]
    assert isinstance(command, list)
    refused = project.refusal("--results-dir", name, "-n", "1")
    refused.stderr.fnmatch_lines(["ERROR: b'r?xe9sultats' is not UTF-8, and xdist *"])


def test_a_results_folder_that_is_a_dead_link_is_told(project: Project) -> None:
    project.settings(TOY)
    (project.path / "results").symlink_to(project.path / "scratch/gone")
    told = "ERROR: results folder * points to */scratch/gone, which is not there (is it mounted?)*"
    project.refusal().stderr.fnmatch_lines([told])
