"""Under sudo, caches in the user's own project go back to the user, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wattest.files import give_back_caches, make_folder, sudo_user

UID, GID = 12345, 12346
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: other users' files")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project of the user who called sudo, in which root has left caches."""
    monkeypatch.setenv("SUDO_UID", str(UID))
    monkeypatch.setenv("SUDO_GID", str(GID))
    root = tmp_path / "project"
    for folder in ("experiments", "src/wattest/energy", "fixtures", "tests", "repos/toy"):
        (root / folder).mkdir(parents=True)
    for folder in (root, *root.rglob("*")):
        os.chown(folder, UID, GID)
    return root


def written(root: Path, name: str) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("root's")
    return file


def owner(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid


def test_the_caches_of_a_session_are_given_back_and_nothing_else(home: Path) -> None:
    caches = [
        written(home, name)
        for name in (
            ".pytest_cache/v/cache/lastfailed",
            ".pytest_cache/README.md",
            "__pycache__/conftest.cpython-311.pyc",
            "experiments/__pycache__/test_training.pyc",
            "src/wattest/energy/__pycache__/base.pyc",
            "tests/__pycache__/x.pyc",
        )
    ]
    others = [
        written(home, name) for name in ("src/wattest/new.py", "repos/toy/__pycache__/model.pyc")
    ]
    give_back_caches(home)
    for file in caches:
        assert owner(file) == owner(file.parent) == (UID, GID), file
    assert owner(home / ".pytest_cache" / "v") == (UID, GID)
    assert [owner(file) for file in (*others, others[1].parent)] == [(0, 0)] * 3


def test_what_a_user_has_led_out_of_the_cache_stays_roots(home: Path, tmp_path: Path) -> None:
    secret = written(tmp_path, "root/secret")
    cache = home / ".pytest_cache"
    cache.mkdir()
    (cache / "link").symlink_to(secret)
    (cache / "folder").symlink_to(secret.parent)
    (cache / "same").hardlink_to(secret)
    (home / "__pycache__").symlink_to(secret.parent)
    strangers = written(home, "tests/__pycache__/strangers.pyc")
    os.chown(strangers, 999, 999)
    give_back_caches(home)
    assert owner(secret) == owner(secret.parent) == (0, 0)
    assert owner(strangers) == (999, 999)


def test_a_project_of_roots_stays_roots(home: Path) -> None:
    os.chown(home, 0, 0)
    cached = written(home, ".pytest_cache/README.md")
    give_back_caches(home)
    assert owner(cached) == (0, 0)


def test_without_sudo_nothing_is_given_away(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for user in ("", "-1", "me"):
        monkeypatch.setenv("SUDO_UID", user)
        assert sudo_user() is None
    monkeypatch.delenv("SUDO_UID")
    cached = written(home, ".pytest_cache/README.md")
    give_back_caches(home)
    make_folder(home / "results" / "logs")
    assert owner(cached) == owner(home / "results") == (0, 0)


def test_new_folders_belong_to_the_user_and_old_ones_keep_their_owner(home: Path) -> None:
    (home / "results").mkdir()
    make_folder(home / "results" / "logs" / "1")
    assert owner(home / "results") == (0, 0)
    assert owner(home / "results" / "logs") == (UID, GID)
    assert owner(home / "results" / "logs" / "1") == (UID, GID)
