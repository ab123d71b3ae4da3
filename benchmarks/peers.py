"""Measure ours and four published tools at the same work on this machine, and print the tables.

    python benchmarks/peers.py --venvs FOLDER [--runs 3] [--seconds 8] [--tool NAME]

Every tool runs with a Python of its own, installed from PyPI under FOLDER if it is not there. All
read the same scripted hardware: a fake NVML, and a powercap tree bind-mounted over /sys in a mount
namespace of each run (root only; without it no tool but ours can be shown another tree, and the
CPU column is empty). The true energy of the work is known exactly. CPU time is what the tool's
processes used in the middle of the work, without the work itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from peer_stage import Stage

ROOT = Path(__file__).parents[1]
RUNNER = Path(__file__).with_name("peer_runner.py")
PACKAGES = {
    "codecarbon": ("codecarbon",),
    "zeus": ("zeus",),
    "zeus-power": ("zeus",),
    "perun": ("perun", "nvidia-ml-py"),
    "carbontracker": ("carbontracker",),
}
TOOLS = ("wattest", *PACKAGES)
_WARM_SECONDS = 2.0
# Only in this mount namespace: the scripted tree in place of /sys, with the real CPUs in it.
_MOUNT = """
mount --rbind /sys/devices/system "$1/devices/system" && mount --rbind /sys/fs "$1/fs" &&
mount --rbind "$1" /sys && shift && exec "$@"
"""


@dataclass
class Result:
    """All runs of one tool at one rate."""

    cpu_percent: list[float] = field(default_factory=list)
    fixed_seconds: list[float] = field(default_factory=list)
    import_seconds: list[float] = field(default_factory=list)
    cpu_error_percent: list[float] = field(default_factory=list)
    gpu_error_percent: list[float] = field(default_factory=list)
    cpu_domains: float | None = None
    failure: str = ""


def interpreter(tool: str, venvs: Path) -> Path:
    """The Python of a tool, installed if need be.

    Raises:
        subprocess.CalledProcessError: It cannot be installed.
    """
    if tool == "wattest":
        return Path(sys.executable)
    packages = PACKAGES[tool]
    folder = venvs / packages[0]
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
        install = [python, "-m", "pip", "install", "-q", *packages]
        subprocess.run(install, check=True, capture_output=True, text=True, timeout=600)
        (folder / "installed").touch()
    return python


def version(python: Path, tool: str) -> str:
    """The installed version of a tool."""
    if tool == "wattest":
        return "this checkout"
    ask = f"from importlib.metadata import version; print(version({PACKAGES[tool][0]!r}))"
    done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def cpu_seconds(pid: int, but: int) -> float:
    """CPU time of a process and its descendants, those that are `but` left out.

    The clock of a process is that of clock_getcpuclockid(3): nanoseconds, ended threads included.
    """
    if pid == but:
        return 0.0
    try:
        total = time.clock_gettime((~pid << 3) | 2)
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = {int(one) for task in tasks for one in (task / "children").read_text().split()}
    except OSError:
        return 0.0
    return total + sum(cpu_seconds(child, but) for child in children)


def run(
    tool: str, python: Path, hertz: float, seconds: float, stage: Stage, mounts: bool, into: Result
) -> None:
    """Run one tool once, and enter what came out."""
    prefix = ["unshare", "-m", "sh", "-c", _MOUNT, "sh", str(stage.sys_root)] if mounts else []
    command = [*prefix, str(python), str(RUNNER), tool, str(hertz), str(seconds)]
    environment = dict(stage.environment)
    if tool == "wattest":
        environment["PYTHONPATH"] = str(ROOT / "src")
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "stderr").open("w+") as errors:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout is not None
        answer: Mapping[str, object] = {}
        for line in process.stdout:
            if not line.startswith("{"):
                continue
            answer = json.loads(line)
            if "work_pid" in answer:
                into.cpu_percent.append(_steady(process.pid, int(str(answer["work_pid"])), seconds))
        process.wait(60)
        errors.seek(0)
        lines = [line.strip() for line in errors if line.strip()]
    if process.returncode or "joules" not in answer:
        into.failure = lines[-1][:160] if lines else f"exit code {process.returncode}"
        return
    _enter(answer, stage, mounts, into)


def _steady(pid: int, work: int, seconds: float) -> float:
    time.sleep(_WARM_SECONDS)
    began, before = time.monotonic(), cpu_seconds(pid, work)
    time.sleep(seconds - _WARM_SECONDS - 0.5)
    return 100 * (cpu_seconds(pid, work) - before) / (time.monotonic() - began)


def _enter(answer: Mapping[str, object], stage: Stage, mounts: bool, into: Result) -> None:
    facts: dict[str, float] = {k: v for k, v in answer.items() if isinstance(v, int | float)}
    into.import_seconds.append(facts["import_seconds"])
    into.fixed_seconds.append(facts["fixed_seconds"])
    span = int(facts["began_ns"]), int(facts["ended_ns"])
    joules = answer["joules"]
    assert isinstance(joules, dict)
    into.cpu_domains = joules["cpu_domains"]
    if mounts and joules["cpu"] is not None and into.cpu_domains:
        truth = stage.cpu_joules(*span, into.cpu_domains)
        into.cpu_error_percent.append(100 * (joules["cpu"] / truth - 1))
    if joules["gpu"] is not None:
        into.gpu_error_percent.append(100 * (joules["gpu"] / stage.gpu_joules(*span) - 1))


def spread(values: Sequence[float], form: str) -> str:
    """Median and range."""
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{statistics.median(values):{form}} ({low:{form}} to {high:{form}})"


def table(results: Mapping[tuple[str, float], Result], versions: Mapping[str, str]) -> list[str]:
    """The Markdown table, one row per tool and rate."""
    head = "| tool | version | Hz | CPU, % of a core | ours / theirs | fixed cost, s | import, s | "
    head += "CPU energy, % off | GPU energy, % off |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|"]
    for (tool, hertz), one in results.items():
        ours = results[("wattest", hertz)].cpu_percent
        both = ours and one.cpu_percent
        ratio = statistics.median(ours) / statistics.median(one.cpu_percent) if both else None
        cells = [
            tool, versions.get(tool, "-"), f"{hertz:g}", spread(one.cpu_percent, ".2f"),
            f"{ratio:.2f}" if ratio is not None else "-", spread(one.fixed_seconds, ".2f"),
            spread(one.import_seconds, ".2f"), spread(one.cpu_error_percent, "+.1f"),
            spread(one.gpu_error_percent, "+.1f"),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
        if one.failure:
            lines.append(f"| | | | failed: {one.failure} | | | | | |")
    return lines


def machine_line() -> str:
    """What it ran on."""
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    models = [fact for fact in facts if fact.startswith("model name")]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    load = os.getloadavg()[1]
    return f"{model}, {os.cpu_count()} CPUs, kernel {platform.release()}, load {load:.1f}"


def main() -> int:
    """Run everything, in turns so that noise falls on all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--venvs", type=Path, required=True, help="folder for the environments")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of the work")
    parser.add_argument("--tool", choices=TOOLS, action="append", help="only these, beside ours")
    options = parser.parse_args()
    chosen = [tool for tool in TOOLS if tool == "wattest" or tool in (options.tool or TOOLS)]
    mounts = subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
    results = {(tool, hertz): Result() for hertz in (1.0, 10.0) for tool in chosen}
    pythons, versions = {}, {}
    for tool in chosen:
        try:
            pythons[tool] = interpreter(tool, options.venvs.absolute())
            versions[tool] = version(pythons[tool], tool)
        except subprocess.CalledProcessError as error:
            last = (str(error.stderr or error).strip().splitlines() or ["?"])[-1]
            for hertz in (1.0, 10.0):
                results[(tool, hertz)].failure = f"not installed: {last[:160]}"
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder)) as stage:
        for _ in range(options.runs):
            for (tool, hertz), result in results.items():
                if tool in pythons:
                    run(tool, pythons[tool], hertz, options.seconds, stage, mounts, result)
                    print(tool, hertz, result.failure, file=sys.stderr)
    tree = "mounted over /sys for each run" if mounts else "not to be had without root"
    print(f"{options.runs} runs of {options.seconds:g} s, median (range); {machine_line()}")
    print(f"scripted powercap tree: {tree}\n")
    print("\n".join(table(results, versions)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
