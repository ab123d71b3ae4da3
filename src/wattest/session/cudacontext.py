"""A CUDA context in a child process, for as long as the idle machine is measured with one."""

from __future__ import annotations

import math
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HOLDER = Path(__file__).with_name("cudaholder.py")
_START_SECONDS = 60.0
_END_SECONDS = 10.0


@contextmanager
def cuda_context(seconds: float) -> Iterator[str]:
    """Hold a context open on each visible GPU; yield why there is none, empty where there is.

    The child ends with the block, with us, or when `seconds` and the time to start are over.
    """
    limit = math.ceil(seconds + _START_SECONDS + _END_SECONDS)
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_HOLDER), str(limit)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield _answer(child)
    finally:
        _end(child)


def _answer(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    if not select.select([child.stdout], [], [], _START_SECONDS)[0]:
        return f"CUDA did not start within {_START_SECONDS:.0f} s"
    said = child.stdout.readline().strip()
    return "" if said == "ready" else said or "CUDA ended the process that asked for it"


def _end(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    try:
        child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()
