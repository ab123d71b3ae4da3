"""What an experiment came to: its files, its attempts, its load, and whether it counts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from wattest.energy import METRICS, Measurement, Snapshot, estimate
from wattest.files import give_back, open_new
from wattest.machine import Neighbour, Span
from wattest.process import Exit
from wattest.run.activeload import ActiveLoad
from wattest.run.epochs import Epoch, Rest, Whole, epochs_of, rest_of
from wattest.run.marks import IN_BLOCKS, MarkReader, disorder
from wattest.run.metrics import Metrics

# A record is to be written at once, and read by all who look at its results.
_MOST_EPOCHS = 10_000


@dataclass(frozen=True)
class CpuUse:
    """CPU time during one window, in seconds, by whom it was used.

    `other_share` is the share of the machine's CPU time (0 to 1) that went to none of ours.
    """

    machine_busy_seconds: float
    machine_total_seconds: float
    foreground_seconds: float
    background_seconds: float
    harness_seconds: float
    other_share: float


@dataclass
class Attempt:
    """One execution: filled while it runs, judged when it is over.

    `faults` make it invalid; `flags` are to be known by whoever uses the numbers. `trouble` ended
    it before the training did. `gpu_processes` are those seen at the edges (UUID of the GPU by
    PID), `own_pids` those of them that may be ours, `unseen` says why none could be looked for.
    `estimate_cpus` is for how many CPUs their energy may be estimated, None for not at all;
    `neighbours` trained in its window too, None where nobody shares the CPU's counters.
    """

    number: int
    argv: tuple[str, ...]
    timeout_seconds: float
    log: Path
    energy_folder: Path
    started_at: str
    pid: int | None = None
    exit: Exit | None = None
    timed_out: bool = False
    interrupted: bool = False
    trouble: str | None = None
    estimate_cpus: int | None = os.cpu_count() or 1
    neighbours: list[Neighbour] | None = None
    measurement: Measurement | None = None
    harness_cpu_seconds: float = 0.0
    load_cpu_seconds: float = 0.0
    own_pids: set[int] = field(default_factory=set)
    gpu_processes: dict[int, str] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)
    faults: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    last_lines: list[str] = field(default_factory=list)
    marks: MarkReader | None = None
    half: Snapshot | None = None
    """Of a load alone: what had been counted in the middle of the window."""

    @property
    def worth_repeating(self) -> bool:
        """Tell whether another attempt could end otherwise.

        It could not when the program ended well but no pattern matched: the same program prints
        the same lines again.
        """
        ended_well = self.exit is not None and self.exit.exit_code == 0
        return not self.interrupted and not (ended_well and not self.metrics.found)

    @property
    def duration_seconds(self) -> float | None:
        """How long the training lived; for one that was stopped, how long its window was."""
        if self.pid is None:
            return None
        if self.exit is not None:
            return (self.exit.ended_ns - self.exit.started_ns) / 1e9
        return self.measurement.duration_seconds if self.measurement else None

    def energy_metrics(self) -> dict[str, float | None]:
        """Return the energy metrics of the window, all None where there was none."""
        return self.measurement.energy_metrics() if self.measurement else dict.fromkeys(METRICS)

    def provenance(self) -> dict[str, Any] | None:
        """Return where the energy metrics come from; None without a window."""
        return self.measurement.provenance() if self.measurement else None

    def epochs(self) -> tuple[list[Epoch], Rest, str | None] | None:
        """Return the epochs of the window, what they leave, and why something is not known.

        None without a pattern that tells of progress, or without a window.
        """
        if self.marks is None or self.measurement is None:
            return None
        marks, whole = self.marks.marks[:_MOST_EPOCHS], _whole(self.measurement)
        found = epochs_of(marks, whole)
        rest = rest_of(found, whole)
        if len(self.marks.marks) > _MOST_EPOCHS:
            return found, rest, f"only the first {_MOST_EPOCHS} epochs are listed"
        if self.marks.problem:
            return found, rest, f"epochs are not known further: {self.marks.problem}"
        in_blocks = any(one.seen_seconds is None for one in found)
        return found, rest, IN_BLOCKS if in_blocks else disorder(marks) or None

    @property
    def cpu(self) -> CpuUse | None:
        """Who used the CPUs during the window; None where /proc does not tell."""
        machine = self.measurement.machine_cpu if self.measurement else None
        if machine is None:
            return None
        end, busy, total = self.exit, machine.busy_seconds, machine.capacity_seconds
        foreground = end.user_cpu_seconds + end.system_cpu_seconds if end else 0.0
        ours = foreground, self.load_cpu_seconds, self.harness_cpu_seconds
        other = max(0.0, busy - sum(ours))
        return CpuUse(busy, total, *ours, other_share=other / total if total > 0 else 0.0)

    @property
    def estimate(self) -> dict[str, object] | None:
        """An estimate of the CPU's energy, where no counter could be read (and only there)."""
        if self.cpu is None or self.measurement is None or self.pid is None:
            return None
        is_shared = any(result.status == "shared" for result in self.measurement.results)
        is_known = self.energy_metrics()["cpu_energy_total_joules"] is not None
        if is_known or is_shared or self.estimate_cpus is None:
            return None
        return estimate(
            self.measurement.duration_seconds,
            self.estimate_cpus,
            self.cpu.machine_busy_seconds,
            self.cpu.foreground_seconds if self.exit else None,
        )


