"""Metrics are read from logs as programs write them: the last match counts."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

from wattest.training import Metrics, read_metrics

ACCURACY = {"accuracy": re.compile(r"Accuracy[:\s]+([0-9.]+)")}


def read(tmp_path: Path, text: str | bytes, patterns: dict[str, re.Pattern[str]]) -> Metrics:
    log = tmp_path / "log"
    log.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_metrics(log, patterns)


def test_the_last_match_counts(tmp_path: Path) -> None:
    assert read(tmp_path, "Accuracy: 1\nAccuracy: 2\n", ACCURACY).values == {"accuracy": 2.0}


def test_a_full_stop_behind_the_number_is_no_part_of_it(tmp_path: Path) -> None:
    assert read(tmp_path, "Accuracy: 91.5.", ACCURACY).values == {"accuracy": 91.5}


def test_a_match_that_is_no_number_is_null_with_the_reason(tmp_path: Path) -> None:
    found = read(tmp_path, "Accuracy: 1.2.3", ACCURACY)
    assert found.values == {"accuracy": None}
    assert found.problems == ("pattern of 'accuracy' matched '1.2.3', which is no number",)


def test_not_a_number_is_never_a_value(tmp_path: Path) -> None:
    pattern = {"loss": re.compile(r"loss (\S+)")}
    assert read(tmp_path, "loss nan\n", pattern).values == {"loss": None}
    assert read(tmp_path, "loss inf\n", pattern).values == {"loss": None}


def test_a_missing_metric_names_its_pattern(tmp_path: Path) -> None:
    found = read(tmp_path, "nothing", ACCURACY)
    assert not found.found
    assert ACCURACY["accuracy"].pattern in found.problems[0]


def test_a_carriage_return_ends_a_line_and_odd_bytes_do_no_harm(tmp_path: Path) -> None:
    found = read(tmp_path, b"\xff\xfe 10%\rAccuracy: 3\r\xff", ACCURACY)
    assert found.values == {"accuracy": 3.0}


def test_a_number_on_the_next_line_is_found_across_pieces(tmp_path: Path) -> None:
    for padding in range(1_048_570, 1_048_580):
        text = "x" * 99 + "\n"
        filled = text * (padding // 100) + "y" * (padding % 100) + "\n"
        found = read(tmp_path, filled + "Accuracy:\n  42.5\n" + text * 3, ACCURACY)
        assert found.values == {"accuracy": 42.5}


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        for _ in range(30):
            file.write(b"Epoch 1 loss 0.123456789\n" * 40_000)
        file.write(b"Accuracy: 7\n")
    tracemalloc.start()
    found = read_metrics(log, ACCURACY)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.values == {"accuracy": 7.0}
    assert peak_bytes < 15e6


def test_a_log_without_line_ends_is_read_too(tmp_path: Path) -> None:
    found = read(tmp_path, "." * 3_000_000 + " Accuracy: 5", ACCURACY)
    assert found.values == {"accuracy": 5.0}
