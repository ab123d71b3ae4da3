"""Epochs are seen while a training runs; what comes in blocks is said; a load's work is counted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fakes.powercap import PowercapTree, PowercapWriter
from fakes.profile import steady

from conftest import TOY, Project
from wattest.energy import Snapshot
from wattest.run.marks import (
    IN_BLOCKS,
    LoadMarks,
    LoadRun,
    Mark,
    MarkReader,
    epochs_of,
    runs_of,
)  # fmt: skip

EPOCH = re.compile(r"^Epoch (\d+(?:\.\d+)?)(?:/(\d+))?", re.MULTILINE)
SECOND = 1_000_000_000


class Growing:
    """A log that grows, and what reads it."""

    def __init__(self, folder: Path, pattern: re.Pattern[str] = EPOCH) -> None:
        self.path = folder / "log"
        self.path.write_bytes(b"")
        self.reader = MarkReader(self.path, pattern)
        self.now_ns = SECOND
        self.reader.look(self.now_ns)

    def say(self, said: str | bytes, is_last: bool = False) -> list[float]:
        """Let the program say something; return the epochs seen so far, after 0.1 s."""
        with self.path.open("ab") as file:
            file.write(said.encode() if isinstance(said, str) else said)
        self.now_ns += SECOND // 10
        latest = Snapshot(0.0, cpu_joules=self.now_ns / 1e8)
        self.reader.look(self.now_ns, lambda: latest, is_last=is_last)
        return [mark.epoch for mark in self.reader.marks]


def test_an_epoch_is_seen_once_and_when_its_number_is_whole(tmp_path: Path) -> None:
    log = Growing(tmp_path)
    assert log.say("nothing\nEpo") == []
    assert log.say("ch 1") == []
    assert log.say("0/20 loss 1\nEpoch 10/20 step 2\r") == [10.0]
    assert log.say("\xe9\nEpoch 11/20\r\n") == [10.0, 11.0]
    assert log.say(b"\xff\xc3") == log.say(b"\xa9\n") == [10.0, 11.0]
    assert log.say("Epoch 12") == [10.0, 11.0]
    assert log.say("", is_last=True) == [10.0, 11.0, 12.0]
    assert log.reader.of == 20
    assert [mark.alone for mark in log.reader.marks] == [True] * 3
    assert [mark.gap_ns for mark in log.reader.marks] == [SECOND // 10] * 3
    first, second, third = epochs_of(log.reader.marks, SECOND)
    assert (first.seen_seconds, second.seconds) == (pytest.approx(0.3), pytest.approx(0.1))
    assert (second.cpu_joules, second.cpu_watts) == (pytest.approx(1), pytest.approx(10))
    assert (third.gpu_joules, third.uncertainty_seconds) == (None, pytest.approx(0.2))


def test_epochs_that_come_together_are_no_epochs_of_0_s(tmp_path: Path) -> None:
    log = Growing(tmp_path)
    log.say("Epoch 1\n")
    log.say("Epoch 2\nEpoch 3\n")
    log.say("Epoch 4\n")
    log.say("Epoch 5\n")
    epochs = epochs_of(log.reader.marks, SECOND)
    assert [one.seen_seconds is None for one in epochs] == [False, True, True, False, False]
    assert [one.seconds is None for one in epochs] == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("said", "pattern", "problem"),
    [
        ("Epoch 1\n" + "a" * 60, "(?:(?:a|aa)+)+b(.)", "backtracks without end"),
        ("x" * 3_000_000, r"Epoch (\d+)", "grows faster than it is looked at"),
    ],
)
def test_a_log_that_takes_too_long_to_follow_is_given_up(
    tmp_path: Path, said: str, pattern: str, problem: str
) -> None:
    log = Growing(tmp_path, re.compile(pattern))
    log.say(said)
    for _ in range(20):
        log.say("y")
    assert problem in log.reader.problem


def test_a_log_that_is_cut_is_given_up(tmp_path: Path) -> None:
    log = Growing(tmp_path)
    log.say("Epoch 1\n" * 5)
    log.path.write_text("")
    log.say("")
    assert "cut" in log.reader.problem
    assert "cannot be read" in MarkReader(tmp_path / "none", EPOCH).problem


def worked(folder: Path, runs: list[LoadRun], marks: dict[int, list[float]], *edges: float) -> Any:
    """Return the work between two edges of runs whose epochs were seen at these seconds."""
    load = LoadMarks(folder, EPOCH)
    for run, seen in marks.items():
        (folder / "log").touch()
        load.readers[run] = reader = MarkReader(folder / "log", EPOCH)
        ats = [int(at * SECOND) for at in seen]
        reader.marks = [
            Mark(float(i), at, 0, ats.count(at) == 1) for i, at in enumerate(ats, start=1)
        ]
    return load.work(runs, *(int(edge * SECOND) for edge in edges))


def run(number: int, started: float, ended: float | None = None) -> LoadRun:
    end_ns = None if ended is None else int(ended * SECOND)
    return LoadRun(number, int(started * SECOND), end_ns, None if ended is None else 0)


def test_the_work_of_a_load_has_fractions_at_both_edges(tmp_path: Path) -> None:
    runs = [run(1, 0, 31), run(2, 31)]
    marks: dict[int, list[float]] = {1: [10, 20, 30], 2: [41]}
    # Of the first run the epoch from 10 to 20 s by half; of the second one and half of the next.
    assert worked(tmp_path, runs, marks, 15, 46).amount == pytest.approx(1.5 + 1.5)
    # A run without a mark yet goes as fast as the one before it did.
    assert worked(tmp_path, runs, {**marks, 2: []}, 15, 36).amount == pytest.approx(1.5 + 0.5)
    # What comes in blocks is known of whole runs alone.
    blocks: dict[int, list[float]] = {1: [30, 30, 30], 2: [41]}
    assert worked(tmp_path, runs, blocks, 0, 36).amount == pytest.approx(3.5)
    told = worked(tmp_path, runs, blocks, 1, 36)
    assert told.amount is None
    assert IN_BLOCKS in told.reason
    assert worked(tmp_path, [run(1, 0)], {1: []}, 1, 5).amount is None


def test_epochs_have_the_energy_of_the_run(project: Project, tmp_path: Path) -> None:
    script = "#!/bin/sh\nfor i in 1 2 3; do sleep 0.5; echo Epoch $i/3; done\necho Accuracy: 1\n"
    project.program("toy", script)
    project.describe("toy", progress=EPOCH.pattern)
    project.settings({**TOY, "hyperparameters": {}})
    tree = PowercapTree(tmp_path / "sys")
    with PowercapWriter({tree.add_package(0): steady(60)}):
        result = project.run_here("--sysfs", str(tree.root))
    assert result.ret == 0, result.stdout.str()
    (record,) = project.records()
    assert [one["epoch"] for one in record["epochs"]] == [1, 2, 3]
    total = record["energy_metrics"]["cpu_energy_total_joules"]
    rest = record["duration_seconds"] - record["epochs"][-1]["seen_seconds"]
    told = sum(one["cpu_joules"] for one in record["epochs"])
    assert told + 60 * rest == pytest.approx(total, rel=0.05)
    for one in record["epochs"]:
        assert one["seconds"] > 0.3
        tolerance = 0.02 * 30 + 60 * one["uncertainty_seconds"]
        assert one["cpu_joules"] == pytest.approx(60 * one["seconds"], abs=tolerance)
        assert one["gpu_joules"] is None
    assert record["epochs_note"] is None


def test_a_record_tells_the_runs_of_a_load_and_their_work(project: Project) -> None:
    project.load("#!/bin/sh\nfor i in 1 2; do sleep 0.2; echo Epoch $i/2; done\nexit 3\n")
    project.describe("busy", path="repos/busy", progress=r"Epoch (\d+)/(\d+)")
    foreground = {"repo": "toy", "model": "small", "hyperparameters": {"seconds": 1.5}}
    project.settings({"foreground": foreground, "background": {"repo": "busy", "model": "large"}})
    project.run_here()
    (record,) = project.records()
    window = record["background_info"]["window"]
    runs = window["runs"]
    assert [one["number"] for one in runs] == list(range(runs[0]["number"], runs[-1]["number"] + 1))
    assert runs[0]["started_seconds"] < 0 < runs[0]["ended_seconds"]
    assert {one["exit_code"] for one in runs[:-1]} == {3}
    assert window["work"]["unit"] == "epochs"
    assert 2 <= window["work"]["amount"] <= 8
    assert record["foreground_result"]["epochs"] is None


def test_what_is_no_note_of_a_run_is_none(tmp_path: Path) -> None:
    assert runs_of(tmp_path) == []
    (tmp_path / "runs.csv").write_text("1,5,,\n1,5,9,-9\n2,11,,\n3,1")
    assert runs_of(tmp_path) == [LoadRun(1, 5, 9, -9), LoadRun(2, 11)]
    (tmp_path / "runs.csv").write_text("a,b,c,d\n")
    assert runs_of(tmp_path) == []
