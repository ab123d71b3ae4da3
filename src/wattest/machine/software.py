"""The software that trains: its versions, as the interpreter that runs the training knows them."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from wattest.files import open_regular
from wattest.process.launch import scratch_file

# Frameworks whose version decides what a training costs.
PACKAGES = (
    "torch", "tensorflow", "jax", "numpy", "scipy", "scikit-learn", "pytest", "nvidia-ml-py",
)  # fmt: skip
_LIMIT_SECONDS = 10.0
_LONGEST_LINE = 256  # BINPRM_BUF_SIZE: more of a first line is not read by the kernel either
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*t?")
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


def named_python(script: Path, search_path: str, default: Path) -> Path:
    """Return the Python that a script's first line names, as the kernel and ``env`` find it.

    The `default` where it names none, or the same.
    """
    try:
        with open_regular(script) as file:
            line = os.fsdecode(file.readline(_LONGEST_LINE))
    except OSError:
        return default
    words = line[2:].split() if line.startswith("#!") else []
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if word[0] != "-" and "=" not in word]
    if not words or not _PYTHON.fullmatch(Path(words[0]).name):
        return default
    found = Path(shutil.which(words[0], path=search_path) or default)
    is_same = found.parent == default.parent and found.resolve() == default.resolve()
    return default if is_same else found


def versions_of(
    python: Path, environment: Mapping[str, str], run_as: tuple[int, int] | None = None
) -> Versions:
    """Return the same of another interpreter, asked as this (uid, gid); None for what is not known.

    It is given ten seconds.
    """
    is_same_path = environment.get("PYTHONPATH") == os.environ.get("PYTHONPATH")
    if python == Path(sys.executable) and is_same_path:
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
    with scratch_file("wattest-versions") as file:
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
