"""Files are written whole, and under sudo they belong at once to the user who called sudo."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path

_NOT_OFFERED = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)
_ID = re.compile(r"[0-9]{1,10}")
_NO_ID = 2**32 - 1  # what chown(2) takes for none
_SURROGATE = re.compile("[\ud800-\udfff]")
_CODE_FOLDERS = ("experiments", "fixtures", "src", "tests")


def sudo_user() -> tuple[int, int] | None:
    """Return (uid, gid) of the user who called sudo; None where this is not root under sudo."""
    told = [os.environ.get(name, "") for name in ("SUDO_UID", "SUDO_GID")]
    user, group = (int(text) if _ID.fullmatch(text) else _NO_ID for text in told)
    return None if os.geteuid() != 0 or max(user, group) >= _NO_ID else (user, group)


@contextlib.contextmanager
def where_offered() -> Iterator[None]:
    """Pass over what this file system does not offer: modes, owners, syncing of folders.

    exFAT, NTFS, CIFS and some of FUSE and HPC take files and nothing of that; a folder may be one
    to write into and not to look into. It is a courtesy, and costs no result.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise


def obstacle(folder: Path) -> str | None:
    """Return what stands in the place of a folder or of one above it; None where nothing does.

    That is a link that leads nowhere or in a circle, or something that is no folder.
    """
    # Not the methods of Path: they raise for what may not be looked at.
    place = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    if os.path.isdir(place):  # noqa: PTH112
        return None
    if not place.is_symlink():
        return f"{place} is no folder"
    target = os.path.realpath(place)
    if os.path.islink(target):  # noqa: PTH114
        return f"{place} is a link that leads in a circle"
    why = "is no folder" if os.path.exists(target) else "is not there (is it mounted?)"  # noqa: PTH110
    return f"{place} points to {target}, which {why}"


def user_name(uid: int) -> str:
    """Return the name of a user, and the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def make_folder(folder: Path) -> None:
    """Make a folder with its parents; those that are new belong to the user who called sudo."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    owner = sudo_user()
    for one in missing if owner else ():
        with where_offered():
            os.chown(one, *owner or (), follow_symlinks=False)


