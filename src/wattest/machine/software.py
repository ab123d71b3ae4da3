"""The software that trains: its versions, as the interpreter that runs the training knows them."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

# Frameworks whose version decides what a training costs.
PACKAGES = (
    "torch", "tensorflow", "jax", "numpy", "scipy", "scikit-learn", "pytest", "nvidia-ml-py",
)  # fmt: skip
_LIMIT_SECONDS = 10.0
# Nothing is imported but what tells versions, and nothing from the folder that it runs in.
_QUESTION = """\
import sys
sys.path[:] = [folder for folder in sys.path if folder]
import json, platform
from importlib import metadata
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except Exception:
        found[name] = None
print(json.dumps(found))
"""
Versions = dict[str, str | None]


def own_versions() -> Versions:
    """Return the versions of this interpreter and of what trains, without importing any."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def versions_of(
    python: Path, environment: Mapping[str, str], run_as: tuple[int, int] | None = None
) -> Versions:
    """Return the same of another interpreter, asked as this (uid, gid); None for what is not known.

    It is given ten seconds.
    """
    if python == Path(sys.executable):
        return own_versions()
    told = _answer([str(python), "-c", _QUESTION, *PACKAGES], environment, run_as)
    known = told if isinstance(told, dict) else {}
    return {
        name: value if isinstance(value := known.get(name), str) else None
        for name in ("python", *PACKAGES)
    }


def _answer(
    command: list[str], environment: Mapping[str, str], run_as: tuple[int, int] | None
) -> Any:
    user, group = run_as or (None, None)
    # A file and no pipe: what the interpreter leaves behind may hold a pipe open.
    with tempfile.TemporaryFile() as file:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.DEVNULL,
                cwd="/", env=dict(environment), user=user, group=group, start_new_session=True,
                extra_groups=None if group is None else [group],
            )  # fmt: skip
        except (OSError, ValueError):
            return None
        try:
            process.wait(_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        finally:
            process.kill()
            process.wait()
        file.seek(0)
        try:
            return json.loads(file.read(1 << 16))
        except ValueError:
            return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
