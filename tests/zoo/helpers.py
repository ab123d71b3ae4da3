"""What the tests of process trees share beside their fixtures."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wattest.process import Exit, Loop, LoopStatus, Rung, Tree, probe

MakeTree = Callable[..., Tree]
MakeLoop = Callable[..., Loop]


def needs(rung: Rung) -> None:
    """Skip the test, with the reason, where a rung is not to be had."""
    reason = probe().reason_against(rung)
    if reason:
        pytest.skip(reason)


def finish(tree: Tree, seconds: float = 10.0) -> Exit:
    """Wait for the end of a training as a sampling loop does."""
    deadline = time.monotonic() + seconds
    while (exit := tree.poll()) is None:
        assert time.monotonic() < deadline, "the training did not end"
        select.select([tree.fileno()], [], [], 0.5)
    return exit


def await_status(
    loop: Loop, wanted: Callable[[LoopStatus], bool], seconds: float = 10.0
) -> LoopStatus:
    """Wait until the status of a loop is as wanted."""
    deadline = time.monotonic() + seconds
    while not wanted(status := loop.status()):
        assert time.monotonic() < deadline, f"still {status}"
        time.sleep(0.01)
    return status


def await_text(file: Path, text: str, seconds: float = 10.0) -> None:
    """Wait until a file contains a text."""
    deadline = time.monotonic() + seconds
    while text not in file.read_text():
        assert time.monotonic() < deadline, f"no {text!r} in {file.read_text()!r}"
        time.sleep(0.002)


def python(code: str) -> tuple[str, ...]:
    """Return a command that runs a bit of Python."""
    return (sys.executable, "-I", "-S", "-c", code)


def voluntary_switches(pid: int) -> int:
    """Return how often a process has waited for something so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def kilobytes(pid: int | str, field: str) -> int:
    """Return a field of the memory of a process: VmRSS now, VmHWM at its peak."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0])
