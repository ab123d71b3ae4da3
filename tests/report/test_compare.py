"""`wattest compare`: through an anchor or over sessions; gates never pass in silence."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.campaigns import Campaign, Figures, Machine
from wattest.cli import main

NEW = Machine(commit="1" * 40)
# By how much a session moves everything, and what the new commit does to all but the anchor.
SESSION, CHANGE = 1.05, 1.10
ANCHOR = {"learning_rate": 0.1}
RATES = (0.2, 0.4, 0.8, 1.6)
WOBBLES = (1.01, 0.99, 1.02, 0.98)


def leave(folder: Path, change: float = CHANGE, factor: float = 1.0, **more: Any) -> Path:
    """Leave a session of an anchor, three times, and four other configurations."""
    campaign = Campaign(folder, **more)
    for wobble in (0.99, 1.0, 1.01):
        campaign.run(ANCHOR, Figures().times(factor, factor, factor * wobble))
    for rate, wobble in zip(RATES, WOBBLES, strict=True):
        more_joules = factor * change * (wobble if change != 1 else 1)
        campaign.run({"learning_rate": rate}, Figures().times(factor, factor, more_joules))
    return folder


@pytest.fixture
def both(tmp_path: Path) -> list[str]:
    """Return two campaigns, of two commits."""
    before = leave(tmp_path / "a", change=1.0)
    after = leave(tmp_path / "b", factor=SESSION, session="later", machine=NEW)
    return [str(before), str(after)]


def compared(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main(["compare", "--format", "json", *arguments]) == code
    return json.loads(capsys.readouterr().out)


def row(document: Any, key: str, question: str = "alone") -> Any:
    (program,) = document["programs"]
    rows = [one for one in program["rows"] if one["question"] == question]
    return next(one for one in rows if one["quantity"]["key"] == key)["estimate"]


def test_what_a_session_does_to_everything_cancels_against_the_anchor(
    both: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*both, "--by", "commit", "--anchor", "learning_rate=0.1"]
    found = row(compared(capsys, *arguments), "gpu_energy")
    logs = [math.log(CHANGE * wobble) for wobble in WOBBLES]
    mean = sum(logs) / 4
    parts = [(sum((one - mean) ** 2 for one in logs) / 3 / 4, 3)]
    anchor = [math.log(wobble) for wobble in (0.99, 1.0, 1.01)]
    center = sum(anchor) / 3
    parts += [(sum((one - center) ** 2 for one in anchor) / 2 / 3, 2)] * 2
    total = sum(variance for variance, _ in parts)
    freedom = total**2 / sum(variance**2 / freedom for variance, freedom in parts)
    from scipy.stats import t

    half = t.ppf(0.975, freedom) * math.sqrt(total)
    assert found["value"] == pytest.approx(math.exp(mean), rel=1e-9)
    assert found["low"] == pytest.approx(math.exp(mean - half), rel=1e-9)
    assert found["high"] == pytest.approx(math.exp(mean + half), rel=1e-9)


def test_without_an_anchor_there_are_points(
    both: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = row(compared(capsys, *both, "--by", "commit"), "gpu_energy")
    assert found["value"] is not None
    assert found["low"] is None
    assert "no anchor, and fewer than 3 sessions a side" in found["reason"]


def test_three_sessions_a_side_need_no_anchor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side, change, machine in (("a", 1.0, Machine()), ("b", CHANGE, NEW)):
        for number, factor in enumerate((1.02, 1.0, 0.99)):
            name = f"{side}{number}"
            leave(tmp_path / side / name, change, factor, session=name, machine=machine)
    sides = [str(tmp_path / side) for side in "ab"]
    found = row(compared(capsys, *sides, "--by", "commit"), "duration")
    assert (found["n"], found["unit"]) == (6, "sessions")
    assert found["low"] < 1 < found["high"]


def test_what_the_load_did_needs_no_anchor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side, ratio, load in (("a", 1.2, "large"), ("b", 1.5, "larger")):
        said = {"repo": "busy", "model": load, "hyperparameters": {}}
        campaign = Campaign(tmp_path / side, session=side, load=said)
        factor = SESSION if side == "b" else 1.0
        for rate, wobble in zip(RATES, WOBBLES, strict=True):
            alone = Figures().times(factor, factor, factor)
            loaded = alone.times(gpu=ratio * (wobble if side == "b" else 1))
            campaign.pair({"learning_rate": rate}, alone, loaded)
    sides = [str(tmp_path / "a"), str(tmp_path / "b")]
    text = "load differs: busy/large and busy/larger"
    assert text in json.dumps(compared(capsys, *sides))
    document = compared(capsys, *sides, "--by", "background", "--fail-if", "gpu_energy>1.1", code=1)
    found = row(document, "gpu_energy", "load")
    mean = math.exp(sum(math.log(1.25 * wobble) for wobble in WOBBLES) / 4)
    assert found["value"] == pytest.approx(mean, rel=1e-9)
    assert found["low"] > 1.2


@pytest.mark.parametrize(
    ("gate", "code", "words"),
    [
        ("gpu_energy>1.05", 1, "FAILS"),
        ("gpu_energy>1.2", 0, "holds"),
        ("gpu_energy>1.1", 3, "UNDECIDED: the limit lies within the interval"),
        ("gpu_energy<1.05", 0, "holds"),
        ("gpu_energy < 1.2", 1, "FAILS"),
        ("parallel.gpu_energy>1", 4, "nothing here is called 'parallel.gpu_energy'"),
        ("accuracy<-0.5", 3, "all values are equal"),
        ("gpu_energy=1", 4, "is no gate"),
        ("gpu_energy>nan", 4, "is no gate"),
        ("f1>1", 4, "nothing here is called 'f1'; there are: "),
    ],
)
def test_a_gate_fails_holds_or_is_not_decided(
    gate: str, code: int, words: str, both: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    anchor = ["--by", "commit", "--anchor", "learning_rate=0.1"]
    assert main(["compare", *both, *anchor, "--fail-if", gate]) == code
    output = capsys.readouterr()
    assert words in output.out + output.err


def test_a_refused_gate_is_not_decided_and_the_worst_gate_counts(
    both: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *both, "--fail-if", "gpu_energy>9"]) == 3
    assert "UNDECIDED: commit differs" in capsys.readouterr().out
    anchored = ["--by", "commit", "--anchor", "learning_rate=0.1"]
    gates = ["--fail-if", "gpu_energy>1.1", "--fail-if", "gpu_energy>1.05"]
    assert main(["compare", *both, *anchored, *gates]) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--by", "weather"], "--by weather: no such name; there are: gpu, driver"),
        (["--anchor", "learning_rate=7"], "no such configuration ran in both A and B"),
    ],
)
def test_bad_options_are_bad_input(
    arguments: list[str], sentence: str, both: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *both, *arguments]) == 4
    assert sentence in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_bad_input(
    both: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", both[0], str(tmp_path / "none")]) == 4
    assert "no such folder" in capsys.readouterr().err


def test_equality_is_said_only_within_a_margin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = leave(tmp_path / "a", change=1.0)
    after = leave(tmp_path / "b", change=1.001, session="later")
    anchor = ["--anchor", "learning_rate=0.1"]
    found = row(compared(capsys, str(before), str(after), *anchor), "gpu_energy")
    assert found["equivalence"] is None
    sides = [str(before), str(after), *anchor, "--equivalent"]
    wide = row(compared(capsys, *sides, "5%"), "gpu_energy")
    assert wide["equivalence"] == "equivalent within 5 %"
    narrow = row(compared(capsys, *sides, "1%"), "gpu_energy")
    assert narrow["equivalence"] == "not shown to be equivalent within 1 %"


def test_wrong_arguments_are_bad_input_and_no_gate(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["a"], ["a", "b", "--equivalent", "wide"]):
        with pytest.raises(SystemExit) as ended:
            main(["compare", *arguments])
        assert ended.value.code == 4
    assert "'wide' is no margin" in capsys.readouterr().err


@pytest.mark.parametrize(("is_full", "code"), [(True, 4), (False, 1)])
def test_a_gate_whose_sentence_reaches_nobody_does_not_pass(
    is_full: bool, code: int, both: list[str]
) -> None:
    words = ["--by", "commit", "--anchor", "learning_rate=0.1", "--fail-if", "gpu_energy>0.01"]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe, Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "wattest", "compare", *both, *words],
            stdout=full if is_full else pipe, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == code
    assert done.stderr == (
        "ERROR: the output cannot be written: No space left on device\n" if is_full else ""
    )


def test_a_program_that_one_side_lost_is_said_and_no_gate_passes_over_it(
    both: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Campaign(Path(both[0]), repo="lost", session="more").run({}, Figures())
    gate = ["--anchor", "learning_rate=0.1", "--by", "commit", "--fail-if", "gpu_energy>2"]
    assert main(["compare", *both, *gate]) == 3
    text = capsys.readouterr().out
    assert "- gpu_energy>2: holds" in text
    told = "it has runs that count only in A: not compared"
    assert f"- gpu_energy>2: UNDECIDED: not known of lost/small ({told})" in text
    assert "## lost/small\n\nIt has runs that count only in A: not compared." in text
