"""Of two records of one experiment the first that is committed counts."""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from wattest.energy import METRICS
from wattest.records.commit import commit, counted, is_untouched

OUTCOME = {
    "repository": "toy", "model": "small", "hyperparameters": {}, "duration_seconds": 1.0,
    "energy_metrics": dict.fromkeys(METRICS), "performance_metrics": {}, "training_success": True,
    "retries": 0, "error_message": "", "quality": {"verdict": "valid", "reasons": [], "flags": []},
    "energy_provenance": None, "energy_estimate": None, "attempts": [],
}  # fmt: skip
PLAN = dict.fromkeys(("session_id", "test_id", "experiment_key", "plan_digest"), "x")
RECORD: dict[str, object] = {
    **OUTCOME, "timestamp": "", "mode": "default", "environment": {},
    "plan": {**PLAN, "root_seed": 1, "mutated": []},
}  # fmt: skip
RECORD["energy_metrics"] = {**dict.fromkeys(METRICS), "attribution": "machine"}


def record(results: Path, name: str) -> Path:
    path = results / f"{name}.json"
    path.write_text(json.dumps({**RECORD, "experiment_id": name}))
    return path


def is_first(results: Path, path: Path) -> bool:
    return commit(path, name_in(results)) is None


def name_in(results: Path) -> Path:
    return results / "counted" / "plan" / "key.json"


def test_the_first_counts(tmp_path: Path) -> None:
    first, second = record(tmp_path, "first"), record(tmp_path, "second")
    assert is_first(tmp_path, first)
    assert not is_first(tmp_path, second)
    assert is_first(tmp_path, first), "it stays the first"
    assert counted(name_in(tmp_path))


def test_what_is_written_to_after_its_commit_is_touched(tmp_path: Path) -> None:
    path = record(tmp_path, "first")
    assert is_first(tmp_path, path)
    assert is_untouched(name_in(tmp_path))
    path.write_text(path.read_text() + " ")
    assert not is_untouched(name_in(tmp_path))
    assert is_first(tmp_path, path)
    assert is_untouched(name_in(tmp_path)), "it was looked at, and is the one that counts"


def test_of_many_at_once_one_counts(tmp_path: Path) -> None:
    records = [record(tmp_path, str(number)) for number in range(40)]
    with ProcessPoolExecutor(4) as pool:
        found = list(pool.map(is_first, [tmp_path] * 40, records))
    assert found.count(True) == 1


def test_a_record_that_was_deleted_counts_no_more(tmp_path: Path) -> None:
    first, second = record(tmp_path, "first"), record(tmp_path, "second")
    assert is_first(tmp_path, first)
    first.unlink()
    assert not counted(name_in(tmp_path))
    assert is_first(tmp_path, second)


def refuse(*_: object) -> None:
    raise PermissionError


def test_without_hard_links_a_symbolic_one_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse)
    first, second = record(tmp_path, "first"), record(tmp_path, "second")
    assert is_first(tmp_path, first)
    assert not is_first(tmp_path, second)
    first.unlink()
    assert is_first(tmp_path, second)


def test_without_any_links_every_record_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert is_first(tmp_path, record(tmp_path, "first"))
    assert is_first(tmp_path, record(tmp_path, "second"))
    assert not counted(name_in(tmp_path))
