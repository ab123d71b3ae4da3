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
import os
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
from contextlib import ExitStack
from pathlib import Path

from peers import machine_line
from slurm_stage import Campaign, Stage, call, until

Seen = tuple[str, bool]


def an_array(stage: Stage) -> Seen:
    """Twelve trainings in four tasks; submit while they are queued is refused."""
    one = Campaign(stage, "array", 12, 4)
    one.submit("--time=5", shards=4)
    refused = "of this plan is queued" in one.submit("--time=5", shards=4)
    one.ended()
    rows = one.wattest("status", "results", "--csv", "all.csv").splitlines()[-1]
    codes = [code for codes in one.exits().values() for code in codes]
    holds = refused and codes == [0] * 4 and "12 rows" in rows and one.is_whole()
    return f"{one.told()}; refused while queued: {refused}; CSV {rows}", holds


def in_srun(stage: Stage) -> Seen:
    """The tasks of one srun take the shards of a plan that its seed fixes."""
    one = Campaign(stage, "srun", 4, 4)
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
    one.train(4)
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
    one = Campaign(stage, "slurmd", 1, 4)
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


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shared", type=Path, default=Path.cwd(), help="a folder all nodes see")
    parser.add_argument("--partition", help="Slurm's partition; its own choice without it")
    parser.add_argument("--nodes-too", action="store_true", help="also take nodes from Slurm")
    parser.add_argument("--scene", default="", metavar="TEXT", help="only those with it in a name")
    parser.add_argument("--keep", action="store_true", help="do not remove the folder")
    return parser.parse_args()


def main() -> int:
    """Play the scenes; print a line for each."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    try:
        version = call("sinfo", "--version")
        partition = [f"--partition={arguments.partition}"] if arguments.partition else []
        lines = call("sinfo", "-h", "-N", "-o", "%N %P", *partition).splitlines()
    except (OSError, RuntimeError) as error:
        print(f"no Slurm is reachable here, nothing was tried ({error})")
        return 0
    usual = [line.split()[0] for line in lines if partition or line.endswith("*")]
    if not usual:
        print("no such partition, or none that is the default: name one with --partition")
        return 1
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
        with ThreadPoolExecutor(4) as pool, stage.ended_with_us():
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
