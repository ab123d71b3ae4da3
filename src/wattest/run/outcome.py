"""One execution of a foreground: what it cost, what it gave, and whether it counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from wattest.energy import Measurement
from wattest.files import give_back
from wattest.process import Exit
from wattest.run.judge import ActiveLoad
from wattest.run.log import Metrics


@dataclass(frozen=True)
class CpuUse:
    """CPU time during one window, in seconds, by whom it was used."""

    machine_busy_seconds: float
    machine_total_seconds: float
    foreground_seconds: float
    background_seconds: float
    harness_seconds: float

    @property
    def ours_seconds(self) -> float:
        """CPU time of foreground, background and harness together."""
        return self.foreground_seconds + self.background_seconds + self.harness_seconds

    @property
    def other_share(self) -> float:
        """Share of the machine's CPU time (0 to 1) that went to none of ours."""
        other = max(0.0, self.machine_busy_seconds - self.ours_seconds)
        return other / self.machine_total_seconds if self.machine_total_seconds > 0 else 0.0


@dataclass(frozen=True)
class Attempt:
    """One execution: its command, end, energy, metrics, and the reasons for and against it.

    `faults` make it invalid; `flags` are to be known by whoever uses the numbers.
    """

    number: int
    argv: tuple[str, ...]
    pid: int | None
    started_at: str
    exit: Exit | None
    timed_out: bool
    interrupted: bool
    duration_seconds: float | None
    measurement: Measurement | None
    estimate: dict[str, object] | None
    cpu: CpuUse | None
    metrics: Metrics
    faults: tuple[str, ...]
    flags: tuple[str, ...]
    log: Path
    energy_folder: Path
    last_lines: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Tell whether this attempt may count."""
        return not self.faults

    @property
    def worth_repeating(self) -> bool:
        """Tell whether another attempt could end otherwise.

        It could not when the program ended well but no pattern matched: the same program prints
        the same lines again.
        """
        ended_well = self.exit is not None and self.exit.exit_code == 0
        return (
            not self.valid and not self.interrupted and not (ended_well and not self.metrics.found)
        )


@dataclass
class Outcome:
    """What one experiment has come to so far; the record is made from it."""

    files: ExperimentFiles
    attempts: list[Attempt] = field(default_factory=list)
    load: ActiveLoad | None = None
    trouble: str | None = None
    cooldown: dict[str, Any] | None = None
    early_flags: list[str] = field(default_factory=list)

    @property
    def last(self) -> Attempt | None:
        """The attempt that stands for the experiment: the last one."""
        return self.attempts[-1] if self.attempts else None

    @property
    def faults(self) -> tuple[str, ...]:
        """Why the experiment may not count; empty when it may."""
        faults = (self.trouble,) if self.trouble else ()
        if self.last is None:
            return faults or ("no attempt was made",)
        return faults + tuple(fault for fault in self.last.faults if fault != self.trouble)

    @property
    def flags(self) -> tuple[str, ...]:
        """What a user of the numbers should know."""
        return (*self.early_flags, *(self.last.flags if self.last else ()))

    @property
    def succeeded(self) -> bool:
        """Tell whether the experiment counts."""
        return not self.faults

    @property
    def retries(self) -> int:
        """Number of attempts after the first."""
        return max(0, len(self.attempts) - 1)

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


@dataclass(frozen=True)
class ExperimentFiles:
    """Where one experiment leaves its record, log, energy traces and background logs."""

    experiment_id: str
    started_at: datetime
    record: Path
    log: Path
    energy_folder: Path
    background_folder: Path

    def set_aside(self, attempt: int) -> tuple[Path, Path]:
        """Rename log and energy folder of a failed attempt, so that the next one has the names."""
        log = self.log.with_name(f"{self.log.stem}.attempt_{attempt}.log")
        energy = self.energy_folder.with_name(f"{self.energy_folder.name}.attempt_{attempt}")
        self.log.replace(log)
        self.log.touch()
        give_back(self.log)
        if self.energy_folder.exists():
            self.energy_folder.replace(energy)
        return log, energy
