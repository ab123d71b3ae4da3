"""Compare `wattest attribute` with whose energy it really was, on a machine that knows.

    python benchmarks/attribution_truth.py [--quick]

A real campaign of both baselines (two mutants in three blocks, idle measured for each) runs on a
scripted powercap tree whose power follows what runs: nothing, the training, the load, or both,
which slow each other down. It is killed in the middle and resumed; then it must be complete and
balanced, and the truth must lie in the interval of every estimand. Takes about 20 minutes, since
the load must have been alone for a minute to tell its power; --quick lowers that to windows of some
seconds, in which the looks at the load's log weigh much. The exit code is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
os.environ["PYTHONPATH"] = str(ROOT / "src")

from attributed import Compared, Scene, compared, lay_out, run_killed, stage  # noqa: E402
from fakes.occupied import OccupiedMachine  # noqa: E402

from conftest import Project  # noqa: E402  (the path comes first)
from wattest.report import arms  # noqa: E402

FULL = Scene(training=32, load_epoch=1, load_run=20, idle=10, wobble=20, blocks=3)
QUICK = Scene(training=3, load_epoch=0.4, load_run=600, idle=2, wobble=1, blocks=3)
_PATIENCE_SECONDS = 2400.0


def main() -> int:
    """Run the campaign, print a Markdown table, return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="windows of some seconds")
    is_quick = parser.parse_args().quick
    if is_quick:
        arms.LEAST_LOAD_SECONDS = 1.0
    scene = QUICK if is_quick else FULL
    with tempfile.TemporaryDirectory() as name:
        root, zone = stage(Path(name))
        (Path(name) / "project").mkdir()
        project = Project(Path(name) / "project")
        lay_out(project, scene, project.path / "here")
        with OccupiedMachine(zone, project.path / "here", scene.wobble_at) as machine:
            faults = run_killed(project, root, _PATIENCE_SECONDS)
            found = compared(project, machine)
    print(*(f"**{fault}**" for fault in faults), sep="\n")
    print_table(found)
    missed = sum(not one.is_within for one in found)
    print(f"\n{len(found) - missed} of {len(found)} truths lie in their interval")
    return 1 if faults or missed or not found else 0


def print_table(found: Sequence[Compared]) -> None:
    """Print each estimand beside its truth: mean joules of a run."""
    print("| mutant | estimand | truth, J | estimate, J | 95 % interval | % off | within |")
    print("|---|---|---|---|---|---|---|")
    for one in found:
        estimate = one.row.estimate
        if estimate.value is None or estimate.low is None or estimate.high is None:
            told = f"- | {estimate.reason or estimate.note} | -"
        else:
            off = 100 * (estimate.value / one.true - 1)
            interval = f"{estimate.low:.1f} to {estimate.high:.1f}"
            told = f"{estimate.value:.1f} | {interval} | {off:+.2f}"
        within = "yes" if one.is_within else "**no**"
        print(f"| {one.mutant} | {one.row.key} | {one.true:.1f} | {told} | {within} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
