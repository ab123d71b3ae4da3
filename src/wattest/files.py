"""Under sudo, what root writes is given to the user who called sudo; without sudo all stays."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

_CODE_FOLDERS = ("experiments", "fixtures", "src", "tests")


def sudo_user() -> tuple[int, int] | None:
    """Return (uid, gid) of the user who called sudo; None where this is not root under sudo."""
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not (user.isdecimal() and group.isdecimal()):
        return None
    return int(user), int(group)


def make_folder(folder: Path) -> None:
    """Make a folder with its parents; those that are new belong to the user who called sudo."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    owner = sudo_user()
    for one in missing if owner else ():
        os.chown(one, *owner or (), follow_symlinks=False)


def give_back_caches(root: Path) -> None:
    """Under sudo, give back what this session has cached in the project below `root`.

    That is ``.pytest_cache``, and ``__pycache__`` beside the root's ``conftest.py`` and below the
    folders of code. Only what belongs to root is touched, and only where the folder around the
    cache is the user's own: a cache in root's project stays root's. What fails stays as it is.
    """
    owner = sudo_user()
    if owner is None:
        return
    for cache in _caches(root):
        with contextlib.suppress(OSError):
            if cache.parent.stat().st_uid == owner[0]:
                _give_tree(cache, owner)


def _caches(root: Path) -> Iterator[Path]:
    yield root / ".pytest_cache"
    yield root / "__pycache__"
    for name in _CODE_FOLDERS:
        for folder, folders, _ in os.walk(root / name):
            if "__pycache__" in folders:
                folders.remove("__pycache__")
                yield Path(folder, "__pycache__")


def _give_tree(top: Path, owner: tuple[int, int]) -> None:
    """Give a folder and all in it; links are not followed, nor files that have other names too.

    The user may change the folder meanwhile: all is done by descriptors of open folders.
    """
    for _, _, files, folder in os.fwalk(top, follow_symlinks=False):
        if os.fstat(folder).st_uid == 0:
            os.fchown(folder, *owner)
        for name in files:
            with contextlib.suppress(OSError):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if found.st_uid == 0 and stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                    os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that a reader finds all of it or the old content, also after a crash."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_regular(path: Path) -> bytes:
    """Return the content of a regular file; nothing else is waited for.

    Raises:
        OSError: there is none, it cannot be read, or it is a pipe, a device or a folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        return file.read()


def give_back(path: Path) -> None:
    """Under sudo, give `path` to the user who called sudo; otherwise do nothing."""
    if owner := sudo_user():
        os.chown(path, *owner, follow_symlinks=False)


def read_text(path: Path) -> str | None:
    """Return the stripped content of a small file, or None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
