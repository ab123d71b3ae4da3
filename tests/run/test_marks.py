"""Epochs are seen while a training runs; what comes in blocks is said; a load's work is counted."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes.powercap import PowercapTree, PowercapWriter
from fakes.profile import Profile, bursts

from conftest import Project, toy_registry
from wattest.energy import Measurement, Snapshot
from wattest.energy.measurement import DOMAINS
from wattest.energy.types import DomainResult
from wattest.run.epochs import Whole, epochs_of, rest_of
from wattest.run.marks import IN_BLOCKS, Mark, MarkReader, disorder
from wattest.run.outcome import Attempt
from wattest.run.work import LoadMarks, LoadRun, runs_of

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
        latest = Snapshot(0.0, cpu_joules=(self.now_ns - SECOND) / 1e8)
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
    assert [mark.gap_ns for mark in log.reader.marks] == [
        SECOND // 5, SECOND // 10, SECOND // 5,
    ]  # fmt: skip
    joules: dict[str, float | None] = {"cpu": 8.0, "gpu": None}
    whole = Whole(SECOND, 0.8, joules, {"cpu": 0.4, "gpu": 0.0})
    first, second, third = epochs_of(log.reader.marks, whole)
    assert (first.seen_seconds, second.seconds) == (pytest.approx(0.3), pytest.approx(0.1))
    assert (second.cpu_joules, second.cpu_watts) == (pytest.approx(1), pytest.approx(10))
    assert (third.gpu_joules, third.uncertainty_seconds) == (None, pytest.approx(0.3))
    # The counter shows what was 0.4 s ago at worst, at both ends.
    assert third.cpu_uncertainty_joules == pytest.approx(2 * 0.4 * 10)
    assert third.gpu_uncertainty_joules is None
    assert rest_of([first, second, third], whole).cpu_joules == pytest.approx(0)


def test_epochs_that_come_together_are_no_epochs_of_0_s(tmp_path: Path) -> None:
    log = Growing(tmp_path)
    log.say("Epoch 1\n")
    log.say("Epoch 2\nEpoch 3\n")
    log.say("Epoch 4\n")
    log.say("Epoch 5\n")
    joules: dict[str, float | None] = {"cpu": 5.0, "gpu": None}
    whole = Whole(SECOND, 0.5, joules, {"cpu": 0.0, "gpu": 0.0})
    epochs = epochs_of(log.reader.marks, whole)
    assert [one.seen_seconds is None for one in epochs] == [False, True, True, False, False]
    assert [one.seconds is None for one in epochs] == [False, True, True, True, False]
    rest = rest_of(epochs, whole)
    assert (rest.seconds, rest.cpu_joules, rest.cpu_watts) == pytest.approx((0.3, 3, 10))


def test_an_epoch_at_the_end_of_a_log_is_seen_when_no_more_comes(tmp_path: Path) -> None:
    log = Growing(tmp_path)
    assert log.say("\rEpoch 1") == []
    assert log.say("") == [1.0]
    assert log.say("Epoch 2\rEpoch 3") == [1.0]
    assert log.say("") == log.say("") == [1.0, 3.0]
    assert log.say("\rEpoch 4\rEpoch 5") == [1.0, 3.0, 4.0]
    assert log.say("") == [1.0, 3.0, 4.0, 5.0]
    for _ in range(5):
        assert log.say("\rEpoch 5") == [1.0, 3.0, 4.0, 5.0]
    assert log.say("\rEpoch 6") == [1.0, 3.0, 4.0, 5.0]
    assert log.say("\rEpoch 6") == [1.0, 3.0, 4.0, 5.0, 6.0]
    marks = log.reader.marks
    assert [mark.alone for mark in marks] == [True, True, False, False, True]
    assert [10 * mark.gap_ns // SECOND for mark in marks] == [2, 2, 1, 2, 2]


def test_what_stands_behind_a_match_begins_no_line(tmp_path: Path) -> None:
    log = Growing(tmp_path, re.compile(r"(?:^|(?<=at ))\s*(\d+)", re.MULTILINE))
    assert log.say("12 34 56\n13 7") == [12.0, 13.0]
    assert log.say("8 9\n") == [12.0, 13.0]
    assert log.say("x" * 5000 + " 1") == log.say("\r") == [12.0, 13.0]
    assert log.say("14 done at") == log.say(" ") == [12.0, 13.0, 14.0]
    assert log.say("15.\n") == [12.0, 13.0, 14.0, 15.0]


def test_what_stands_around_a_number_is_no_part_of_it(tmp_path: Path) -> None:
    log = Growing(tmp_path, re.compile(r"Epoch \[([ \d]+)/([ \d]+)|^Epoch (?:[\d.]+)"))
    assert log.say("Epoch [  7/ 20]\n") == [7.0]
    assert log.reader.of == 20
    (tmp_path / "dotted").mkdir()
    assert Growing(tmp_path / "dotted", re.compile(r"Epoch ([\d.]+)")).say("Epoch 3. \n") == [3.0]


def test_colours_are_no_part_of_a_log_unless_the_pattern_names_them(tmp_path: Path) -> None:
    log = Growing(tmp_path)
    assert log.say("\x1b[1mEpoch \x1b[3") == []
    assert log.say("2m1\x1b[0m/9\n") == [1.0]
    assert log.reader.of == 9
    (tmp_path / "named").mkdir()
    assert Growing(tmp_path / "named", re.compile(r"\x1b\[1m(\d+)")).say("\x1b[1m3\n") == [3.0]


def test_a_burst_that_takes_several_looks_is_seen_as_one(tmp_path: Path) -> None:
    log = Growing(tmp_path)
    log.say("Epoch 1\n")
    assert log.say("Epoch 2\n" + "x" * 150_000 + "\nEpoch 3\n") == [1.0]
    assert log.say("") == [1.0]
    log.say("")
    log.say("x" * 150_000 + "\nEpoch 4\n")
    log.say("")
    log.say("")
    marks = log.reader.marks
    assert [(mark.epoch, mark.alone) for mark in marks] == [
        (1, True), (2, False), (3, False), (4, True),
    ]  # fmt: skip
    assert [mark.gap_ns for mark in marks] == [SECOND // 10, *[3 * SECOND // 10] * 3]
    log.say("Epoch 5\n" + "x" * 2_000_000, is_last=True)
    assert (marks[-1].epoch, marks[-1].alone) == (5, False)
    assert "grows faster than it is looked at" in log.reader.problem


def test_an_epoch_in_a_whole_block_of_the_log_came_sooner_than_it_was_seen(tmp_path: Path) -> None:
    log = Growing(tmp_path)
    said = "".join(f"Epoch {i} ".ljust(4500, ".") + "\n" for i in range(1, 6))
    blocks = [said[i : i + 4096] for i in range(0, len(said), 4096)]
    for block in blocks:
        log.say(block)
    assert log.say("Epoch 6\n") == [1, 2, 3, 4, 5, 6]
    assert [mark.alone for mark in log.reader.marks] == [False] * 5 + [True]


def test_following_a_log_for_days_uses_no_time_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wattest.run.marks._LIMIT_SECONDS", 0.005)
    log = Growing(tmp_path)
    for i in range(1, 1000):
        log.say(f"Epoch {i}\n")
    assert (len(log.reader.marks), log.reader.problem) == (999, "")


def test_steps_that_are_taken_for_epochs_fill_neither_the_memory_nor_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wattest.run.marks._MOST_MARKS", 100)
    monkeypatch.setattr("wattest.run.outcome._MOST_EPOCHS", 10)
    log = Growing(tmp_path)
    log.say("Epoch 1\nEpoch 2\n" * 100)
    log.say("Epoch 3\n")
    assert len(log.reader.marks) == 200
    assert log.reader.problem == "its progress pattern tells of more than 100 epochs"
    domains = {name: DomainResult(name, "unavailable", "none") for name in DOMAINS}
    measured = Measurement(SECOND, SECOND, 1.0, tuple(domains.values()), (), (), {})
    attempt = Attempt(1, (), 9.0, log.path, tmp_path, "", marks=log.reader, measurement=measured)
    epochs, rest, note = attempt.epochs() or ([], None, None)
    assert (len(epochs), note) == (10, "only the first 10 epochs are listed")
    assert rest is not None
    assert rest.seconds == 1.0


def test_epochs_that_go_back_are_told(tmp_path: Path) -> None:
    log = Growing(tmp_path)
    for epoch in (2, 3, 2, 3):
        log.say(f"Epoch {epoch}\n")
    assert disorder(log.reader.marks) == ""
    log.say("Epoch 5\n")
    log.say("Epoch 4\n")
    assert disorder(log.reader.marks) == "its epochs do not count up: 4 came after 5"


def test_an_epoch_lasts_no_less_than_no_time_and_uses_no_less_than_no_energy(
    tmp_path: Path,
) -> None:
    log = Growing(tmp_path)
    log.say("Epoch 1\n")
    log.now_ns -= SECOND // 5
    log.say("Epoch 2\n", is_last=True)
    joules: dict[str, float | None] = {"cpu": 1.0, "gpu": None}
    epochs = epochs_of(log.reader.marks, Whole(SECOND, 0.1, joules, {"cpu": 0.0, "gpu": 0.0}))
    assert [one.seconds for one in epochs] == [pytest.approx(0.1), 0]
    # What had been counted has fallen from 1 J to none.
    assert [one.cpu_joules for one in epochs] == [pytest.approx(1.0), None]


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


def worked(
    folder: Path,
    runs: list[LoadRun],
    marks: dict[int, list[float]],
    *edges: float,
    epochs: Sequence[float] = range(1, 100),
) -> Any:
    """Return the work between two edges of runs whose epochs were seen at these seconds."""
    load = LoadMarks(folder, EPOCH)
    for run, seen in marks.items():
        (folder / "log").touch()
        load.readers[run] = reader = MarkReader(folder / "log", EPOCH)
        ats = [int(at * SECOND) for at in seen]
        reader.marks = [
            Mark(float(epoch), at, 0, ats.count(at) == 1)
            for epoch, at in zip(epochs, ats, strict=False)
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


@pytest.mark.parametrize(
    ("epochs", "amount"),
    [
        ((0, 1, 2, 3), 4),
        ((5, 6, 7, 8), 4),
        ((1, 2, 4, 5), 5),
        ((10, 20, 30, 40), 40),
        ((1, 2, 1, 2), 4),
        ((0.25, 0.5, 0.25, 0.5), 1),
        ((3.5, 4, 4.5, 5), 2),
        ((2, 4, 3, 5), None),
    ],
)
def test_epochs_that_are_skipped_or_begin_anew_are_counted(
    tmp_path: Path, epochs: Sequence[float], amount: float | None
) -> None:
    ats: list[float] = [10, 20, 30, 40]
    found = worked(tmp_path, [run(1, 0, 41)], {1: ats}, 0, 50, epochs=epochs)
    assert found.amount == (None if amount is None else pytest.approx(amount))
    assert found.amount is not None or "3 came after 4" in found.reason


STEPS = """\
#!{python}
import pathlib, sys, time
out = open(1, "w", closefd=False)
began = time.monotonic()
pathlib.Path({trigger!r}).touch()
for i, at in enumerate({ats}, start=1):
    time.sleep(max(0, began + at - time.monotonic()))
    print("Epoch", i, "at", time.monotonic_ns(), file=out, flush={flush})
