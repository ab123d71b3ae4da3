"""Measure what a task costs that resumes a campaign of 800 experiments, of which 799 are done.

    python benchmarks/resume_task.py [--experiments 800] [--runs 5]

The task is what a batch file of `wattest submit` runs, from the start of Python to its end; its
one training takes a tenth of a second, on a machine without energy counters. "By links" has every
record committed, as tasks leave them; "by records" has no links, as a copy of the folder may lose
them. Written are the bytes of all files in the results folder that are new or were written anew,
but for names that are links to records. The last row is a task that must measure and cannot. The
exit code is 1 if a task writes 50 KB, or even the fastest takes 2 s with links, or 10 s where it
cannot measure.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from peers import machine_line, spread

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from conftest import TOY, Project  # noqa: E402  (the path comes first)
from wattest.records.commit import commit, counted_name  # noqa: E402

_SEED = 11
_SECONDS, _BYTES, _REFUSAL_SECONDS = 2.0, 50_000, 10.0


class Task(NamedTuple):
    """How long a task took, what it used of CPUs with all its children, and what it said."""

    seconds: float
    cpu_seconds: float
    code: int
    told: str


def cpu_seconds() -> float:
    """The CPU time of all children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Stage:
    """A campaign of which all but the last experiment is done."""

    def __init__(self, folder: Path, count: int) -> None:
        (folder / "none").mkdir(parents=True)
        self.project, self.count = Project(folder), count
        self.results = folder / "results"
        toy = {**TOY, "mutate": ["learning_rate"], "runs_per_config": count}
        self.project.settings(toy, seed=_SEED)
        told = self.task(f"1/{count}").told
        if not (files := list(self.results.glob("*.json"))):
            raise RuntimeError(told)
        self.good = json.loads(files[0].read_text())
        self._fill()

    def _fill(self) -> None:
        """Leave the records of all others but the last, and commit them as their tasks do."""
        plan = self.project.plan(resume=True)
        written = []
        for number, one in enumerate(plan.experiments[1:-1], start=1):
            self.good["experiment_id"] = f"20200101_000000_toy_small_{number}"
            self.good["plan"] |= {"experiment_key": one.key, "test_id": one.id}
            record = self.results / f"{self.good['experiment_id']}.json"
            record.write_text(json.dumps(self.good, indent=2))
            written.append((record, counted_name(self.results, plan, one.key)))
        for record, name in written:
            commit(record, name)

    def task(self, shard: str, *more: str) -> Task:
        """Run one task to its end."""
        words = ["experiments", "--config", "settings/test.json", "--seed", str(_SEED)]
        folder = self.project.path
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "CUDA_VISIBLE_DEVICES": "",
                       "WATTEST_SYSFS": str(folder / "none"),
                       "WATTEST_LOCK_DIR": str(folder / "locks")}  # fmt: skip
        began, used = time.monotonic(), cpu_seconds()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words, "--resume", "--shard", shard, *more],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        took = time.monotonic() - began
        return Task(took, cpu_seconds() - used, done.returncode, done.stdout + done.stderr)

    def sizes(self) -> dict[Path, tuple[int, int]]:
        """The size of each file in the results folder, and when it was written."""
        return {path: (found.st_size, found.st_mtime_ns) for path, found in self._files()}

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.results.rglob("*"):
            if path.is_file():
                yield path, path.stat()


def growth(before: dict[Path, tuple[int, int]], after: dict[Path, tuple[int, int]]) -> int:
    """The bytes of all files that are new or were written anew."""
    return sum(found[0] for path, found in after.items() if found[1] > before.get(path, (0, 0))[1])


def resumed(stage: Stage, runs: int, label: str, shard: str, *, links: bool) -> bool:
    """Let tasks resume the campaign; print what they take."""
    tasks, written = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "results"
            shutil.move(stage.results, kept)
            # Links stay links, and times of writing stay what they are.
            subprocess.run(["cp", "-a", kept, stage.results], check=True)
            if not links:
                shutil.rmtree(stage.results / "counted")
            before = stage.sizes()
            tasks.append(task := stage.task(shard))
            after = stage.sizes()
            if task.code or "experiments found finished" not in task.told:
                raise RuntimeError(task.told)
            counted = stage.results / "counted"
            written.append(growth(before, {path: found for path, found in after.items()
                                           if counted not in path.parents}))  # fmt: skip
            shutil.rmtree(stage.results)
            shutil.move(kept, stage.results)
    print(f"| {label} | {times(tasks)} | {spread([w / 1000 for w in written], '.1f')} |")
    return max(written) < _BYTES and (not links or fastest(tasks) < _SECONDS)


def times(tasks: Sequence[Task]) -> str:
    """Two cells: wall and CPU seconds."""
    wall, used = [one.seconds for one in tasks], [one.cpu_seconds for one in tasks]
    return f"{spread(wall, '.2f')} | {spread(used, '.2f')}"


def fastest(tasks: Sequence[Task]) -> float:
    """The seconds of the task that others on the machine have disturbed least."""
    return min(one.seconds for one in tasks)


def refused(folder: Path, runs: int) -> bool:
    """Let tasks of a new campaign meet a machine without counters; print what they take."""
    stage = Stage(folder, 3)
    shutil.rmtree(stage.results)
    tasks = []
    for _ in range(runs):
        tasks.append(task := stage.task("1/3", "--require-energy"))
        told = task.told
        if task.code != 4 or told.count("ERROR: ") != 1 or list(stage.results.glob("*.json")):
            raise RuntimeError(told)
    reason = next(line for line in told.splitlines() if line.startswith("ERROR: "))
    print(f"| without counters: exit 4 | {times(tasks)} | - |\n\n{reason}")
    return fastest(tasks) < _REFUSAL_SECONDS


def main() -> int:
    """Measure all; print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--experiments", type=int, default=800)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    count, runs = arguments.experiments, arguments.runs
    print(f"{machine_line()}; median (range) of {runs} tasks\n")
    with tempfile.TemporaryDirectory() as name:
        stage = Stage(Path(name) / "campaign", count)
        print("| task | seconds | CPU seconds | KB written |\n|---|---|---|---|")
        held = [
            resumed(stage, runs, "trains the last, by links", f"{count}/{count}", links=True),
            resumed(stage, runs, "trains the last, by records", f"{count}/{count}", links=False),
            resumed(stage, runs, "finds all of its shard done", f"1/{count}", links=True),
            refused(Path(name) / "blind", runs),
        ]
    return int(not all(held))


if __name__ == "__main__":
    raise SystemExit(main())
