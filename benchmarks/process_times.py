"""Print what holding a process tree costs in time, beside the bare calls of the same run.

    python benchmarks/process_times.py [--rung guard] [--trials 40]

Start of a held tree against a bare start, stop of a polite tree against SIGTERM to a bare process,
stop of a tree that ignores SIGTERM beyond its grace period, and the gap between two runs of a load
against starting the same program once. Medians and ranges; nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from oracle import Oracle  # noqa: E402  (the path comes first)

from wattest.process import Command, Loop, Rung, Tree  # noqa: E402

_GRACE_SECONDS = 0.3
_PATIENCE_SECONDS = 60.0
_FAMILY = 3
"""Processes of each child of the zoo that is used here."""


def milliseconds(values: Sequence[float]) -> str:
    """Return median and range of times in seconds."""
    least, median, most = min(values), statistics.median(values), max(values)
    return f"{median * 1e3:.1f} ({least * 1e3:.1f} to {most * 1e3:.1f})"


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.monotonic()
    call()
    return time.monotonic() - began


def command(folder: Path, *argv: str) -> Command:
    """Return a command in `folder`."""
    return Command(argv, folder, {"PATH": os.environ["PATH"]})


def starts(folder: Path, rung: Rung) -> tuple[float, float]:
    """Return the time of a held start, whose supervisor waits already, and of a bare one."""
    with Tree(command(folder, "sleep", "60"), folder / "log", rung=rung) as tree:
        held = timed(tree.start)
    bare: list[subprocess.Popen[bytes]] = []
    seconds = timed(lambda: bare.append(subprocess.Popen(["sleep", "60"])))
    bare[0].kill()
    bare[0].wait()
    return held, seconds


def stop(folder: Path, rung: Rung, child: str, grace_seconds: float) -> float:
    """Return how long the stop of a child of the zoo takes."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        oracle = Oracle(Path(name))
        argv = oracle.argv(child, sys.executable)
        with Tree(command(folder, *argv), folder / "log", rung=rung) as tree:
            tree.start()
            oracle.await_births(_FAMILY)
            return tree.stop(grace_seconds=grace_seconds).duration_seconds


def bare_stop() -> float:
    """Return how long a bare process takes to end by SIGTERM."""
    with subprocess.Popen(["sleep", "60"]) as process:
        return timed(lambda: (process.terminate(), process.wait()))


def restart_gap(folder: Path, rung: Rung, count: int) -> tuple[float, float]:
    """Return the median and the longest gap between the runs of a load that ends cleanly."""
    with Loop(command(folder, "true"), folder / "runs", rung=rung) as loop:
        loop.start()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while loop.status().runs_started <= count and time.monotonic() < deadline:
            time.sleep(0.05)
        status = loop.status()
    assert status.gap_median_ns is not None
    assert status.gap_max_ns is not None
    return status.gap_median_ns / 1e9, status.gap_max_ns / 1e9


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rung", default="guard", choices=[one.value for one in Rung])
    parser.add_argument("--trials", type=int, default=40)
    arguments = parser.parse_args()
    rung, trials = Rung(arguments.rung), arguments.trials
    load = os.getloadavg()[0]
    print(f"rung {rung.value}, {trials} trials, load average {load:.1f}; milliseconds")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = [starts(folder, rung) for _ in range(trials)]
        held, bare = [[pair[side] for pair in pairs] for side in (0, 1)]
        print(f"start                     {milliseconds(held)}; bare {milliseconds(bare)}")
        polite = [stop(folder, rung, "polite", 10) for _ in range(trials)]
        print(
            f"stop of a polite tree     {milliseconds(polite)}; "
            f"bare {milliseconds([bare_stop() for _ in range(trials)])}"
        )
        stubborn = [
            stop(folder, rung, "stubborn", _GRACE_SECONDS) - _GRACE_SECONDS
            for _ in range(max(3, trials // 4))
        ]
        print(f"stop beyond the grace     {milliseconds(stubborn)}")
        median, longest = restart_gap(folder, rung, trials)
        again = [timed(lambda: subprocess.run(["true"], check=True)) for _ in range(trials)]
        print(
            f"gap between two runs      {median * 1e3:.1f} (up to {longest * 1e3:.1f}); "
            f"one bare run {milliseconds(again)}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
