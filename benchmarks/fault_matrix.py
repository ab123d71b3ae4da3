"""Print the fault matrix: what is left of each hostile child after each fault, and how fast.

    python benchmarks/fault_matrix.py [--rung guard] [--trials 3] [--fault TEXT] [--child TEXT]

A cell shows trials with survivors or zombies / trials, as an oracle sees them that shares no code
with the supervision, and the median time from the fault until the last process was gone. `n/a`
marks a cell that the mechanism does not promise. The exit code is 1 if a promised cell fails.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from oracle import Oracle  # noqa: E402  (the path comes first)
from zoo.faults import (  # noqa: E402
    BIRTHS,
    FAULTS,
    NEEDS_NAMESPACE,
    Session,
    await_end_of_marked,
    running,
)

_PATIENCE_SECONDS = 2.0
_STARTING_SECONDS = 0.2


@dataclass
class Cell:
    """All trials of one fault with one child."""

    promised: bool
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        trials = len(self.seconds) + len(self.failures)
        median = f"{statistics.median(self.seconds) * 1000:.0f} ms" if self.seconds else "never"
        text = f"{len(self.failures)}/{trials} {median}"
        return text if self.promised else f"n/a ({text})"


@dataclass(frozen=True)
class Fault:
    """One row: a name, what happens, and whether it happens while the session still starts."""

    name: str
    befall: Callable[[Session], None]
    during_start: bool = False


def faults() -> list[Fault]:
    """Return the rows. A fault at another level is one more entry here."""
    rows = [Fault(name, befall) for name, befall in FAULTS.items()]
    kill = FAULTS["SIGKILL of the session"]
    return [*rows, Fault("SIGKILL within 200 ms of the start", kill, during_start=True)]


def trial(fault: Fault, child: str, kind: str, rung: str, cell: Cell) -> None:
    """Run one trial and enter it in the cell."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        oracle = Oracle(folder)
        begin = not fault.during_start
        with running(oracle, child, folder, kind=kind, rung=rung, await_start=begin) as session:
            if fault.during_start:
                time.sleep(random.uniform(0, _STARTING_SECONDS))
            began = time.monotonic()
            fault.befall(session)
            if fault.during_start:
                # A guard that has not even read that its owner is gone shall not escape us.
                await_end_of_marked(session.process.pid, _PATIENCE_SECONDS)
            left = oracle.await_end(_PATIENCE_SECONDS)
            if left:
                cell.failures.append(", ".join(f"PID {one.pid} {one.state}" for one in left))
            else:
                cell.seconds.append(oracle.looked_at - began)


def cells(arguments: argparse.Namespace) -> Iterator[tuple[str, str, Cell]]:
    """Run every cell that was asked for."""
    for fault in faults():
        if arguments.fault not in fault.name:
            continue
        for child in BIRTHS:
            if arguments.child not in child:
                continue
            promised = fault.name not in NEEDS_NAMESPACE or arguments.rung == "pid-namespace"
            cell = Cell(promised)
            # A child that fails at once is a load that starts again; as one run it is over.
            kind = "loop" if child == "fails" else arguments.kind
            for _ in range(arguments.trials):
                trial(fault, child, kind, arguments.rung, cell)
            yield fault.name, child, cell


def main() -> int:
    """Print the table, one row per fault, as it grows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rung", default="guard", choices=["guard", "cgroup", "pid-namespace"])
    parser.add_argument("--kind", default="tree", choices=["tree", "loop"])
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--fault", default="", help="only faults whose name contains this")
    parser.add_argument("--child", default="", help="only children whose name contains this")
    arguments = parser.parse_args()
    user = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    print(f"rung {arguments.rung}, {arguments.kind}, {arguments.trials} trials per cell, {user}")
    broken: list[str] = []
    row = ""
    for fault, child, cell in cells(arguments):
        if fault != row:
            print(f"\n{fault}")
            row = fault
        print(f"    {child:<16} {cell}", flush=True)
        if cell.promised:
            broken += [f"{fault}, {child}: {failure}" for failure in cell.failures]
    print("\n" + ("\n".join(broken) if broken else "nothing survived in any promised cell"))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
