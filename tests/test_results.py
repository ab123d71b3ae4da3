"""Records are written whole or not at all, under a name of their own, and given back under sudo."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from conftest import toy_registry
from wattest.errors import RecordError
from wattest.plan import Experiment, expand
from wattest.registry import load_registry
from wattest.results import ResultsFolder, give_back, write_atomically
from wattest.settings import load_settings


@pytest.fixture
def planned(tmp_path: Path) -> Experiment:
    registry = tmp_path / "registry.json"
    registry.write_text(json.dumps(toy_registry()), encoding="utf-8")
    settings = tmp_path / "settings.json"
    settings.write_text(
        json.dumps({"experiments": [{"repo": "toy", "model": "small", "hyperparameters": {}}]}),
        encoding="utf-8",
    )
    return expand(load_settings(settings, load_registry(registry, tmp_path)), 1).experiments[0]


def test_ids_made_in_the_same_second_are_unique(tmp_path: Path, planned: Experiment) -> None:
    results = ResultsFolder(tmp_path / "results")
    results.prepare()
    ids = [results.reserve(planned).experiment_id for _ in range(5)]
    assert len(set(ids)) == 5
    assert all("_toy_small" in name for name in ids)


def test_what_a_killed_write_left_is_removed_and_a_write_in_progress_is_not(tmp_path: Path) -> None:
    left, current = tmp_path / ".a.json.x1.tmp", tmp_path / ".b.json.x2.tmp"
    for file in (left, current):
        file.touch()
    os.utime(left, (0, 0))
    ResultsFolder(tmp_path).prepare()
    assert list(tmp_path.iterdir()) == [current]


def test_a_document_that_breaks_the_schema_is_not_written(
    tmp_path: Path, planned: Experiment
) -> None:
    results = ResultsFolder(tmp_path / "results")
    results.prepare()
    files = results.reserve(planned)
    with pytest.raises(RecordError, match="breaks its own schema"):
        results.write(files, {"experiment_id": files.experiment_id})
    assert not files.record.exists()


def test_a_failed_write_leaves_the_old_content_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "record.json"
    write_atomically(target, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, "new")
    assert target.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [target]


def test_a_results_folder_that_is_a_file_is_found_out_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(RecordError, match=r"cannot be written.*--results-dir"):
        ResultsFolder(tmp_path / "results").prepare()


def test_under_sudo_files_belong_to_who_called_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda *words, **_: given.append(words))
    monkeypatch.setenv("SUDO_UID", "1234")
    monkeypatch.setenv("SUDO_GID", "567")
    give_back(tmp_path)
    assert given == [(tmp_path, 1234, 567)]
    monkeypatch.delenv("SUDO_UID")
    give_back(tmp_path)
    assert len(given) == 1
