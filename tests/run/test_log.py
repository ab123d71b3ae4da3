"""Metrics are read from logs as programs write them: the last match counts."""

from __future__ import annotations

import os
import re
import tracemalloc
from pathlib import Path

import pytest

from wattest.run.log import end_of, last_lines
from wattest.run.metrics import Metrics, read_metrics

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


def test_a_line_begins_and_ends_wherever_it_stands(tmp_path: Path) -> None:
    pattern = {"accuracy": re.compile(r"^Accuracy: ([0-9.]+)$", re.MULTILINE)}
    filler = "x" * 99 + "\n"
    for lines in (0, 1, 10_482, 10_483, 10_484):
        text = "no Accuracy: 1\nAccuracy: 7\n" + filler * lines + "Accuracy: 8 of 9\n"
        assert read(tmp_path, text, pattern).values == {"accuracy": 7.0}


def test_a_block_of_lines_is_found_across_pieces(tmp_path: Path) -> None:
    pattern = {"accuracy": re.compile(r"Final results:\n(?:.*\n){5}accuracy: ([0-9.]+)")}
    filler, block = "x" * 99 + "\n", "Final results:\n" + "more\n" * 5 + "accuracy: 42.5\n"
    for lines in range(10_480, 10_490):
        assert read(tmp_path, filler * lines + block, pattern).values == {"accuracy": 42.5}


@pytest.mark.parametrize("end", [b"\n", b" "], ids=["lines", "one line"])
def test_memory_does_not_grow_with_the_log(tmp_path: Path, end: bytes) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.write(b"Accuracy: 6\n")
        for _ in range(30):
            file.write((b"Epoch 1 loss 0.123456789" + end) * 40_000)
        file.write(b"Accuracy: 7\n")
    tracemalloc.start()
    found = read_metrics(log, ACCURACY)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.values == {"accuracy": 7.0}
    assert peak_bytes < 15e6


def test_of_a_log_as_large_as_the_disk_the_end_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("log", "metrics"):
        monkeypatch.setattr(f"wattest.run.{module}.MOST_BYTES", 1 << 20)
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.write(b"loss: 1\n")
        file.truncate(1 << 38)
        file.seek(0, os.SEEK_END)
        file.write(b"\nAccuracy: 5\n")
    found = read_metrics(log, {**ACCURACY, "loss": re.compile(r"loss: ([0-9.]+)")})
    assert found.values == {"accuracy": 5.0, "loss": None}
    assert found.problems[-1] == "of the 262144 MiB of the log only the last 1 were read"


def test_a_log_without_line_ends_is_read_too(tmp_path: Path) -> None:
    found = read(tmp_path, "." * 3_000_000 + " Accuracy: 5", ACCURACY)
    assert found.values == {"accuracy": 5.0}


def test_the_last_lines_hold_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    log = tmp_path / "log"
    said = b"10%\r20%\r\n\x1b]0;PWNED\x07\tbad\0nul \x1b[2J\n\xc2\x9b2J \x7f\xff\n"
    log.write_bytes(said + "a\u2028b\x0bc\u0085d\u202ee \u00e9\u2026 \U0001f600\n".encode())
    assert last_lines(log) == [
        "10%",
        "20%",
        "\\x1b]0;PWNED\\x07\tbad\\x00nul \\x1b[2J",
        "\\x9b2J \\x7f\ufffd",
        "a\\u2028b\\x0bc\\x85d\\u202ee \u00e9\u2026 \U0001f600",
    ]
    assert "\x1b" in end_of(log), "what patterns are matched against is the log as it is"


def test_a_last_line_has_a_bounded_length(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("x" * 300 + "\n" + "y" * 301 + "\n" + "\x1b" * 299 + "\n")
    exact, cut, escaped = last_lines(log)
    assert (exact, cut) == ("x" * 300, "y" * 299 + "…")
    assert len(escaped) == 300
    assert escaped.endswith("…")
    log.write_text("x" * 1_000_000)
    assert last_lines(log) == ["x" * 299 + "…"]


def test_the_last_lines_are_those_that_were_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("1\n2\n\n3")
    assert last_lines(log, 2) == ["", "3"]
    log.write_text("1\n2\n")
    assert last_lines(log, 1) == ["2"]
    log.write_text("")
    assert last_lines(log) == last_lines(tmp_path / "none") == []


def test_metrics_are_matched_in_the_log_as_it_is(tmp_path: Path) -> None:
    coloured = {"accuracy": re.compile(r"\x1b\[1mAccuracy\x1b\[0m\s([0-9.]+)")}
    text = "z" * 1000 + "\x1b[1mAccuracy\x1b[0m\u202891.5\n"
    assert read(tmp_path, text, coloured).values == {"accuracy": 91.5}
