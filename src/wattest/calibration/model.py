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
    """One known load: `cpu`, `gpu` or nothing, on for a share of each period of a square wave."""

    name: str
    load: str | None
    period_seconds: float = 0.1
    high_share: float = 1.0


@dataclass(frozen=True)
class Reading:
    """What one counter gave over one pattern; None is not known.

    `name` is a zone or a UUID, `deviation_percent` that of the integrated power from the energy
    counter over the counter's span. `mean_watts` is by the counter, or by the integral where there
    is none; `between_percent` sets it on a scale from idle (0) to steady load (100). `faults` say
    why it would not count in a record.
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
    """One pattern, measured for so many seconds.

    The CPU time of the load is in percent of all CPUs that it may use (None without a load), that
    of this process in percent of one core. `update_periods` are those inferred under this load, in
    seconds by counter. `faults` and `flags` are what a training measured like this would get.
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
    """All patterns, idle first, and the machine and counters that they were measured with."""

    taken_at: str
    sys_root: str
    host: Mapping[str, object]
    gpus: Mapping[str, object]
    sensors: tuple[Finding, ...]
    runs: tuple[Run, ...]


def store(calibration: Calibration, path: Path) -> None:
    """Write the JSON document, whole or not at all.

    Raises:
        EnergyError: It cannot be written.
    """
    document = {"kind": "wattest calibration", "wattest": __version__, **asdict(calibration)}
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        write_atomically(path, text)
    except OSError as error:
        raise EnergyError(f"{path}: cannot be written: {error.strerror or error}") from error
