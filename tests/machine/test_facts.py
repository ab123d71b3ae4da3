"""What a record says of the machine is of this machine, whatever the session inherited."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from wattest.machine import facts


def commit(folder: Path, message: str) -> str:
    """Return the first commit of a new repository."""
    folder.mkdir()
    own = ["-c", "user.name=n", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    words = (["init", "-q"], [*own, "commit", "-q", "--allow-empty", "-m", message])
    for one in words:
        subprocess.run(["git", "-C", str(folder), *one], check=True)
    told = subprocess.check_output(["git", "-C", str(folder), "rev-parse", "HEAD"], text=True)
    return told.strip()


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"])
def test_a_commit_is_that_of_its_folder_whatever_git_told_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    mine, other = commit(tmp_path / "mine", "one"), commit(tmp_path / "other", "two")
    assert mine != other
    monkeypatch.setenv(name, str(tmp_path / "other/.git"))
    assert facts.git_state(tmp_path / "mine") == {"commit": mine, "dirty": False}
    (tmp_path / "mine/new").touch()
    assert facts.git_state(tmp_path / "mine") == {"commit": mine, "dirty": True}


def test_a_file_whose_name_is_no_utf8_makes_a_checkout_dirty_and_no_trouble(tmp_path: Path) -> None:
    mine = commit(tmp_path / "mine", "one")
    plainly = ["git", "-C", str(tmp_path / "mine"), "config", "core.quotePath", "false"]
    subprocess.run(plainly, check=True)
    (tmp_path / "mine" / os.fsdecode(b"\xe9")).touch()
    assert facts.git_state(tmp_path / "mine") == {"commit": mine, "dirty": True}


def test_a_repository_cannot_have_a_program_of_its_own_run_or_left(tmp_path: Path) -> None:
    commit(tmp_path / "mine", "one")
    monitor = tmp_path / "monitor"
    monitor.write_text(f"#!/bin/sh\ntouch {str(tmp_path / 'ran')!r}\n")
    monitor.chmod(0o755)
    words = ["git", "-C", str(tmp_path / "mine"), "config", "core.fsmonitor", str(monitor)]
    subprocess.run(words, check=True)
    assert facts.git_state(tmp_path / "mine")["dirty"] is False
    assert not (tmp_path / "ran").exists()