def open_new(path: Path) -> int:
    """Create a file and return its descriptor for writing; it belongs to who called sudo.

    Raises:
        FileExistsError: there is one already.
        OSError: it cannot be created.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o644)
    _give_back(descriptor)
    return descriptor


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that a reader finds all of it or the old content, also after a crash.

    Half a surrogate pair, as a name that is no UTF-8 has, is written as its escape.

    Raises:
        OSError: it cannot be written, or `path` is a device or a pipe, which nothing may replace.
    """
    is_special = path.exists() and not (path.is_file() or path.is_dir())
    if is_special or path.absolute().parent == Path("/dev"):
        raise OSError(errno.EINVAL, "is no file that can be replaced", str(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    handle = open_new(temporary)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text + "\n")
            file.flush()
            with where_offered():
                os.fchmod(handle, 0o644)
            _sync(handle)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with where_offered():
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _sync(folder)
        finally:
            os.close(folder)


def json_text(value: object, indent: int = 2) -> str:
    r"""Return `value` as JSON; what is no UTF-8, in names of the system, is escaped: ``\xe9``."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _SURROGATE.sub(lambda found: rf"\\{_escaped(ord(found[0]))}", text)


def as_utf8(text: str) -> str:
    r"""Return a text in which what is no UTF-8, in names of the system, is escaped: ``\xe9``."""
    return _SURROGATE.sub(lambda found: rf"\{_escaped(ord(found[0]))}", text)


def _escaped(code: int) -> str:
    """Return a half of a surrogate pair as the byte that it stands for, if it stands for one."""
    return f"x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"u{code:04x}"


def _sync(descriptor: int) -> None:
    with where_offered():
        os.fsync(descriptor)


def _give_back(descriptor: int) -> None:
    """Give an open file to the user who called sudo; one that cannot be given costs no result."""
    if owner := sudo_user():
        with contextlib.suppress(OSError):
            os.fchown(descriptor, *owner)


def give_back(top: Path) -> None:
    """Under sudo, give a file, or a folder and all in it, to the user who called sudo.

    Raises:
        OSError: what is there cannot be given.
    """
    if owner := sudo_user():
        with where_offered():
            os.chown(top, *owner, follow_symlinks=False)
            _give_tree(top, owner)


def give_back_caches(root: Path) -> None:
    """Under sudo, give back what this session has cached in the project below `root`.

    That is ``.pytest_cache``, and ``__pycache__`` beside the root's ``conftest.py`` and below the
    folders of code.
    """
    for cache in _caches(root) if sudo_user() else ():
        give_back_written(cache)


def give_back_written(path: Path, made: Sequence[Path] = ()) -> None:
    """Under sudo, give back a file, or a folder and what is in it, and the folders `made` for it.

    Only what belongs to root is touched, and only where the folder around all that is the user's
    own: what lies in root's project stays root's. What fails stays as it is.
    """
    owner = sudo_user()
    if owner is None:
        return
    with contextlib.suppress(OSError):
        around = next(one for one in path.parents if one not in made)
        if around.stat().st_uid != owner[0]:
            return
        for folder in (one for one in path.parents if one in made):
            os.chown(folder, *owner, follow_symlinks=False)
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode):
            _give_tree(path, owner, only_of=0)
        elif found.st_uid == 0 and _is_one(found):
            os.chown(path, *owner, follow_symlinks=False)


def _is_one(found: os.stat_result) -> bool:
    """Tell whether this is a regular file with no other name."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _caches(root: Path) -> Iterator[Path]:
    yield root / ".pytest_cache"
    yield root / "__pycache__"
    for name in _CODE_FOLDERS:
        for folder, folders, _ in os.walk(root / name):
            if "__pycache__" in folders:
                folders.remove("__pycache__")
                yield Path(folder, "__pycache__")


def _give_tree(top: Path, owner: tuple[int, int], only_of: int | None = None) -> None:
    """Give a folder and all in it that belongs to the user `only_of`, or to anybody where None.

    Links are not followed, and files that have other names too are left alone. The user may change
    the folder meanwhile: all is done by descriptors of open folders.
    """
    for _, _, files, folder in os.fwalk(top, follow_symlinks=False):
        if only_of is None or os.fstat(folder).st_uid == only_of:
            os.fchown(folder, *owner)
        for name in files:
            with contextlib.suppress(OSError):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if _is_one(found) and (only_of is None or found.st_uid == only_of):
                    os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading; nothing else is waited for.

    Raises:
        OSError: there is none, it cannot be read, or it is a pipe, a device or a folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "is no regular file", str(path))


def read_regular(path: Path) -> bytes:
    """Return the content of a regular file; raises as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()


def read_text(path: Path) -> str | None:
    """Return the stripped content of a small file, or None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def why_not_executable(path: Path) -> str:
    """Return why a file that is there may not be executed, with the remedy; for "it …"."""
    found, shown = path.stat(), f"'{path}'"
    if not found.st_mode & 0o111:
        return f"is not executable; run: chmod +x {shown}"
    if os.statvfs(path).f_flag & os.ST_NOEXEC:
        mount = next(one for one in (path, *path.parents) if one.is_mount() or one == one.parent)
        remedy = "move it, or remount it with exec"
        return f"lies on a file system mounted noexec ({mount}): {shown}; {remedy}"
    if found.st_mode & 0o005 != 0o005:
        mode = f"mode {stat.S_IMODE(found.st_mode):o}, owner {user_name(found.st_uid)}"
        return f"may be executed by others only ({mode}); run: chmod a+rx {shown}"
    return f"is closed to this user by a folder above it, or by a rule of this machine: {shown}"
