"""Builds the fakes that are written in C."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-pthread")


def build(source: str, library: Path, *flags: str) -> Path:
    """Build `library` from a source beside this file, unless it is there; the library.

    Skips the test where there is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip(f"no C compiler: the fake {library.name} cannot be built")
    library.parent.mkdir(parents=True, exist_ok=True)
    if not library.exists():
        partial = library.with_name(f"{os.getpid()}.so")
        path = Path(__file__).with_name(source)
        command = [compiler, *_FLAGS, "-o", partial, path, *flags]
        subprocess.run(command, check=True, timeout=60)
        partial.rename(library)
    return library
