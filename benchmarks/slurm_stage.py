"""A Slurm with scripted counters, and campaigns of toy trainings on it: what its scenes need."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from fakes.nvml import FakeGpu, FakeGpuScript, build_fake_nvml  # noqa: E402
from fakes.powercap import PowercapTree, PowercapWriter  # noqa: E402
from fakes.profile import steady  # noqa: E402

from conftest import Project  # noqa: E402  (the path comes first)

SCENE_SECONDS = 900
_CALL_SECONDS = 60
_SEED = 11
_over = threading.Event()
# Trains as long as it is told, or as long as its task is: a number for each, or one for all.
_TRAINING = """\
#!/bin/sh
sleep $(cat "seconds.$SLURM_ARRAY_TASK_ID.${SLURM_RESTART_COUNT:-0}" 2>/dev/null || cat seconds)
echo "Accuracy: 90.0"
"""
# bash reads this before a batch file: it gives a task the scripted counters of its node.
_HARDWARE = '. "{folder}/nodes/$SLURMD_NODENAME/env"\n'
# Says with which status each run of each task ends, before anything else is done at the end.
_EXITS = """
import os, pathlib, pytest
_sessions = []
def pytest_sessionstart(session):
    _sessions.append(session)
@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure(config):
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    if task and _sessions:
        restart = os.environ.get("SLURM_RESTART_COUNT") or "0"
        job, node = os.environ["SLURM_ARRAY_JOB_ID"], os.environ["SLURMD_NODENAME"]
        told = pathlib.Path(__file__).parent / "exits" / f"{job}_{task}.{restart}.{node}"
        told.write_text(str(int(_sessions[0].exitstatus)))
"""
# Prints the processes of the node that have anything to do with a folder.
_LEFT = """
import os, sys
for pid in filter(str.isdecimal, os.listdir("/proc")):
    try:
        words = open(f"/proc/{pid}/cmdline", errors="replace").read()
        words += os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        continue
    if os.environ["CAMPAIGN"] in words:
        print("left:", pid, ascii(words))
"""


def call(*command: str, check: bool = True, **more: Any) -> str:
    """What a command prints."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_CALL_SECONDS, check=False, **more
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}".strip())
    return (done.stdout if check else done.stdout + done.stderr).strip()


def until(holds: Callable[[], object], what: str, seconds: float) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if _over.is_set():
            raise RuntimeError("interrupted")
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.5)


@dataclass
class Stage:
    """Where the campaigns run: a shared folder, the nodes of a partition, and their counters."""

    folder: Path
    options: list[str]
    nodes: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    campaigns: list[Campaign] = field(default_factory=list)

    @contextmanager
    def hardware(self) -> Iterator[None]:
        """Scripted counters for every node while the block runs."""
        zones, lib = {}, build_fake_nvml(self.folder / "lib")
        for number, node in enumerate(self.nodes):
            place = self.folder / "nodes" / node
            tree = PowercapTree(place / "sys")
            zones[tree.add_package()] = steady(40.0 + 10 * number)
            gpu = FakeGpu(steady(100.0 + 50 * number), uuid=f"GPU-{number:08x}-0000-0000-0000-0")
            FakeGpuScript([gpu]).write(place / "gpus")
            values = {"LD_LIBRARY_PATH": lib, "WATTEST_FAKE_NVML": place / "gpus",
                      "WATTEST_SYSFS": tree.root, "WATTEST_LOCK_DIR": place / "locks"}  # fmt: skip
            lines = [f"export {name}='{value}'\n" for name, value in values.items()]
            (place / "env").write_text("".join(lines) + "unset CUDA_VISIBLE_DEVICES\n")
        (self.folder / "hardware.sh").write_text(_HARDWARE.format(folder=self.folder))
        (self.folder / "left.py").write_text(_LEFT)
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"),
                            "BASH_ENV": str(self.folder / "hardware.sh")}  # fmt: skip
        self.environment.pop("CUDA_VISIBLE_DEVICES", None)
        with PowercapWriter(zones, period=0.05, log=self.folder / "writer.jsonl"):
            yield

    def cancel(self) -> None:
        """End what is left of the jobs of all campaigns, and let no scene go on."""
        _over.set()
        for campaign in self.campaigns:
            campaign.cancel()

    @contextmanager
    def ended_with_us(self) -> Iterator[None]:
        """End the jobs before the threads are awaited, if the block does not end in order."""
        try:
            yield
        except BaseException:
            self.cancel()
            raise

    def left(self, folder: Path) -> int:
        """How many processes of a campaign are left on the nodes."""
        looks = [sys.executable, str(self.folder / "left.py")]
        here = {**os.environ, "CAMPAIGN": str(folder)}
        told = call(*looks, env=here)
        for line in call("sinfo", "-h", "-N", "-t", "idle", "-o", "%N %n").splitlines():
            node, host = line.split()
            if node in self.nodes and host != platform.node().partition(".")[0]:
                told += call("srun", *self.options, f"--nodelist={node}", "--time=1", "-n1",
                             *looks, env=here)  # fmt: skip
        return told.count("left:")