time.sleep(0.1)
print("Accuracy: 1", file=out)
"""


def test_epochs_have_the_energy_of_the_run(project: Project, tmp_path: Path) -> None:
    ats = (0.5, 1.0, 1.6)
    power = bursts(20.0, [(0.5, 1.0, 120.0), (1.0, 1.6, 40.0)])
    words = {"python": sys.executable, "ats": ats}
    told = {name: tmp_path / name for name in ("trigger", "nothing")}
    project.program("toy", STEPS.format(**words, trigger=str(told["trigger"]), flush=True))
    project.program("busy", STEPS.format(**words, trigger=str(told["nothing"]), flush=False))
    models = {
        name: {**entry, "path": f"repos/{name}", "progress": EPOCH.pattern}
        for name, entry in toy_registry()["models"].items()
    }
    project.registry({"models": models})
    entries = [{"repo": repo, "model": "small", "hyperparameters": {}} for repo in ("toy", "busy")]
    project.settings(*entries, execution_order="as_written")
    tree = PowercapTree(tmp_path / "sys")
    zones = {tree.add_package(0): power}
    with PowercapWriter(zones, trigger=told["trigger"]) as writer:
        result = project.run_here("--sysfs", str(tree.root))
        assert result.ret == 0, result.stdout.str()
        began_ns = writer.wait_for("started")["epoch_ns"]
    records = {record["repository"]: record for record in project.records()}
    log = next((project.path / "results").glob("training_*_toy_*.log"))
    ends = [int(line.split()[-1]) for line in log.read_text().splitlines() if "at" in line]
    check_epochs(records["toy"], power, began_ns, ends)
    assert [one["seconds"] for one in records["busy"]["epochs"]] == [None] * 3
    assert records["busy"]["epochs_note"] == IN_BLOCKS
    rest, whole = records["busy"]["epochs_rest"], records["busy"]["energy_metrics"]
    assert rest["cpu_joules"] == whole["cpu_energy_total_joules"]


def check_epochs(record: dict[str, Any], power: Profile, began_ns: int, ends: list[int]) -> None:
    """Compare the epochs of a record with what a known power makes of known times."""
    assert [one["epoch"] for one in record["epochs"]] == [1, 2, 3]
    before_ns = record["energy_provenance"]["window"]["opened_ns"]
    for one, end_ns in zip(record["epochs"], ends, strict=True):
        true = power.joules((before_ns - began_ns) / 1e9, (end_ns - began_ns) / 1e9)
        wrong = 0.02 * true + one["cpu_uncertainty_joules"]
        assert one["cpu_joules"] == pytest.approx(true, abs=wrong)
        seconds = (end_ns - before_ns) / 1e9
        assert one["seconds"] == pytest.approx(seconds, abs=one["uncertainty_seconds"])
        assert one["cpu_watts"] == pytest.approx(one["cpu_joules"] / one["seconds"])
        assert one["gpu_joules"] is one["gpu_uncertainty_joules"] is None
        before_ns = end_ns
    rest = record["epochs_rest"]
    told = sum(one["cpu_joules"] for one in record["epochs"]) + rest["cpu_joules"]
    assert told == pytest.approx(record["energy_metrics"]["cpu_energy_total_joules"])
    seconds = sum(one["seconds"] for one in record["epochs"]) + rest["seconds"]
    assert seconds == pytest.approx(record["energy_provenance"]["window"]["duration_seconds"])
    assert rest["cpu_joules"] >= 0
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
    # One run goes on at the opening edge, or has just ended: the load starts anew all the time.
    assert runs[0]["started_seconds"] < runs[0]["ended_seconds"]
    assert runs[0]["ended_seconds"] > 0
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
