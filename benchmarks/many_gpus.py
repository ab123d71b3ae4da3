"""Print what becomes of campaigns on several workers of a server with four scripted GPUs.

    python benchmarks/many_gpus.py [--scene TEXT]

Each scene is one or two real pytest sessions on fake counters whose truth is known. A line gives
the scene, the seconds that it took, and what was wrong, or ok. The exit code is 1 if anything was.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from gpuserver import Server, gpu_server, gpus_of, seen_gpu, window_of  # noqa: E402
from livesession import LiveSession  # noqa: E402

from conftest import TOY, Project  # noqa: E402  (the path comes first)
from wattest.process.owner import Owner  # noqa: E402

_TOLERANCE = 0.01
Faults = Iterator[str]


def campaign(project: Project, seconds: float, count: int, **more: Any) -> None:
    """Write settings for so many trainings of so many seconds."""
    entry = {**TOY, "hyperparameters": {"seconds": seconds}, "repetitions": count}
    project.settings(entry, seed=3, **more)


def trained(project: Project) -> list[dict[str, Any]]:
    """Return the records of trainings that count."""
    records = project.records()
    return [one for one in records if one.get("foreground_result", one)["training_success"]]


def running(project: Project) -> list[int]:
    """Return the PIDs of the workers that are training."""
    found = []
    for file in sorted((project.path / "results" / "sessions").glob("*/gw*/running.json")):
        owner = Owner.parse(json.loads(file.read_text())["owner"])
        if owner is not None and owner.is_alive():
            found.append(owner.pid)
    return found


def overlaps(records: Sequence[dict[str, Any]]) -> Faults:
    """Yield windows of one GPU that overlap."""
    for one, other in combinations(records, 2):
        if gpus_of(one) == gpus_of(other):
            (begin, end), (start, stop) = window_of(one), window_of(other)
            if min(end, stop) > max(begin, start):
                yield f"{one['experiment_id']} and {other['experiment_id']} on one GPU at once"


def truth(project: Project, server: Server, tolerance: float = _TOLERANCE) -> Faults:
    """Yield what is wrong about the numbers of the records."""
    records, results, measured = trained(project), project.path / "results", 0.0
    for one in records:
        name = one["experiment_id"]
        if len(gpus_of(one)) != 1:
            yield f"{name}: {gpus_of(one)}"
        index = str([gpu.uuid for gpu in server.script.gpus].index(gpus_of(one)[0]))
        if seen_gpu(results, one) != index:
            yield f"{name}: saw {seen_gpu(results, one)}, measured {index}"
        joules = one["energy_metrics"]["gpu_energy_total_joules"]
        if abs(joules / server.gpu_joules(one) - 1) > tolerance:
            yield f"{name}: {joules:.1f} J of {server.gpu_joules(one):.1f} J"
        package = one["energy_provenance"]["domains"]["cpu_pkg"]
        status = "shared" if one["concurrency"]["neighbours"] else "measured"
        if package["status"] != status:
            yield f"{name}: {package['status']}, should be {status}"
        measured += package["energy_joules"] or 0.0
    edges = [edge for one in records for edge in window_of(one)]
    whole = server.package_joules(min(edges), max(edges)) if edges else 0.0
    if measured > whole * (1 + tolerance):
        yield f"the session's CPU energy is {measured:.0f} J of {whole:.0f} J"
    yield from overlaps(records)


def twelve_on_four(project: Project, server: Server) -> Faults:
    """Four GPUs, ``-n auto``, twelve experiments of 4 s: true numbers, in less than 20 s."""
    campaign(project, 4.0, 12)
    began = time.monotonic()
    with LiveSession(project, "-n", "auto") as session:
        code = session.wait(60)
    seconds = time.monotonic() - began
    if code or len(trained(project)) != 12:
        yield f"exit code {code}, {len(trained(project))} records:\n{session.output()}"
    if seconds >= 20:
        yield f"took {seconds:.1f} s"
    yield from truth(project, server)
    begun = sorted(trained(project), key=lambda one: one["timestamp"])
    for place, one in enumerate(begun, start=1):
        if abs(one["plan"]["position"] - place) > 4:
            yield f"number {one['plan']['position']} of the plan began as number {place}"


def pairs(project: Project, server: Server) -> Faults:
    """Three workers, pairs with and without load: both arms on one GPU, each in plan order."""
    load = {"repo": "busy", "model": "large", "hyperparameters": {"seconds": 30}}
    foreground = {**TOY, "hyperparameters": {"seconds": 1.0}}
    entry = {"mode": "parallel", "foreground": foreground, "background": load, "baseline": True,
             "repetitions": 6}  # fmt: skip
    project.settings(entry, seed=5)
    with LiveSession(project, "-n", "3") as session:
        code = session.wait(90)
    records = trained(project)
    if code or len(records) != 12:
        yield f"exit code {code}, {len(records)} records:\n{session.output()}"
    gpus: dict[str, set[str]] = {}
    for one in records:
        partners = sorted((one["plan"]["test_id"], one["plan"]["partner"]))
        domain = one.get("foreground_result", one)["energy_provenance"]["domains"]["gpu"]
        gpus.setdefault(" ".join(partners), set()).update(domain["uuids"])
    yield from (f"{pair} on {found}" for pair, found in gpus.items() if len(found) > 1)
    told = [one for one in records if one.get("pair")]
    if len(told) != 6:
        yield f"{len(told)} of 6 pairs are compared"


def _completed(project: Project, session: LiveSession, server: Server, count: int) -> Faults:
    """Yield what is wrong after a session was befallen: survivors, overlaps, and the resumption."""
    if left := session.left():
        yield f"left: {left}"
    done = {one["plan"]["test_id"] for one in trained(project)}
    yield from overlaps(trained(project))
    with LiveSession(project, "-n", "4", "--resume") as again:
        code = again.wait(60)
    if code:
        yield f"--resume: exit code {code}:\n{again.output()}"
    if f"{len(done)} of {count} experiments found finished" not in again.output():
        yield f"--resume does not know of {len(done)}:\n{again.output()}"
    times = Counter(one["plan"]["test_id"] for one in trained(project))
    if len(times) != count or max(times.values()) > 1:
        yield f"after --resume: {times}"
    yield from truth(project, server, 0.05)


def own_packages(project: Project, server: Server) -> Faults:
    """Two workers, two packages: each has one, and its CPUs, and its energy is all its own."""
    campaign(project, 3.0, 4)
    with LiveSession(project, "-n", "2") as session:
        code = session.wait(60)
    if code or len(trained(project)) != 4:
        yield f"exit code {code}:\n{session.output()}"
    for one in trained(project):
        domain = one["energy_provenance"]["domains"]["cpu_pkg"]
        labels = [zone["label"] for zone in domain["zones"]]
        number = labels[0].removeprefix("package-")
        joules = server.writer.energy_joules(server.packages[int(number)], *window_of(one))
        if domain["status"] != "measured" or len(labels) != 1:
            yield f"{domain['status']}: {labels}"
        elif abs(domain["energy_joules"] / joules - 1) > 2 * _TOLERANCE:
            yield f"{domain['energy_joules']:.1f} J of {joules:.1f} J"
        if one["environment"]["concurrency"]["cpus"] != number:
            yield f"package {number} with CPUs {one['environment']['concurrency']['cpus']}"
        if one["energy_estimate"] or one["concurrency"]["neighbours"]:
            yield f"{one['energy_estimate']}, {one['concurrency']}"


def kill_each_worker(project: Project, server: Server) -> Faults:
    """SIGKILL to each of four workers in turn, while they train."""
    campaign(project, 2.0, 24)
    report = project.path / "junit.xml"
    with LiveSession(project, "-n", "4", "--junit-xml", str(report)) as session:
        session.until(lambda: len(running(project)) == 4, "four trainings run", 40)
        for pid in running(project):
            os.kill(pid, signal.SIGKILL)
            session.until(lambda: len(running(project)) == 4, "the dead one is replaced", 40)
        code = session.wait(60)
    if code != 1:
        yield f"exit code {code}:\n{session.output()}"
    names = {case.get("name") for case in ET.parse(report).iter("testcase")}
    if len(names) != 24:
        yield f"JUnit names {len(names)} of 24"
    yield from _completed(project, session, server, 24)


def end_controller(number: signal.Signals) -> Callable[[Project, Server], Faults]:
    """Return a scene in which the controller gets a signal while four trainings run."""

    def scene(project: Project, server: Server) -> Faults:
        campaign(project, 2.0, 8)
        report = project.path / "junit.xml"
        with LiveSession(project, "-n", "4", "--junit-xml", str(report)) as session:
            session.until(lambda: len(running(project)) == 4, "four trainings run", 40)
            session.send(number)
            code = session.wait(60)
            if number != signal.SIGKILL:
                if code != 2:
                    yield f"exit code {code}:\n{session.output()}"
                names = {case.get("name") for case in ET.parse(report).iter("testcase")}
                if len(names) != 8:
                    yield f"JUnit names {len(names)} of 8"
                if len(project.records()) < 4:
                    yield f"{len(project.records())} records of the four that ran"
        yield from _completed(project, session, server, 8)

    return scene


def two_sessions(project: Project, server: Server) -> Faults:
    """Two sessions of ``-n 2`` on four GPUs, begun at once, with temporary folders of their own."""
    campaign(project, 2.0, 4)
    with ExitStack() as stack:
        sessions = []
        for name in ("one", "other"):
            folder = project.path / name
            folder.mkdir()
            words = ("-n", "2", "--results-dir", f"results/{name}")
            both = LiveSession(project, *words, environment={"TMPDIR": str(folder)})
            sessions.append(stack.enter_context(both))
        codes = [session.wait(60) for session in sessions]
    if codes != [0, 0]:
        yield f"exit codes {codes}:\n{sessions[0].output()}\n{sessions[1].output()}"
    records = []
    for name in ("one", "other"):
        files = (project.path / "results" / name).glob("*.json")
        records += [json.loads(file.read_text()) for file in files]
    used = [
        {gpu for one in records if one["plan"]["session_id"] == session for gpu in gpus_of(one)}
        for session in sorted({one["plan"]["session_id"] for one in records})
    ]
    if len(used) != 2 or used[0] & used[1]:
        yield f"GPUs of the sessions: {used}"
    yield from overlaps(records)
    measured = [one["energy_metrics"]["cpu_energy_pkg_joules"] or 0.0 for one in records]
    edges = [edge for one in records for edge in window_of(one)]
    if sum(measured) > server.package_joules(min(edges), max(edges)):
        yield f"the CPU's energy was counted twice: {measured}"


def other_namespace(project: Project, server: Server) -> Faults:
    """A session in a mount namespace and a TMPDIR of its own is refused while another measures."""
    del server
    campaign(project, 4.0, 1)
    with LiveSession(project, "-n", "0") as session:
        pid = session.pid
        session.await_text("training", 40)
        (project.path / "elsewhere").mkdir()
        around = ["unshare", "--mount"] if os.geteuid() == 0 else []
        command = [*around, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0"]
        done = subprocess.run(
            [*command, "--config", "settings/test.json", "experiments"],
            cwd=project.path, text=True, capture_output=True, timeout=60, check=False,
            env={**os.environ, "TMPDIR": str(project.path / "elsewhere")},
        )  # fmt: skip
        if done.returncode != 4 or f"PID {pid} already measures on" not in done.stderr:
            yield f"exit code {done.returncode}:\n{done.stdout}\n{done.stderr}"
        if session.wait(60):
            yield session.output()


def cannot_open(project: Project, server: Server) -> Faults:
    """A results folder that workers cannot write: they say so once, within ten seconds."""
    del server
    campaign(project, 1.0, 4)
    with (project.path / "conftest.py").open("a") as file:
        file.write(
            "import os\n"
            "if 'PYTEST_XDIST_WORKER' in os.environ:\n"
            "    import wattest.session.session as module\n"
            "    from wattest.errors import EnergyError\n"
            "    def _fail(*words, **more):\n"
            "        raise EnergyError('the sensors are gone')\n"
            "    module.find_sensors = _fail\n"
        )
    began = time.monotonic()
    with LiveSession(project, "-n", "4") as session:
        code = session.wait(60)
    if code != 4 or session.output().count("the sensors are gone") != 1:
        yield f"exit code {code}:\n{session.output()}"
    if time.monotonic() - began > 10:
        yield f"took {time.monotonic() - began:.1f} s"


SCENES: dict[str, Callable[[Project, Server], Faults]] = {
    "twelve experiments on four GPUs": twelve_on_four,
    "pairs on three GPUs": pairs,
    "two workers on two packages": own_packages,
    "each worker killed in turn": kill_each_worker,
    "controller: SIGKILL": end_controller(signal.SIGKILL),
    "controller: SIGTERM": end_controller(signal.SIGTERM),
    "controller: Ctrl-C": end_controller(signal.SIGINT),
    "two sessions at once": two_sessions,
    "another mount namespace": other_namespace,
    "workers that cannot open their session": cannot_open,
}


def main() -> int:
    """Play the scenes; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scene", default="", help="only scenes whose name contains this")
    wanted = parser.parse_args().scene
    # Locks lie on the counters themselves, and nothing of a test is left to help.
    os.environ.pop("WATTEST_LOCK_DIR", None)
    os.environ["PYTHONPATH"] = str(ROOT / "src")
    failed = 0
    for name, scene in SCENES.items():
        if wanted not in name:
            continue
        with tempfile.TemporaryDirectory(prefix="many-gpus-") as folder:
            project = Project(Path(folder))
            began = time.monotonic()
            with gpu_server(project, packages=2 if scene is own_packages else 1) as server:
                faults = list(scene(project, server))
        failed += bool(faults)
        told = "ok" if not faults else "\n    ".join(["", *faults])
        print(f"{name:40} {time.monotonic() - began:5.1f} s  {told}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
