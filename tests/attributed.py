"""A campaign of all arms on a machine that knows whose energy it was, killed and resumed."""

from __future__ import annotations

import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from fakes.occupied import WATTS, OccupiedMachine, program
from fakes.powercap import PowercapTree
from livesession import LiveSession

from conftest import Project, toy_registry
from wattest.report.attribution import attribute
from wattest.report.model import Attributed
from wattest.report.reading import read_runs

IDLE_WATTS = WATTS[frozenset()]


@dataclass(frozen=True)
class Scene:
    """How long things take, in seconds, and how often the power of what runs changes a little."""

    training: float
    load_epoch: float
    load_run: float
    idle: float
    wobble: float
    blocks: int

    def wobble_at(self, seconds: float) -> float:
        """Up to 2 % more or less, another for each span of `wobble` seconds."""
        return 1 + 0.02 * ((int(seconds / self.wobble) * 7919) % 101 - 50) / 50


def lay_out(project: Project, scene: Scene, here: Path) -> None:
    """Write the programs, their registry, and the settings with both baselines."""
    here.mkdir()
    project.program("toy", program(sys.executable, here, "training"))
    project.program("busy", program(sys.executable, here, "load", scene.load_epoch))
    models = {
        name: {**one, "path": f"repos/{name}"} for name, one in toy_registry()["models"].items()
    }
    models["busy"]["progress"] = r"^Epoch (\d+)$"
    for one in models.values():
        flag = {"flag": "--seconds", "type": "float", "range": [0.1, 6000.0], "default": None}
        one["supported_hyperparams"] = {**one["supported_hyperparams"], "seconds": flag}
    project.registry({"models": models})
    foreground = {"repo": "toy", "model": "small", "mutate": ["epochs"],
                  "hyperparameters": {"seconds": scene.training}}  # fmt: skip
    background = {"repo": "busy", "model": "large",
                  "hyperparameters": {"seconds": scene.load_run, "epochs": 1}}  # fmt: skip
    entry = {"foreground": foreground, "background": background, "baseline": "both"}
    project.settings(
        entry, runs_per_config=2, repetitions=scene.blocks, seed=7, idle="block",
        idle_baseline_seconds=scene.idle, timeout_seconds=600,
    )  # fmt: skip


def run_killed(project: Project, sys_root: Path, patience_seconds: float) -> list[str]:
    """Run the campaign, kill it in the middle of an experiment, resume it; return what is wrong."""
    words = ("--sysfs", str(sys_root))
    environment = {"WATTEST_LOCK_DIR": str(project.path / "locks")}
    planned = len(project.plan().experiments)
    here = project.path / "here"
    faults = []
    with LiveSession(project, *words, environment=environment) as session:

        def is_in_the_middle() -> bool:
            return len(_files(project)) >= planned // 2 and any(here.iterdir())

        session.until(is_in_the_middle, "half of it is done", patience_seconds)
        session.send(signal.SIGKILL)
        session.wait()
        faults += [f"PID {one.pid} outlived it" for one in session.left(seconds=10)]
    done = len(_files(project))
    if not planned // 2 <= done < planned:
        faults.append(f"{done} of {planned} had ended when it was killed")
    with LiveSession(project, *words, "--resume", environment=environment) as session:
        code = session.wait(patience_seconds)
        faults += [f"exit code {code}: {session.output()[-2000:]}"] if code else []
    return faults + list(_imbalance(project, planned))


def _files(project: Project) -> list[Path]:
    return list((project.path / "results").glob("*.json"))


def _imbalance(project: Project, planned: int) -> Iterator[str]:
    """Yield how the records fall short of one valid record of each arm and mutant in each block."""
    counts: Counter[tuple[int, str]] = Counter()
    for record in project.records():
        if result_of(record)["training_success"]:
            counts[record["plan"]["block"], record["plan"]["arm"]] += 1
    if sum(counts.values()) != planned or len(project.records()) != planned:
        yield f"{len(project.records())} records, {sum(counts.values())} valid, of {planned}"
    if len(set(counts.values())) != 1:
        yield f"not balanced: {dict(counts)}"


def result_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a record says of its training, or of its load alone."""
    result: Mapping[str, Any] = record.get("foreground_result", record)
    return result


class Truth:
    """What really was used, from the machine's own history; nothing of a record but its edges."""

    def __init__(self, machine: OccupiedMachine) -> None:
        self._machine = machine

    def of(self, arms: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """Return the true estimands of one block, in joules, from its three records."""
        (both, seconds, _), (alone, alone_seconds, _), (load, load_seconds, _) = found = [
            self._window(arms[arm]) for arm in ("parallel", "alone", "load")
        ]
        load_watts = load / load_seconds
        work_seconds = found[0][2] * load_seconds / found[2][2]
        same_work = both - load_watts * work_seconds
        first = alone - IDLE_WATTS * alone_seconds
        second = same_work - IDLE_WATTS * (seconds - work_seconds)
        shapley, idle = (first + second) / 2, IDLE_WATTS * seconds
        return {
            "combined": both, "alone": alone, "extra_same_time": both - load_watts * seconds,
            "extra_same_work": same_work, "shapley": shapley, "idle": idle,
            "shapley_load": both - shapley - idle,
        }  # fmt: skip

    def _window(self, record: Mapping[str, Any]) -> tuple[float, float, float]:
        """Return the joules, the seconds and the load's work of a window."""
        result = result_of(record)
        opened_ns = result["energy_provenance"]["window"]["opened_ns"]
        seconds = result["energy_provenance"]["window"]["duration_seconds"]
        ended_ns = opened_ns + round(seconds * 1e9)
        joules = self._machine.joules(opened_ns, ended_ns)
        return joules, seconds, self._machine.load_seconds(opened_ns, ended_ns)


@dataclass(frozen=True)
class Compared:
    """One estimand of one mutant beside the truth of each block, in joules."""

    mutant: str
    row: Attributed
    truths: tuple[float, ...]

    @property
    def true(self) -> float:
        """The truth over all blocks."""
        return fmean(self.truths)

    @property
    def is_within(self) -> bool:
        """Whether the truth lies in the stated interval."""
        low, high = self.row.estimate.low, self.row.estimate.high
        return low is not None and high is not None and low <= self.true <= high


def compared(project: Project, machine: OccupiedMachine) -> list[Compared]:
    """Return every estimand of every mutant beside its truth."""
    blocks: dict[str, dict[int, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for record in project.records():
        mutant = f"epochs={foreground_epochs(record, project):.6g}"
        blocks[mutant][record["plan"]["block"]][record["plan"]["arm"]] = record
    truth = Truth(machine)
    found = []
    for one in attribute(read_runs([project.path / "results"]).runs):
        truths = [truth.of(arms) for _, arms in sorted(blocks[one.configuration].items())]
        for row in one.rows:
            if row.key != "cpu_time_share":
                found.append(Compared(one.configuration, row, tuple(t[row.key] for t in truths)))
    return found


def foreground_epochs(record: Mapping[str, Any], project: Project) -> float:
    """Return the mutated value of a record's foreground; a load's stands with its partner."""
    plan = {one.id: one for one in project.plan(resume=True).experiments}
    experiment = plan[record["plan"]["test_id"]]
    return float(experiment.foreground.hyperparameters["epochs"])


def stage(folder: Path) -> tuple[Path, Path]:
    """Return the root of a powercap tree with one package, and the package's folder."""
    tree = PowercapTree(folder / "sys")
    return tree.root, tree.add_package()
