"""Print what becomes of whole pytest sessions: every ending, and SIGKILL at random moments.

    python benchmarks/session_faults.py [--trials 1] [--kills 50] [--fault TEXT] [--child TEXT]

The first table ends a session with a foreground and a load; a cell shows trials that failed /
trials, and the median time from the fault until the last process was gone. A cell fails if a
process or zombie is left two seconds after the end of pytest, if a document in the results folder
is damaged, or if an ending that promises a record leaves none. The second part kills a campaign of
six experiments at so many random moments; each is then completed with `--resume` and compared with
an undisturbed run. The exit code is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from livesession import LiveSession, Stage  # noqa: E402
from zoo.faults import BIRTHS  # noqa: E402

from conftest import Project  # noqa: E402  (the path comes first)

_CHILDREN = ("polite", "stubborn", "daemon", "bare-daemon", "closed", "stopped", "spawner",
             "session-hopper", "subreaper", "loader", "zoo")  # fmt: skip
_SEED = 11


@dataclass(frozen=True)
class Ending:
    """One row: what befalls pytest, and which exit code and record it promises."""

    befall: Callable[[LiveSession], None]
    code: int
    leaves_record: bool = False
    terminal: bool = False


def _send(*numbers: signal.Signals) -> Callable[[LiveSession], None]:
    def befall(session: LiveSession) -> None:
        for number in numbers:
            session.send(number)

    return befall


ENDINGS = {
    "SIGINT": Ending(_send(signal.SIGINT), 2, True),
    "double SIGINT": Ending(_send(signal.SIGINT, signal.SIGINT), 2, True),
    "SIGTERM": Ending(_send(signal.SIGTERM), 2, True),
    "SIGHUP": Ending(_send(signal.SIGHUP), 2, True),
    "Ctrl-C on a terminal": Ending(lambda session: session.type(b"\x03"), 2, True, True),
    "hang-up of the terminal": Ending(lambda session: session.hang_up(), 2, True, True),
    "SIGSEGV": Ending(_send(signal.SIGSEGV), -signal.SIGSEGV),
    "SIGKILL": Ending(_send(signal.SIGKILL), -signal.SIGKILL),
}


def trial(ending: Ending, child: str, folder: Path) -> tuple[float, list[str]]:
    """End one session whose trainings are `child`; return the seconds it took, and the faults."""
    project = Project(folder)
    stage = Stage(project, foreground=child, load=child)
    with LiveSession(project, terminal=ending.terminal) as session:
        stage.await_births(session, BIRTHS[child])
        began = time.monotonic()
        ending.befall(session)
        code = session.wait(30)
        left = session.left(*stage.oracles)
        seconds = time.monotonic() - began
    faults = [f"PID {one.pid} {one.state} is left" for one in left]
    if code != ending.code:
        faults.append(f"exit code {code}, not {ending.code}")
    records, damaged = documents(project.path / "results")
    faults += [f"{name} is damaged" for name in damaged]
    if ending.leaves_record and len(records) != 1:
        faults.append(f"{len(records)} records")
    faults += [
        "the record counts" for one in records if one["foreground_result"]["training_success"]
    ]
    return seconds, faults


def documents(results: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the records in a folder, and the names of all JSON files that are none."""
    records, damaged = [], []
    for file in sorted(results.rglob("*.json")):
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            damaged.append(file.name)
            continue
        if file.parent == results:
            records.append(document)
    return records, damaged


def matrix(arguments: argparse.Namespace) -> list[str]:
    """Print the table of endings and children; return what failed."""
    broken = []
    for name, ending in ENDINGS.items():
        if arguments.fault not in name:
            continue
        print(f"\n{name}")
        for child in _CHILDREN:
            if arguments.child not in child:
                continue
            seconds, faults = [], []
            for _ in range(arguments.trials):
                with tempfile.TemporaryDirectory() as folder:
                    took, found = trial(ending, child, Path(folder))
                seconds.append(took)
                faults += [", ".join(found)] if found else []
            cell = f"{len(faults)}/{arguments.trials} {statistics.median(seconds):.2f} s"
            print(f"    {child:<16} {cell}", flush=True)
            broken += [f"{name}, {child}: {fault}" for fault in faults]
    return broken


def campaign(folder: Path) -> Project:
    """Return a project with a plan of six short experiments."""
    project = Project(folder)
    values = {"hyperparameters": {"seconds": 0.15}}
    mutation = {"repo": "toy", "model": "small", "mutate": ["learning_rate"], **values}
    fixed = {"repo": "toy", "model": "large", **values}
    project.settings(
        {**mutation, "runs_per_config": 4}, {**fixed, "runs_per_config": 2}, seed=_SEED
    )
    return project


def summary(project: Project) -> Counter[tuple[str, str]]:
    """Count the finished experiments by key and hyper-parameters."""
    return Counter(
        (one["plan"]["experiment_key"], json.dumps(one["hyperparameters"], sort_keys=True))
        for one in project.records()
        if one["training_success"]
    )


def killed_and_resumed(
    folder: Path, seconds: float, expected: Counter[tuple[str, str]]
) -> tuple[int, list[str]]:
    """Kill a campaign after `seconds` and resume it; return how many were done, and the faults."""
    project = campaign(folder)
    with LiveSession(project) as session:
        time.sleep(seconds)
        session.send(signal.SIGKILL)
        session.wait()
        faults = [f"PID {one.pid} {one.state} is left" for one in session.left()]
    faults += [f"{name} is damaged" for name in documents(folder / "results")[1]]
    done = sum(summary(project).values())
    with LiveSession(project, "--resume") as session:
        code = session.wait(60)
        told = f"resume: {done} of 6 experiments found finished, {6 - done} left"
        if code or told not in session.output():
            faults.append(f"resumed with exit code {code}:\n{session.output()}")
    if summary(project) != expected:
        faults.append("the union differs from an undisturbed run")
    return done, faults


def random_kills(count: int) -> list[str]:
    """Kill so many campaigns; print and return what failed."""
    with tempfile.TemporaryDirectory() as name:
        project = campaign(Path(name))
        began = time.monotonic()
        with LiveSession(project) as session:
            assert session.wait(60) == 0, session.output()
        undisturbed = time.monotonic() - began
        expected = summary(project)
    print(f"\nSIGKILL at {count} random moments of {undisturbed:.1f} s, then --resume")
    broken, finished = [], Counter[int]()
    for _ in range(count):
        seconds = random.uniform(0, undisturbed)
        with tempfile.TemporaryDirectory() as name:
            done, faults = killed_and_resumed(Path(name), seconds, expected)
        finished[done] += 1
        broken += [f"killed after {seconds:.2f} s: {fault}" for fault in faults]
    told = ", ".join(f"{number} x {done} of 6" for done, number in sorted(finished.items()))
    print(f"    finished before the kill: {told}; failed: {len(broken)}", flush=True)
    return broken


def main() -> int:
    """Print both parts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--fault", default="", help="only endings whose name contains this")
    parser.add_argument("--child", default="", help="only children whose name contains this")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT / "src")
    broken = matrix(arguments) if arguments.trials else []
    with tempfile.TemporaryDirectory() as locks:
        os.environ["WATTEST_LOCK_DIR"] = locks
        broken += random_kills(arguments.kills) if arguments.kills else []
    print("\n" + ("\n".join(broken) if broken else "nothing was left, nothing was lost"))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
