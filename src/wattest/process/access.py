"""What another user may run: asked as that user, because only the kernel knows all the rules."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from wattest.errors import ProcessError
from wattest.process.order import groups_of

_ASK = 'for file do if [ -%s "$file" ]; then echo yes; else echo no; fi; done'
_PATIENCE_SECONDS = 10.0


def first_refused(path: Path, run_as: tuple[int, int]) -> Path | None:
    """Return what keeps the user (uid, gid) from executing `path`: a folder above it, or itself.

    Links are followed. A script must be readable, too. None where nothing is in the way. Only root
    may ask for another user.

    Raises:
        ProcessError: this cannot be asked.
    """
    real = path.resolve()
    way = [*reversed(path.parents), *reversed(real.parents), real]
    allowed = _allows("x", way, run_as)
    if all(allowed):
        return real if _is_script(real) and not all(_allows("r", [real], run_as)) else None
    return way[allowed.index(False)]


def _allows(right: str, paths: Sequence[Path], run_as: tuple[int, int]) -> list[bool]:
    uid, gid = run_as
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", _ASK % right, "sh", *paths],
            user=uid,
            group=gid,
            extra_groups=groups_of(uid, gid),
            cwd="/",
            capture_output=True,
            check=True,
            timeout=_PATIENCE_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ProcessError(f"cannot ask what user {uid} may run: {error}") from error
    return [line == b"yes" for line in done.stdout.split()]


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False