class Campaign:
    """A project of toy trainings, its jobs, and what has become of them."""

    def __init__(self, stage: Stage, name: str, count: int, seconds: float) -> None:
        self.stage, self.count = stage, count
        self.folder = stage.folder / name
        self.folder.mkdir()
        self.jobs: list[str] = []
        project = Project(self.folder)
        project.program("toy", _TRAINING)
        project.settings(
            {"repo": "toy", "model": "small", "mutate": ["epochs"], "runs_per_config": count},
            seed=_SEED, timeout_seconds=900,
        )  # fmt: skip
        (self.folder / "exits").mkdir()
        stage.campaigns.append(self)
        with (self.folder / "conftest.py").open("a") as file:
            file.write(_EXITS)
        self.train(seconds)

    def train(self, seconds: float, task: int | None = None, restart: int = 0) -> None:
        """Let trainings take so long, or those of one run of a task."""
        name = "seconds" if task is None else f"seconds.{task}.{restart}"
        (self.folder / "repos/toy" / name).write_text(f"{seconds}\n")

    def wattest(self, *words: str) -> str:
        """What the command says."""
        return call(sys.executable, "-m", "wattest", *words, cwd=self.folder,
                    env=self.stage.environment, check=False)  # fmt: skip

    def submit(self, *options: str, shards: int) -> str:
        """Queue what is missing; what was said."""
        words = ["--shards", str(shards), "--", *self.stage.options, *options]
        told = self.wattest("submit", "settings/test.json", *words)
        self.jobs += re.findall(r"Submitted batch job (\d+)", told)
        return told

    def queued(self) -> list[str]:
        """The states of its tasks that Slurm still has: ``1 RUNNING n1``."""
        jobs = ",".join(self.jobs)
        told = call("squeue", "-h", "-r", "-j", jobs, "-o", "%K %T %N", check=False)
        return [] if "Invalid job id" in told else told.splitlines()

    def ended(self, seconds: float = SCENE_SECONDS) -> None:
        """Wait for the end of all of its tasks."""
        until(lambda: not self.queued(), f"the end of job {self.jobs}", seconds)

    def training(self, count: int = 1, seconds: float = 120) -> None:
        """Wait until so many trainings run."""
        found = self.folder / "results/sessions"
        until(lambda: len(list(found.glob("*/running.json"))) >= count,
              f"{count} trainings of {self.folder.name}", seconds)  # fmt: skip
        time.sleep(2)

    def cancel(self) -> None:
        """End its jobs, if any are left."""
        if self.jobs:
            call("scancel", *self.jobs, check=False)

    def exits(self) -> dict[str, list[int]]:
        """The exit codes of the runs of each task, by job and task."""
        told: dict[str, list[int]] = {}
        for file in sorted((self.folder / "exits").iterdir()):
            told.setdefault(file.name.split(".")[0], []).append(int(file.read_text()))
        return told

    def records(self) -> list[dict[str, Any]]:
        """All records, oldest first."""
        return [json.loads(file.read_text())
                for file in sorted((self.folder / "results").glob("*.json"))]  # fmt: skip

    def counted(self) -> Counter[str]:
        """How many records count of each experiment."""
        return Counter(
            one["plan"]["experiment_key"]
            for one in self.records()
            if one["training_success"] and not one.get("duplicate_of")
        )

    def told(self) -> str:
        """What is to be seen at the end of every scene."""
        counted, exits = self.counted(), self.exits()
        twice = sum(count > 1 for count in counted.values())
        codes = "; ".join(f"{task}: {' '.join(map(str, them))}" for task, them in exits.items())
        status = self.wattest("status", "results").splitlines()[0].rpartition("experiments: ")[2]
        return (f"status {status}; {len(counted)} counted, {twice} twice; exits {codes or '-'};"
                f" {self.stage.left(self.folder)} processes left")  # fmt: skip

    def is_whole(self) -> bool:
        """Tell whether each experiment has one record that counts, and nothing is left."""
        return (list(self.counted().values()) == [1] * self.count
                and not self.stage.left(self.folder)
                and f"{self.count} done" in self.wattest("status", "results")
                and "submitted" not in self.submit(shards=1).lower())  # fmt: skip
