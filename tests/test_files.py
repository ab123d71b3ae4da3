"""Files are whole or not there; under sudo they, and the user's own caches, are the user's."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from wattest.files import (
    give_back,
    give_back_caches,
    json_text,
    make_folder,
    obstacle,
    open_new,
    sudo_user,
    why_not_executable,
    write_atomically,
)

UID, GID = 12345, 12346
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: other users' files")


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


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """Above all not by root, who could replace even /dev/null."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), Path("/dev/wattest-is-not-there")):
        with pytest.raises(OSError, match="no file that can be replaced"):
            write_atomically(path, "text")
    assert Path("/dev/null").is_char_device()


def test_under_sudo_what_is_written_is_given_to_who_called_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, *owner, **_: given.append((path.name, *owner)))
    monkeypatch.setattr(os, "fchown", lambda descriptor, *owner: given.append(owner))
    monkeypatch.setenv("SUDO_UID", str(UID))
    monkeypatch.setenv("SUDO_GID", str(GID))
    make_folder(tmp_path / "new")
    os.close(open_new(tmp_path / "new" / "log"))
    write_atomically(tmp_path / "new" / "record.json", "{}")
    assert given == [("new", UID, GID), (UID, GID), (UID, GID)]


def test_a_file_that_cannot_be_given_away_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(descriptor: int, *owner: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", refused)
    monkeypatch.setenv("SUDO_UID", str(UID))
    monkeypatch.setenv("SUDO_GID", str(GID))
    write_atomically(tmp_path / "record.json", "{}")
    assert (tmp_path / "record.json").read_text() == "{}\n"


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


@is_root
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


@is_root
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


@is_root
def test_a_project_of_roots_stays_roots(home: Path) -> None:
    os.chown(home, 0, 0)
    cached = written(home, ".pytest_cache/README.md")
    give_back_caches(home)
    assert owner(cached) == (0, 0)


@is_root
def test_without_sudo_nothing_is_given_away(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID")
    cached = written(home, ".pytest_cache/README.md")
    give_back_caches(home)
    make_folder(home / "results" / "logs")
    assert owner(cached) == owner(home / "results") == (0, 0)


@is_root
def test_new_folders_belong_to_the_user_and_old_ones_keep_their_owner(home: Path) -> None:
    (home / "results").mkdir()
    make_folder(home / "results" / "logs" / "1")
    assert owner(home / "results") == (0, 0)
    assert owner(home / "results" / "logs") == (UID, GID)
    assert owner(home / "results" / "logs" / "1") == (UID, GID)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL])
def test_what_a_file_system_does_not_offer_costs_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    really = os.fsync

    def only_files(descriptor: int) -> None:
        really(descriptor) if stat.S_ISREG(os.fstat(descriptor).st_mode) else refused()

    for name in ("chmod", "fchmod", "chown", "fchown"):
        monkeypatch.setattr(os, name, refused)
    monkeypatch.setattr(os, "fsync", only_files)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", str(UID))
    monkeypatch.setenv("SUDO_GID", str(GID))
    make_folder(tmp_path / "new")
    write_atomically(tmp_path / "new/record.json", "{}")
    give_back(tmp_path / "new")
    assert (tmp_path / "new/record.json").read_text() == "{}\n"


def test_a_record_can_be_read_by_all_whatever_the_mask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "record.json", "{}")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "record.json").stat().st_mode) == 0o644


def test_names_that_are_no_utf8_are_written_as_their_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"r\xe9sultats")
    text = json_text({"folder": name, "half": "\ud800", "whole": "é"})
    assert json.loads(text) == {"folder": r"r\xe9sultats", "half": r"\ud800", "whole": "é"}
    write_atomically(tmp_path / "table.csv", f"folder\n{name}")
    assert (tmp_path / "table.csv").read_bytes() == b"folder\nr\\udce9sultats\n"


def test_what_stands_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    links = {"dead": tmp_path / "gone/there", "circle": tmp_path / "back", "back": "circle",
             "to_file": "file", "good": "folder"}  # fmt: skip
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    dead = f"{tmp_path / 'dead'} points to {tmp_path / 'gone/there'}, which is not there"
    for name in ("dead", "dead/below/it"):
        assert obstacle(tmp_path / name) == f"{dead} (is it mounted?)"
    assert (
        obstacle(tmp_path / "circle/x") == f"{tmp_path / 'circle'} is a link that leads in a circle"
    )
    file = tmp_path / "file"
    assert (
        obstacle(tmp_path / "to_file")
        == f"{tmp_path / 'to_file'} points to {file}, which is no folder"
    )
    assert obstacle(tmp_path / "file/x") == f"{file} is no folder"
    assert [obstacle(tmp_path / name) for name in ("good", "good/new", "folder", "new")] == [
        None
    ] * 4


@pytest.mark.parametrize(
    ("mode", "flag", "told"),
    [
        (0o644, 0, "is not executable; run: chmod +x '"),
        (0o644, os.ST_NOEXEC, "is not executable; run: chmod +x '"),
        (0o755, os.ST_NOEXEC, "lies on a file system mounted noexec (/"),
        (0o700, 0, "may be executed by others only (mode 700, owner "),
        (0o755, 0, "is closed to this user by a folder above it, or by a rule of this machine"),
    ],
)
def test_a_file_that_may_not_be_executed_has_its_reason(
    mode: int, flag: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "train.sh"
    script.touch(mode)
    script.chmod(mode)
    mounted = os.statvfs_result((4096, 4096, 1, 1, 1, 1, 1, 1, flag, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: mounted)
    assert why_not_executable(script).startswith(told)


@pytest.mark.parametrize("odd", ["", "abc", "-1", "\u0663", "4294967295", "99999999999"])
def test_what_is_no_user_has_not_called_sudo(monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_GID", "4294967294")
    assert sudo_user() == (1000, 4294967294)
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.setenv(name, odd)
        assert sudo_user() is None
