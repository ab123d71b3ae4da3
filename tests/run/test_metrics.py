"""A metric is a whole number that the log says last, or none with the reason."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from wattest.run.metrics import Metrics, read_metrics

ACCURACY = r"Accuracy[:\s]+([0-9.]+)"


def read(tmp_path: Path, text: str, pattern: str = ACCURACY) -> Metrics:
    log = tmp_path / "log"
    log.write_text(text, encoding="utf-8")
    return read_metrics(log, {"accuracy": re.compile(pattern, re.MULTILINE)})


@pytest.mark.parametrize(
    ("said", "pattern", "value"),
    [
        ("Accuracy: 9.15e-05", ACCURACY, 9.15e-05),
        ("Accuracy: 9.15E-05, lr 0.1", ACCURACY, 9.15e-05),
        ("Accuracy: 9E+10.", ACCURACY, 9e10),
        ("Accuracy: 1.e2", ACCURACY, 100.0),
        ("Accuracy: 91.5%", ACCURACY, 91.5),
        ("Accuracy: 91.5% (9150/10000)", ACCURACY, 91.5),
        ("Accuracy: 91.5, loss: 0.3", ACCURACY, 91.5),
        ("Accuracy: 91.5,0.3", ACCURACY, 91.5),
        ("(Accuracy: 91.5)", ACCURACY, 91.5),
        ("Accuracy: 91.5\u00b10.3", ACCURACY, 91.5),
        ("Accuracy: 91.5", r"Accuracy.*([0-9.]+)", 91.5),
        ("Accuracy: 91.567", r"Accuracy: (\d+\.\d)", 91.567),
        ("Accuracy: 91.567", r"Accuracy: (\d+)", 91.567),
        ("loss -0.5", r"loss.*?([0-9.]+)", -0.5),
        ("loss=-.5", r"loss.*?([0-9]+)", -0.5),
        ("loss 1e-05", r"loss.*-([0-9]+)", 1e-05),
        ("loss-0.5", r"loss-([0-9.]+)", 0.5),
        ("F1-score: 0.5", r"F1[:\s-]+score[:\s]+([0-9.]+)", 0.5),
        ("acc91.5", r"acc([0-9.]+)", 91.5),
        ("Accuracy.....91.5", r"Accuracy\.+([0-9.]+)", 91.5),
        ("took 12ms", r"took ([0-9.]+)ms", 12.0),
        ("took 12.3s", r"took ([0-9.]+)", 12.3),
        ("used 12.5MiB", r"used ([0-9.]+)", 12.5),
        ("took 12 ms", r"took ([0-9.]+)", 12.0),
        ("Accuracy: 9\x1b[1m1.5\x1b[0m\x1b[2me-05\x1b[0m", ACCURACY, 91.5e-5),
        ("Accuracy: \x1b[32m91.5\x1b[0m", r"Accuracy: \x1b\[32m([0-9.]+)", 91.5),
        ("took 12s", r"took ([0-9.]+)\s*(?:ms|s)", 12.0),
        ("3,91,5", r"^3,(\d+),", 91.0),
        ("Correct: 95/100", r"Correct: (\d+)", 95.0),
        ("\u7cbe\u5ea6\uff1a91.5\uff0c", "\u7cbe\u5ea6\uff1a([0-9.]+)", 91.5),
        ("Accuracy: \u0669\u0661", r"Accuracy: (\d+)", 91.0),
    ],
)
def test_a_number_of_which_a_pattern_takes_a_part_counts_as_a_whole(
    tmp_path: Path, said: str, pattern: str, value: float
) -> None:
    assert read(tmp_path, f"{said}\n", pattern) == Metrics({"accuracy": value})


@pytest.mark.parametrize(
    ("said", "token"),
    [
        ("1_000", "1_000"),
        ("1,234.5", "1,234.5"),
        ("1.234,5", "1.234,5"),
        ("91,5", "91,5"),
        ("1'234", "1'234"),
        ("1\u202f234", "1\u202f234"),
        ("0x1F", "0x1F"),
        ("1.5k", "1.5k"),
        ("9.15E", "9.15E"),
        ("1.5D-05", "1.5D"),
        ("9.15\u00d710\u207b\u2075", "9.15\u00d710\u207b\u2075"),
        ("9.15*10^-5", "9.15*10^-5"),
        ("9\u066b15", "9\u066b15"),
        ("10\u00b2", "10\u00b2"),
        ("1e999", "1e999"),
        ("1.#IND", "1.#IND"),
        ("1:23.5", "1:23.5"),
        ("5 x 10^-5", "5 x 10^-5"),
    ],
)
def test_a_part_of_what_is_no_number_is_none_with_the_reason(
    tmp_path: Path, said: str, token: str
) -> None:
    found = read(tmp_path, f"Accuracy: {said} done\n")
    assert found.values == {"accuracy": None}
    assert found.problems[0].startswith("pattern of 'accuracy' matched '")
    assert found.problems[0].endswith(f", a part of {token!r}, which is no number")


def test_a_typographic_minus_is_not_dropped(tmp_path: Path) -> None:
    assert read(tmp_path, "loss: \u22120.5", r"loss: .*?([0-9.]+)").values == {"accuracy": None}


@pytest.mark.parametrize(
    "said",
    ["nan", "NaN", "-inf", "Infinity", "None", "N/A", "--", "", "-0.5", "\u2212 ", "nan%", "?"],
)
def test_a_training_that_diverged_has_not_the_value_of_an_earlier_epoch(
    tmp_path: Path, said: str
) -> None:
    found = read(tmp_path, f"Epoch 1 Accuracy: 88.0\nEpoch 2 Accuracy: {said}\nDone.\n")
    assert found.values == {"accuracy": None}
    assert "where the log says at last 'Accuracy:" in found.problems[0]


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("x: 88\nx: nan\n", r"y: .|x: ([0-9.]+)"),
        ("x: 88\nx: nan\n", r"(?:x: ([0-9.]+)|y)"),
        ("88 acc\nnan acc\n", r"([0-9.]+) acc"),
        ("88% acc\n-inf% acc\n", r"^([0-9.]+)% acc"),
        ("loss 3 acc 88\nloss nan acc nan\n", r"loss [0-9.]+ acc ([0-9.]+)"),
        ("loss 3 acc 88\nloss nan acc 10.0\n", r"loss \d+\.?\d* acc ([0-9.]+)"),
        ("acc 88 loss 3\nacc 10 loss nan\n", r"acc ([0-9.]+) loss [0-9.]+"),
        ("acc: 88%\nacc: 9.15e-05%\n", r"acc: ([0-9.]+)%"),
        ("psnr 30dB\npsnr infdB\n", r"psnr ([0-9.]+)dB"),
        ("acc: 88\nacc: tensor(nan, device='cuda:0')\n", r"acc: ([0-9.]+)"),
        ("acc: 88\nacc: \x1b[31mnan\x1b[0m\n", r"acc: ([0-9.]+)"),
        ("acc: nan (epoch 3)\n", r"acc.*?([0-9.]+)"),
        ("acc: nan\nEpoch 3\n", r"acc:\D*([0-9.]+)"),
    ],
)
def test_no_number_is_seen_wherever_the_pattern_wants_one(
    tmp_path: Path, text: str, pattern: str
) -> None:
    found = read(tmp_path, text, pattern)
    assert found.values == {"accuracy": None}
    assert "where the log says at last " in found.problems[0]


def test_a_colour_that_a_piece_ends_within_is_none_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wattest.run.log._READ_BYTES", 64)
    for length in range(40, 64):
        text = f"{'x' * length}\nacc: \x1b[31m91.5\x1b[0m\n"
        assert read(tmp_path, text, r"acc: ([0-9.]+)").values == {"accuracy": 91.5}
    assert read(tmp_path, "acc: 91.5\x1b[", r"acc: ([0-9.]+)").values == {"accuracy": 91.5}


def test_a_reason_is_short_whatever_the_log_says(tmp_path: Path) -> None:
    for said, pattern in (("1" * 10**5, ACCURACY), ("x" * 10**5, r"Accuracy: (\S+)")):
        found = read(tmp_path, f"Accuracy: {said}\n", pattern)
        assert found.values == {"accuracy": None}
        assert len(found.problems[0]) < 200


def test_a_later_place_without_a_number_is_told_and_takes_nothing(tmp_path: Path) -> None:
    found = read(tmp_path, "Accuracy: 88.0\nAccuracy and loss were written.\n")
    assert found.values == {"accuracy": 88.0}
    assert "where the log says at last 'Accuracy and loss were written.'" in found.problems[0]


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("Accuracy: nan\nAccuracy: 88\n", ACCURACY),
        ("Accuracy: 88%\nAccuracy: 0.9 of the best\n", r"Accuracy: ([0-9.]+)%"),
        ("acc 88\nnothing: nan\n", r"\w+ ([0-9.]+)"),
        ("Test Loss: 88, Train Loss: nan\n", r"Test.*Loss[:\s]+([0-9.]+)"),
        ("acc: 88 done\nacc: 9 failed\n", r"acc: ([0-9.]+) done"),
    ],
)
def test_what_stands_before_or_elsewhere_is_not_said_of_the_last_number(
    tmp_path: Path, text: str, pattern: str
) -> None:
    assert read(tmp_path, text, pattern) == Metrics({"accuracy": 88.0})


def test_the_last_place_is_found_beyond_the_piece_of_the_last_number(tmp_path: Path) -> None:
    filler = "x" * 99 + "\n"
    for lines in (1, 10_480, 10_486, 25_000):
        found = read(tmp_path, f"Accuracy: 88\n{filler * lines}Accuracy: nan\n")
        assert found.values == {"accuracy": None}, lines
    assert read(tmp_path, f"Accuracy: nan\n{filler * 25_000}Accuracy: 8").values["accuracy"] == 8


@pytest.mark.parametrize("pattern", [r"((?:a|aa)+)+b|acc: (?:[0-9.]+)", r"(?:(?:a|aa)+)+b()"])
def test_a_pattern_that_backtracks_without_end_costs_its_metric_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    monkeypatch.setattr("wattest.patterns.LIMIT_SECONDS", 0.2)
    log = tmp_path / "log"
    log.write_text(f"acc: 1\n{'a' * 60}!\nacc: 91.5\n")
    found = read_metrics(log, {"bad": re.compile(pattern), "good": re.compile("acc: ([0-9.]+)")})
    assert found.values == {"bad": None, "good": 91.5}
    told = "pattern of 'bad' took more than 0.2 s: it backtracks without end"
    assert found.problems[0].startswith(told)


def test_digits_without_end_that_are_no_number_are_seen_as_such_at_once(tmp_path: Path) -> None:
    began = time.process_time()
    found = read(tmp_path, f"Accuracy: {'1' * 30_000}x\n", r"Accuracy: (\S+)")
    assert "which is no number" in found.problems[0]
    assert time.process_time() - began < 5


def test_a_log_that_is_gone_or_no_file_costs_the_metrics_alone(tmp_path: Path) -> None:
    pattern = {"accuracy": re.compile(ACCURACY)}
    os.mkfifo(tmp_path / "pipe")
    for name in ("gone", "pipe", "."):
        found = read_metrics(tmp_path / name, pattern)
        assert found.values == {"accuracy": None}
        assert "cannot be read" in found.problems[0]
