"""Measure what measuring costs on this machine, and say which targets are met.

    python benchmarks/overhead.py [--runs 5] [--seconds 20] [--pairs 10] [--marks] [-- COMMAND …]

Sensors are scripted (a fake NVML and a powercap tree), so that their drivers cost nothing: what is
measured is our own cost. COMMAND is the training of the paired runs; without it, one epoch of the
bundled ResNet-20 (needs torch). --marks measures nothing but steady windows, without and with a
growing log whose epochs are read.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from peer_stage import Stage
from peers import machine_line, spread
from scipy.stats import t as student

ROOT = Path(__file__).parents[1]
PROBE = Path(__file__).with_name("overhead_probe.py")
BURNER = ROOT / "src/wattest/calibration/burner.py"
_TRAINING = "#!/bin/sh\necho spawned $(date +%s.%N)\necho Accuracy: 1\n"


def main() -> int:
    """Measure everything, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a steady window")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--marks", action="store_true", help="only what reading epochs adds")
    parser.add_argument("command", nargs="*", help="the training of the paired runs")
    options = parser.parse_args()
    if options.runs < 1 or options.pairs < 2:
        parser.error("at least one run, and two pairs for an interval")
    training = options.command or [
        sys.executable, str(ROOT / "repos/pytorch_resnet_cifar10/train.py"), "-e", "1",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder)) as stage:
        runs, seconds = options.runs, options.seconds
        rows = list(steady_rows("no other load of ours", runs, seconds, stage))
        if options.marks:
            rows += mark_rows(runs, seconds, stage)
        else:
            rows += [
                *loaded_rows(runs, seconds, stage),
                *paired_rows(options.pairs, training, stage),
                fixed_row("fixed cost, spawn to record", runs, stage),
                fixed_row("the same without any sensor", runs, None),
                import_row(4 * runs),
            ]
    print(f"median (range); {machine_line()}\n")
    print("| what | measured | target | met |\n|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    return 0


def environment(stage: Stage | None) -> dict[str, str]:
    """Variables of a child: our sources, and the scripted GPU or none."""
    found = dict(stage.environment if stage else os.environ)
    if stage is None:
        found["CUDA_VISIBLE_DEVICES"] = ""
    return {**found, "PYTHONPATH": str(ROOT / "src")}


def ask(stage: Stage, *words: str) -> object:
    """Run the probe."""
    done = subprocess.run(
        [sys.executable, str(PROBE), words[0], str(stage.sys_root), *words[1:]],
        env=environment(stage),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


def verdict(is_met: bool) -> str:
    """As the table says it."""
    return "yes" if is_met else "**no**"


def steady_rows(
    name: str, runs: int, seconds: float, stage: Stage, lines: int | None = None
) -> list[Sequence[str]]:
    """CPU share and period at 10 Hz."""
    found = [steady(stage, seconds, lines) for _ in range(runs)]
    cpu = [one["own_cpu_percent"] for one in found]
    periods = [1e3 * one["p95_period_seconds"] for one in found]
    return [
        (f"steady cost at 10 Hz, % of a core ({name})", spread(cpu, ".3f"), "at most 0.3",
         verdict(statistics.median(cpu) <= 0.3)),
        (f"95th percentile of the period, ms ({name})", spread(periods, ".1f"), "98 to 102",
         verdict(98 <= statistics.median(periods) <= 102)),
    ]  # fmt: skip


def steady(stage: Stage, seconds: float, lines: int | None) -> Mapping[str, float]:
    """One steady window; with `lines` the epochs of a log that grows so much a second are read."""
    words = ("steady", str(seconds)) if lines is None else ("marks", str(seconds), str(lines))
    answer = ask(stage, *words)
    assert isinstance(answer, dict)
    return answer


def mark_rows(runs: int, seconds: float, stage: Stage) -> list[Sequence[str]]:
    """The same while epochs are read; a log that says ten times as much is reported, no target."""
    rows = steady_rows("an epoch a second being read", runs, seconds, stage, 1)
    busy = steady_rows("an epoch among ten lines a second", runs, seconds, stage, 10)
    return rows + [(what, measured, "reported", "-") for what, measured, _, _ in busy]


def loaded_rows(runs: int, seconds: float, stage: Stage) -> list[Sequence[str]]:
    """The same while every CPU is kept busy; reported, no target."""
    load = subprocess.Popen(
        [sys.executable, str(BURNER), "cpu", "0.1", "1"],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        rows = steady_rows("every CPU busy", runs, seconds, stage)
    finally:
        os.killpg(load.pid, 9)
        load.wait()
    return [(what, measured, "reported", "-") for what, measured, _, _ in rows]


def paired_rows(count: int, training: Sequence[str], stage: Stage) -> list[Sequence[str]]:
    """Ratios with and without the meter, with their 95 % intervals: of durations and CPU times.

    On a busy machine the durations say little; the CPU time of the training says more.
    """
    answer = ask(stage, "pairs", str(count), *training)
    assert isinstance(answer, list)
    seconds = statistics.median(pair["plain"][0] for pair in answer)
    rows = []
    for index, name in enumerate(("duration", "CPU time")):
        logs = [math.log(pair["metered"][index] / pair["plain"][index]) for pair in answer]
        mean = statistics.fmean(logs)
        half = student.ppf(0.975, count - 1) * statistics.stdev(logs) / math.sqrt(count)
        low, high = math.exp(mean - half), math.exp(mean + half)
        what = f"{name} of a training with the meter / without, {count} pairs of {seconds:.1f} s"
        measured = f"{math.exp(mean):.3f} (95 % interval {low:.3f} to {high:.3f})"
        rows.append((what, measured, "interval holds 1, or lies below", verdict(low <= 1)))
    return rows


def fixed_row(name: str, runs: int, stage: Stage | None) -> Sequence[str]:
    """Trainings that end at once: from their first line to their record on disk."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        _lay_out(project, 2 * runs)
        sysfs = stage.sys_root if stage else project / "no-sys"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        if not _has_entry_point():
            command += ["-p", "wattest.plugin"]
        command += ["experiments", "--config", "settings/fixed.json", "--sysfs", str(sysfs)]
        done = subprocess.run(
            command, cwd=project, env=environment(stage), capture_output=True, text=True
        )
        seconds = [_seconds_to_record(one) for one in sorted((project / "results").glob("*.json"))]
        if not seconds:
            return name, f"failed: {done.stdout[-200:]}", "below 0.3 s", verdict(False)
    met = statistics.median(seconds) < 0.3
    return (
        f"{name}, s ({len(seconds)} experiments)",
        spread(seconds, ".3f"),
        "below 0.3",
        verdict(met),
    )


def _lay_out(project: Path, count: int) -> None:
    for name in ("conftest.py", "pytest.ini"):
        shutil.copy(ROOT / name, project / name)
    for name in ("fixtures", "experiments"):
        shutil.copytree(ROOT / name, project / name)
    script = project / "repos/at_once/train.sh"
    script.parent.mkdir(parents=True)
    script.write_text(_TRAINING)
    script.chmod(0o755)
    (project / "no-sys").mkdir()
    registry = {
        "path": "repos/at_once", "train_script": "./train.sh", "models": ["none"],
        "supported_hyperparams": {},
        "performance_metrics": {"log_patterns": {"accuracy": "Accuracy: ([0-9.]+)"}},
    }  # fmt: skip
    settings = {
        "experiment_name": "fixed", "mode": "default", "runs_per_config": count, "max_retries": 0,
        "experiments": [{"repo": "at_once", "model": "none", "hyperparameters": {}}],
    }  # fmt: skip
    for path, document in (
        ("config/models_config.json", {"models": {"at_once": registry}}),
        ("settings/fixed.json", settings),
    ):
        (project / path).parent.mkdir(exist_ok=True)
        (project / path).write_text(json.dumps(document))


def _seconds_to_record(record: Path) -> float:
    log = record.with_name(f"training_{record.stem}_foreground.log").read_text()
    spawned = re.search(r"spawned ([0-9.]+)", log)
    assert spawned is not None
    return record.stat().st_mtime_ns / 1e9 - float(spawned.group(1))


def _has_entry_point() -> bool:
    question = "from importlib.metadata import distribution; distribution('wattest')"
    return subprocess.run([sys.executable, "-c", question], capture_output=True).returncode == 0


def import_row(runs: int) -> Sequence[str]:
    """CPU time that the plugin adds to the start of pytest, by pairs."""
    added = [_start("wattest.plugin") - _start("no:wattest.plugin") for _ in range(runs)]
    met = statistics.median(added) < 0.1
    what = f"CPU time added to `pytest --version`, s ({runs} pairs)"
    return what, spread(added, ".3f"), "below 0.1", verdict(met)


def _start(plugin: str) -> float:
    """CPU seconds of a pytest that only says its version."""
    command = [sys.executable, "-m", "pytest", "-p", plugin, "--version", "--version"]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(None),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
