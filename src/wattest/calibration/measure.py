"""``wattest calibrate``: what this machine's counters say of loads that we know.

For every load pattern a window is measured as for a training. Where a GPU has both, its energy
counter is set against its integrated power; a CPU has no second reading, so its squares are set
against the idle and the steady load. Nothing is simulated: without a counter there is no result.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from wattest import __version__
from wattest.energy import DomainResult, Finding, Part, Sensors, find_sensors
from wattest.errors import EnergyError, LoadError
from wattest.files import write_atomically
from wattest.machine import counters_of, facts, take
from wattest.process import Command, Tree

BURNER = Path(__file__).with_name("burner.py")
READY_SECONDS = 120.0
_SETTLE_SECONDS = 2.0
_NS = 1_000_000_000
_EITHER = frozenset({"cpu", "gpu"})


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
    of this process in percent of one core. `update_periods` are in seconds by counter; `faults` and
    `flags` are what a training measured like this would get.
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


def calibrate(sys_root: Path, seconds: float, say: Callable[[str], None]) -> Calibration:
    """Measure every pattern for `seconds`; `say` takes a line when something begins.

    Raises:
        EnergyError: No counter can be read; the message says why.
        LeaseError: A session measures with the same counters.
        LoadError: A load did not come up, or did not last.
    """
    with find_sensors(sys_root, allow_missing=_EITHER) as sensors:
        if not sensors.promised():
            raise EnergyError(f"no energy counter can be read: {sensors.describe()}")
        findings, gpus = sensors.findings, sensors.hardware()
    measured = [finding for finding in findings if finding.status == "measured"]
    with take(counters_of(measured, sys_root)):
        runs = []
        for pattern in _patterns(measured):
            say(f"{pattern.name}: {seconds:g} s")
            with _load(pattern) as tree, find_sensors(sys_root, allow_missing=_EITHER) as sensors:
                runs.append(_measure(sensors, pattern, seconds, tree))
    return Calibration(
        taken_at=datetime.now().isoformat(timespec="seconds"),
        sys_root=str(sys_root),
        host=facts.host(sys_root),
        gpus=gpus,
        sensors=findings,
        runs=_placed(runs),
    )


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


def _patterns(measured: Sequence[Finding]) -> Iterator[Pattern]:
    domains = {finding.domain for finding in measured}
    yield Pattern("idle", None)
    loads = ["gpu"] if "gpu" in domains and _has_cuda() else []
    if "cpu" in domains or not loads:
        loads.append("cpu")
    for load in loads:
        if load == "gpu":
            yield Pattern("gpu context", load, high_share=0.0)
        yield Pattern(f"{load} steady", load)
        for milliseconds in (80, 100, 150):
            yield Pattern(f"{load} square {milliseconds} ms", load, milliseconds / 1e3, 0.5)


def _has_cuda() -> bool:
    """Ask in a process of its own: a CUDA context of ours would be part of idle."""
    if importlib.util.find_spec("torch") is None:
        return False
    question = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    try:
        asked = subprocess.run(
            [sys.executable, "-c", question], capture_output=True, timeout=READY_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


@contextlib.contextmanager
def _load(pattern: Pattern) -> Iterator[Tree | None]:
    """Hold the load for as long as this is entered; it cannot outlive us."""
    if pattern.load is None:
        yield None
        return
    shape = (str(pattern.period_seconds), str(pattern.high_share))
    argv = (sys.executable, str(BURNER), pattern.load, *shape)
    with tempfile.TemporaryDirectory(prefix="wattest-load-") as folder:
        log = Path(folder) / "load.log"
        with Tree(Command(argv, Path(folder), dict(os.environ)), log) as tree:
            tree.start()
            _await_ready(tree, log, pattern)
            yield tree


def _await_ready(tree: Tree, log: Path, pattern: Pattern) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while "ready\n" not in log.read_text(errors="replace"):
        if tree.poll() is not None or time.monotonic() > deadline:
            last = "".join(log.read_text(errors="replace").splitlines()[-1:])
            raise LoadError(f"the load {pattern.name!r} did not come up: {last or 'no output'}")
        time.sleep(0.01)


def _measure(sensors: Sensors, pattern: Pattern, seconds: float, tree: Tree | None) -> Run:
    time.sleep(min(_SETTLE_SECONDS, seconds / 4))
    descriptors = (tree.fileno(),) if tree else ()
    with tempfile.TemporaryDirectory(prefix="wattest-calibrate-") as folder:
        load_began = tree.cpu_seconds() if tree else 0.0
        with sensors.open_window(Path(folder) / "window") as window:
            own_began = time.process_time()
            ready = window.wait(descriptors, window.opened_ns + int(seconds * _NS))
            own_seconds = time.process_time() - own_began
            measurement = window.close()
        if ready:
            raise LoadError(f"the load {pattern.name!r} ended before its window did")
        load_seconds = tree.cpu_seconds() - load_began if tree else None
    length = (measurement.closed_ns - measurement.opened_ns) / _NS
    cpus = len(os.sched_getaffinity(0))
    periods = {one.name: one.details.get("update_period_seconds") for one in sensors.findings}
    return Run(
        pattern=pattern,
        seconds=length,
        load_cpu_percent=None if load_seconds is None else 100 * load_seconds / length / cpus,
        own_cpu_percent=100 * own_seconds / length,
        update_periods={name: one for name, one in periods.items() if isinstance(one, float)},
        meter_cost=measurement.meter_cost,
        readings=tuple(
            _reading(result, part, length)
            for result in measurement.results
            for part in result.parts
        ),
        faults=tuple(reason.text for reason in measurement.faults),
        flags=tuple(reason.text for reason in measurement.flags),
    )


def _reading(result: DomainResult, part: Part, seconds: float) -> Reading:
    """Keep counter and integral where they contradict each other, but no mean power then."""
    counted: Any = part.facts.get("counter_joules", part.joules) or None
    integrated: Any = part.facts.get("integral_joules")
    is_whole = counted is not None and integrated is not None
    return Reading(
        domain="gpu" if result.domain == "gpu" else "cpu",
        name=part.name,
        source=str(part.facts.get("source", result.source)),
        counter_joules=counted,
        integral_joules=integrated,
        deviation_percent=100 * (integrated / counted - 1) if is_whole else None,
        mean_watts=None if part.joules is None else part.joules / seconds,
        faults=tuple(fault.text for fault in part.faults),
    )


def _placed(runs: list[Run]) -> tuple[Run, ...]:
    """Put every mean power on the scale from idle to the steady load of its own kind."""
    watts = {(run.pattern.name, one.name): one.mean_watts for run in runs for one in run.readings}

    def place(run: Run, reading: Reading) -> Reading:
        low = watts.get(("idle", reading.name))
        high = watts.get((f"{run.pattern.load} steady", reading.name))
        here = reading.mean_watts
        if run.pattern.load != reading.domain or low is None or high is None or here is None:
            return reading
        if high - low < 0.05 * high:
            return reading
        return replace(reading, between_percent=100 * (here - low) / (high - low))

    return tuple(
        replace(run, readings=tuple(place(run, one) for one in run.readings)) for run in runs
    )
