"""What a calibration of this machine holds: patterns of load, readings, and the JSON of both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from wattest import __version__
from wattest.energy import Finding
from wattest.errors import EnergyError
from wattest.files import write_atomically


@dataclass(frozen=True)
class Pattern:
    """One known load.

    Attributes:
        name: As the table shows it.
        load: `cpu`, `gpu`, or None for nothing.
        period_seconds: Period of its square wave.
        high_share: Share of each period in which it is on.
    """

    name: str
    load: str | None
    period_seconds: float = 0.1
    high_share: float = 1.0


@dataclass(frozen=True)
class Reading:
    """What one counter gave over one pattern; None is not known.

    Attributes:
        domain: `cpu` or `gpu`.
        name: Zone, or UUID.
        source: `powercap`, `perf`, `nvml-counter` or `nvml-power-integral`.
        counter_joules: By its energy counter.
        integral_joules: By its power, integrated over the counter's span.
        deviation_percent: Of the integral from the counter.
        mean_watts: By the counter, or by the integral where there is none.
        between_percent: `mean_watts` on a scale from idle (0) to steady load (100).
        faults: Why it would not count in a record.
    """

    domain: str
    name: str
    source: str | None
    counter_joules: float | None
    integral_joules: float | None
    deviation_percent: float | None
    mean_watts: float | None
    between_percent: float | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """One pattern, measured.

    Attributes:
        pattern: The load.
        seconds: Length of the window.
        load_cpu_percent: CPU time of the load, of all CPUs it may use; None without a load.
        own_cpu_percent: CPU time of this process within the window, of one core.
        update_periods: Inferred update period in seconds, by counter, under this load.
        meter_cost: The meter's own figures: samples, gaps, percentile of the period.
        readings: One per counter.
        faults: Why a training measured like this would not count.
        flags: What its reader would be told.
    """

    pattern: Pattern
    seconds: float
    load_cpu_percent: float | None
    own_cpu_percent: float
    update_periods: Mapping[str, float]
    meter_cost: Mapping[str, object]
    readings: tuple[Reading, ...]
    faults: tuple[str, ...]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Calibration:
    """All patterns, and the counters they were measured with.

    Attributes:
        taken_at: Local time.
        sys_root: Root of /sys that was read.
        host: The machine.
        gpus: What NVML says of the boards.
        sensors: Every sensor that was looked for.
        runs: The patterns, idle first.
    """

    taken_at: str
    sys_root: str
    host: Mapping[str, object]
    gpus: Mapping[str, object]
    sensors: tuple[Finding, ...]
    runs: tuple[Run, ...]

    def as_json(self) -> str:
        """The whole, for a file."""
        document = {"kind": "wattest calibration", "wattest": __version__, **asdict(self)}
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def store(calibration: Calibration, path: Path) -> None:
    """Write the JSON document, whole or not at all.

    Raises:
        EnergyError: It cannot be written.
    """
    try:
        write_atomically(path, calibration.as_json())
    except OSError as error:
        raise EnergyError(f"{path}: cannot be written: {error.strerror or error}") from error
