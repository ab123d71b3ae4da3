"""The verdict: whether an attempt may count, or the reasons why not."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from wattest.energy import (
    Measurement,
    estimate,
    foreign_gpu_processes,
    other_cpu_load,
)
from wattest.process import Exit
from wattest.run.judge import ActiveLoad, LoadEdge
from wattest.run.log import Metrics
from wattest.run.outcome import CpuUse


@dataclass
class Run:
    """What becomes known while one attempt runs."""

    exit: Exit | None = None
    pid: int | None = None
    timed_out: bool = False
    interrupted: bool = False
    trouble: str | None = None
    measurement: Measurement | None = None
    own_cpu_seconds: float = 0.0
    own_pids: set[int] = field(default_factory=set)
    gpu_processes: dict[int, str] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    load_opened: LoadEdge | None = None
    load_closed: LoadEdge | None = None


def judge(
    run: Run, metrics: Metrics, load: ActiveLoad | None, timeout_seconds: float
) -> tuple[list[str], list[str]]:
    """Return (faults, flags): why the attempt may not count, and what to know if it does."""
    faults: list[str] = []
    flags: list[str] = []
    if run.trouble:
        faults.append(run.trouble)
    if run.interrupted:
        faults.append("interrupted before the training was done")
    elif run.timed_out:
        faults.append(f"timed out after {timeout_seconds:g} s (timeout_seconds)")
    elif run.exit is not None:
        faults += exit_faults(run.exit, metrics)
    if run.measurement is not None:
        faults += [reason.text for reason in run.measurement.faults]
        flags += [reason.text for reason in run.measurement.flags]
    if load and run.load_opened and run.load_closed:
        load_faults, load_flags = load.judge(run.load_opened, run.load_closed)
        faults += load_faults if run.trouble is None else []
        flags += load_flags
    if run.exit is not None and run.exit.leftovers_killed:
        flags.append(f"{run.exit.leftovers_killed} processes outlived the training and were killed")
    if metrics.found:
        flags += metrics.problems
    return faults, flags


def neighbour_flags(run: Run, cpu: CpuUse | None) -> list[str]:
    """Flag what else was on the machine: foreign GPU processes, and other CPU load."""
    own = run.own_pids | ({run.pid} if run.pid is not None else set())
    reasons = [foreign_gpu_processes(run.gpu_processes, own)]
    if cpu is not None:
        reasons.append(
            other_cpu_load(cpu.machine_busy_seconds, cpu.ours_seconds, cpu.machine_total_seconds)
        )
    return [*run.unseen, *(reason.text for reason in reasons if reason is not None)]


def cpu_use(run: Run, load: ActiveLoad | None) -> CpuUse | None:
    """Return who used the CPUs during the window; None where /proc does not tell."""
    machine = run.measurement.machine_cpu if run.measurement else None
    if machine is None:
        return None
    background = 0.0
    if load and run.load_opened and run.load_closed:
        background = load.cpu_seconds(run.load_opened, run.load_closed)
    end = run.exit
    return CpuUse(
        machine_busy_seconds=machine.busy_seconds,
        machine_total_seconds=machine.capacity_seconds,
        foreground_seconds=end.user_cpu_seconds + end.system_cpu_seconds if end else 0.0,
        background_seconds=background,
        harness_seconds=run.own_cpu_seconds,
    )


def duration_seconds(run: Run) -> float | None:
    """Return how long the training lived; for one that was stopped, how long its window was."""
    if run.pid is None:
        return None
    if run.exit is not None:
        return (run.exit.ended_ns - run.exit.started_ns) / 1e9
    return run.measurement.duration_seconds if run.measurement else None


def estimated_energy(run: Run, cpu: CpuUse | None) -> dict[str, object] | None:
    """Estimate the CPU's energy where no counter could be read (and only there)."""
    if cpu is None or run.measurement is None or run.pid is None:
        return None
    if run.measurement.energy_metrics()["cpu_energy_total_joules"] is not None:
        return None
    return estimate(
        run.measurement.duration_seconds,
        os.cpu_count() or 1,
        cpu.machine_busy_seconds,
        cpu.foreground_seconds if run.exit else None,
    )


def exit_faults(end: Exit | None, metrics: Metrics) -> list[str]:
    """Return the faults that follow from how the training ended and what its log says."""
    faults = []
    if end is not None and end.signal is not None:
        faults.append(f"training was ended by signal {end.signal}")
    elif end is not None and end.exit_code != 0:
        faults.append(f"training ended with exit code {end.exit_code}")
    if not metrics.found:
        faults += ["no performance metric was found", *metrics.problems]
    return faults