def _whole(measured: Measurement) -> Whole:
    energy, periods = measured.energy_metrics(), {"cpu": 0.0, "gpu": 0.0}
    for result in measured.results:
        for part in result.parts:
            name = result.domain[:3]
            periods[name] = max(periods[name], part.update_period_seconds or 0.0)
    joules = {name: energy[f"{name}_energy_total_joules"] for name in periods}
    return Whole(measured.opened_ns, measured.duration_seconds, joules, periods)


@dataclass(frozen=True)
class ExperimentFiles:
    """Where one experiment leaves its record, log, energy traces and background logs."""

    experiment_id: str
    started_at: datetime
    record: Path
    log: Path
    energy_folder: Path
    background_folder: Path

    def set_aside(self, attempt: Attempt) -> None:
        """Rename log and traces of a failed attempt, so that the next one has the names."""
        log = self.log.with_name(f"{self.log.stem}.attempt_{attempt.number}.log")
        traces = Path(f"{self.energy_folder}.attempt_{attempt.number}")
        # A training may have taken them away.
        for here, aside in ((self.log, log), (self.energy_folder, traces)):
            with suppress(FileNotFoundError):
                here.replace(aside)
        os.close(open_new(self.log))
        attempt.log, attempt.energy_folder = log, traces

    def give_back(self) -> None:
        """Under sudo, give all of it to who called sudo: the logs may belong to another user.

        Raises:
            OSError: a file cannot be given.
        """
        for path in self.record.parent.glob(f"*{self.experiment_id}*"):
            give_back(path)


@dataclass(frozen=True)
class CoolDown:
    """The pause before an experiment: what was waited for, and what was not yet near idle."""

    waited_seconds: float
    reached_idle: bool
    excess: tuple[str, ...]
    least_seconds: float
    limit_seconds: float
    hold_seconds: float


@dataclass(frozen=True)
class LoadAlone:
    """For how long a load is measured without its foreground, in seconds, and why so long."""

    seconds: float
    reason: str


@dataclass
class Outcome:
    """What one experiment has come to so far; the record is made from it."""

    files: ExperimentFiles
    load_alone: LoadAlone | None = None
    attempts: list[Attempt] = field(default_factory=list)
    load: ActiveLoad = field(default_factory=ActiveLoad)
    trouble: str | None = None
    cooldown: CoolDown | None = None
    idle: Mapping[str, Any] | None = None
    early_flags: list[str] = field(default_factory=list)
    span: Span | None = None

    @property
    def last(self) -> Attempt | None:
        """The attempt that stands for the experiment: the last one."""
        return self.attempts[-1] if self.attempts else None

    @property
    def faults(self) -> list[str]:
        """Why the experiment may not count; empty when it may."""
        faults = [self.trouble] if self.trouble else []
        if self.last is None:
            return faults or ["no attempt was made"]
        return faults + [fault for fault in self.last.faults if fault != self.trouble]

    @property
    def flags(self) -> list[str]:
        """What a user of the numbers should know."""
        return list(dict.fromkeys(self.early_flags + (self.last.flags if self.last else [])))

    @property
    def succeeded(self) -> bool:
        """Tell whether the experiment counts."""
        return not self.faults

    def explain(self) -> str:
        """Return why the experiment failed, for the person who reads the test report."""
        lines = [f"{self.files.experiment_id} does not count:"]
        lines += [f"  - {fault}" for fault in self.faults]
        if self.last is not None:
            lines.append(f"  command: {' '.join(self.last.argv)}")
            lines.append(f"  log: {self.last.log}")
            if self.last.last_lines:
                lines.append("  its last lines:")
                lines += [f"    {line}" for line in self.last.last_lines]
        return "\n".join(lines)
