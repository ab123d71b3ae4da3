"""Run whole campaigns of toy trainings on the Slurm that is reachable, and end them in every way.

    python benchmarks/slurm_campaign.py [--shared DIR] [--partition NAME] [--nodes-too]

Every node is given scripted counters, so that no energy counter or GPU is needed; everything lies
in a new folder below DIR, which all nodes must see (the current folder without it). One line for
each scene says what is expected and what was seen; the exit code is 1 if a scene ended otherwise.
Only jobs of its own are ended. The scenes that take a node away from Slurm (its slurmd is killed,
it is drained) run only with --nodes-too, on a Slurm that is yours: they mend the node at the end.
All scenes take about 15 minutes, since Slurm lets a task that is queued again wait for two.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from fakes.nvml import FakeGpu, FakeGpuScript, build_fake_nvml  # noqa: E402
from fakes.powercap import PowercapTree, PowercapWriter  # noqa: E402
from fakes.profile import steady  # noqa: E402
from peers import machine_line  # noqa: E402

from conftest import Project  # noqa: E402  (the path comes first)

_CALL_SECONDS = 60
_SCENE_SECONDS = 900
_SEED = 11
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
        words = open(f"/proc/{pid}/cmdline").read() + os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        continue
    if os.environ["CAMPAIGN"] in words:
        print("left:", pid, words.replace(chr(0), " "))
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
    def hardware(self) -> Any:
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
        """End what is left of the jobs of all campaigns."""
        for campaign in self.campaigns:
            campaign.cancel()

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

    def ended(self, seconds: float = _SCENE_SECONDS) -> None:
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


Seen = tuple[str, bool]


def an_array(stage: Stage) -> Seen:
    """Twelve trainings in four tasks; submit while they are queued is refused."""
    one = Campaign(stage, "array", 12, 2)
    one.submit("--time=5", shards=4)
    refused = "of this plan is queued" in one.submit("--time=5", shards=4)
    one.ended()
    rows = one.wattest("status", "results", "--csv", "all.csv").splitlines()[-1]
    codes = [code for codes in one.exits().values() for code in codes]
    holds = refused and codes == [0] * 4 and "12 rows" in rows and one.is_whole()
    return f"{one.told()}; refused while queued: {refused}; CSV {rows}", holds


def in_srun(stage: Stage) -> Seen:
    """The tasks of one srun take the shards of a plan that its seed fixes."""
    one = Campaign(stage, "srun", 4, 3)
    call("srun", *stage.options, "-N2", "-n2", "--ntasks-per-node=1", "--time=5", "bash", "-c",
         'exec "$@"', "bash", sys.executable, "-m", "pytest", "experiments", "--config",
         "settings/test.json", "--shard", "slurm", "--resume", cwd=one.folder,
         env=stage.environment)  # fmt: skip
    sessions = {record["plan"]["session_id"] for record in one.records()}
    return f"{one.told()}; {len(sessions)} sessions", len(sessions) == 2 and one.is_whole()


def cancelled(stage: Stage) -> Seen:
    """Tasks that are cancelled leave records, and are queued again by `submit` alone."""
    one = Campaign(stage, "scancel", 2, 60)
    one.submit("--time=5", shards=2)
    one.training(2)
    one.cancel()
    one.ended(60)
    left = [record["error_message"][:11] for record in one.records()]
    codes = one.exits()
    one.train(2)
    one.submit("--time=5", shards=2)
    one.ended()
    holds = left == ["interrupted"] * 2 and list(codes.values()) == [[2], [2]]
    return f"records {left}, then {one.told()}", holds and one.is_whole()


def requeued(stage: Stage) -> Seen:
    """An operator queues a task again; the others do not notice."""
    one = Campaign(stage, "requeue", 2, 20)
    one.submit("--time=5", shards=2)
    one.training(2)
    call("scontrol", "requeue", f"{one.jobs[0]}_1")
    one.ended()
    codes = one.exits()
    holds = codes == {f"{one.jobs[0]}_1": [2, 0], f"{one.jobs[0]}_2": [0]}
    return one.told(), holds and one.is_whole()


def killed(stage: Stage) -> Seen:
    """SIGKILL of the pytest of a task; `submit` trains what it has lost."""
    one = Campaign(stage, "sigkill", 2, 20)
    one.submit("--time=5", shards=2)
    one.training(2)
    call("scancel", "--signal=KILL", "--batch", f"{one.jobs[0]}_1")
    one.ended(120)
    lost, left = one.told(), stage.left(one.folder)
    status = one.wattest("status", "results")
    one.submit("--time=5", shards=2)
    one.ended()
    holds = not left and "1 done, 1 missing" in status and "its task is gone" in status
    return f"{lost}; then {one.told()}", holds and one.is_whole()


def out_of_time(stage: Stage) -> Seen:
    """The last task has no time for its second training; the first task needs none more."""
    one = Campaign(stage, "limit", 4, 22)
    one.train(31, task=2)
    one.train(31, task=2, restart=1)
    one.submit("--time=2", "--signal=B:TERM@20", shards=2)
    one.ended()
    tasks = {record["environment"]["scheduler"]["job_id"]: record["environment"]["scheduler"]
             for record in one.records()}.values()  # fmt: skip
    last = any(task["job_id"] == task["array_job_id"] and task["array_task_id"] == "2"
               for task in tasks)  # fmt: skip
    holds = one.exits() == {f"{one.jobs[0]}_1": [0], f"{one.jobs[0]}_2": [75, 0]}
    return f"{one.told()}; the last has the array's id: {last}", holds and last and one.is_whole()


def never_fits(stage: Stage) -> Seen:
    """A training that is longer than its task is interrupted twice, and then refused."""
    one = Campaign(stage, "never", 1, 300)
    one.submit("--time=2", shards=1)
    one.ended()
    codes = list(one.exits().values())
    log = "".join(file.read_text() for file in (one.folder / "results/slurm").glob("*.log"))
    refused = "it does not fit; give tasks more --time" in log
    return f"{one.told()}; refused in words: {refused}", codes == [[2, 2, 1]] and refused


def without_slurmd(stage: Stage) -> Seen:
    """A node falls silent while its task lives on; Slurm runs the task on another at once."""
    silent = int(re.search(r"SlurmdTimeout\s*=\s*(\d+)", call("scontrol", "show", "config"))[1])
    one = Campaign(stage, "slurmd", 1, 2)
    one.train(2 * silent + 160, task=1)
    one.submit("--time=15", shards=1)
    one.training()
    node = one.queued()[0].split()[2]
    pid_file = Path(re.search(r"SlurmdPidFile\s*=\s*(\S+)", call("scontrol", "show", "config"))[1]
                    .replace("%n", node))  # fmt: skip
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    try:
        one.ended()
        until(lambda: not list((one.folder / "results/sessions").glob("*/running.json")),
              "the end of the task that lives on", 2 * silent + 200)  # fmt: skip
        time.sleep(5)
    finally:
        call("slurmd", "-N", node)
        until(lambda: "idle" in call("sinfo", "-h", "-n", node, "-o", "%T"), "the node", 60)
    places = [(record["environment"]["scheduler"]["node"] == node,
               bool(record.get("duplicate_of"))) for record in one.records()]  # fmt: skip
    flags = [f"{'silent' if old else 'other'} node: {'duplicate_of' if twin else 'counts'}"
             for old, twin in places]  # fmt: skip
    holds = sorted(places) == [(False, False), (True, True)] and one.is_whole()
    return f"{one.told()}; {', '.join(flags)}", holds


def drained(stage: Stage) -> Seen:
    """A node is drained while it trains: it ends what it has, and others do the rest."""
    one = Campaign(stage, "drain", 4, 12)
    one.submit("--time=5", shards=4)
    one.training()
    node = one.queued()[-1].split()[2]
    call("scontrol", "update", f"nodename={node}", "state=drain", "reason=wattest")
    try:
        one.ended()
        nodes = Counter(record["environment"]["scheduler"]["node"] for record in one.records())
        told, whole = one.told(), one.is_whole()
    finally:
        call("scontrol", "update", f"nodename={node}", "state=resume")
    return f"{told}; {nodes[node]} on the drained node", nodes[node] == 1 and whole


SCENES: Mapping[str, tuple[Callable[[Stage], Seen], str]] = {
    "array of 12": (an_array, "12 counted once, exit 0 of 4 tasks, a CSV of 12 rows"),
    "srun": (in_srun, "2 tasks take 2 shards, 4 counted once"),
    "scancel": (cancelled, "2 records interrupted, exit 2, never queued again; submit completes"),
    "scontrol requeue": (requeued, "exit 2 then 0, the other task 0, counted once"),
    "SIGKILL of a task": (killed, "nothing left, status says so, submit completes"),
    "2 minutes, last task": (out_of_time, "exit 75 then 0; the other task 0, undisturbed"),
    "2 minutes, never fits": (never_fits, "exit 2, 2, then 1 in words, never again"),
    "slurmd killed": (without_slurmd, "the other node's record counts, the late one duplicate_of"),
    "node drained": (drained, "its task ends, the other nodes do the rest"),
}
_OF_NODES = ("slurmd killed", "node drained")


def play(name: str, stage: Stage) -> bool:
    """Play one scene and print its line."""
    scene, expected = SCENES[name]
    began = time.monotonic()
    try:
        seen, holds = scene(stage)
    except (RuntimeError, OSError, LookupError, subprocess.TimeoutExpired) as error:
        seen, holds = f"{type(error).__name__}: {error}", False
    verdict = "as expected" if holds else "OTHERWISE"
    seconds = time.monotonic() - began
    print(f"{name}: {verdict} in {seconds:.0f} s\n  expected {expected}\n  seen     {seen}",
          flush=True)  # fmt: skip
    return holds


def main() -> int:
    """Play the scenes; print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shared", type=Path, default=Path.cwd(), help="a folder all nodes see")
    parser.add_argument("--partition", help="Slurm's partition; its own choice without it")
    parser.add_argument("--nodes-too", action="store_true", help="also take nodes from Slurm")
    parser.add_argument("--scene", default="", metavar="TEXT", help="only those with it in a name")
    parser.add_argument("--keep", action="store_true", help="do not remove the folder")
    arguments = parser.parse_args()
    try:
        version = call("sinfo", "--version")
        partition = [f"--partition={arguments.partition}"] if arguments.partition else []
        lines = call("sinfo", "-h", "-N", "-o", "%N %P", *partition).split("\n")
    except (OSError, RuntimeError) as error:
        print(f"no Slurm is reachable here, nothing was tried ({error})")
        return 0
    usual = [line.split()[0] for line in lines if partition or line.endswith("*")]
    print(f"{version}, {len(usual)} nodes; {machine_line()}", flush=True)
    wanted = [name for name in SCENES if arguments.scene in name]
    folder = Path(tempfile.mkdtemp(prefix="slurm_campaign_", dir=arguments.shared))
    stage = Stage(folder, partition, usual)
    with ExitStack() as at_the_end:
        if not arguments.keep:
            at_the_end.callback(shutil.rmtree, folder, ignore_errors=True)
        at_the_end.enter_context(stage.hardware())
        at_the_end.callback(stage.cancel)
        # Slurm itself lets them take turns.
        with ThreadPoolExecutor(4) as pool:
            apart = [name for name in wanted if name not in _OF_NODES]
            held = list(pool.map(lambda name: play(name, stage), apart))
        for name in wanted:
            if name in _OF_NODES and not arguments.nodes_too:
                print(f"{name}: not tried, it takes a node from Slurm (--nodes-too)")
            elif name in _OF_NODES:
                held.append(play(name, stage))
    return int(not all(held))


if __name__ == "__main__":
    raise SystemExit(main())
