"""A fake NVML: built with the system's compiler, driven by a script, known to the microjoule.

Put the folder that `build_fake_nvml` filled first on `LD_LIBRARY_PATH` of a child process, and the
installed `pynvml` of that process finds the fake.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .compiled import build
from .profile import Profile, steady

GPU_IS_LOST = 15
NOT_SUPPORTED = 3
NO_PERMISSION = 4
DRIVER_NOT_LOADED = 9
UNKNOWN = 999
FOREVER = 1e9


def build_fake_nvml(folder: Path) -> Path:
    """Build `libnvidia-ml.so.1` in `folder`, unless it is there; the folder.

    Skips the test where there is no C compiler.
    """
    build("fake_nvml.c", folder / "libnvidia-ml.so.1")
    return folder


@dataclass(frozen=True)
class Rule:
    """What a call does from `start` to `end`, in seconds: fail with a code, or take that long.

    Calls: `counter`, `power`, `instant`, `average`, `temperature`, `utilization`, `clocks`,
    `memory`, `processes`, `handle`, `uuid`, or `all`.
    """

    call: str
    value: float
    start: float = -FOREVER
    end: float = FOREVER


@dataclass(frozen=True)
class FakeGpu:
    """One GPU of the script; times in seconds after the script's epoch.

    Attributes:
        power: Its true power.
        uuid: `GPU-…`.
        name: Its model.
        pci: Its bus id, such as `00000000:3B:00.0`; empty if it does not tell.
        counter_period: How often its energy counter moves; None if it has none.
        counter_start: Joules that the counter shows at the epoch.
        counter_scale: What it shows of the truth; 0 for a counter that stands at 0.
        power_period: How often its power readings move.
        power_sampled: Over how much of that the instant reading looks.
        average_window: Over how much time the average reading looks.
        has_fields: Whether it answers fields 185 and 186, or only `nvmlDeviceGetPowerUsage`.
        has_average: Whether it averages at all, by field 185 and by `nvmlDeviceGetPowerUsage`; not
            the GA100, nor what is older than Ampere.
        limit: Its power limit in watts.
        limits: (from when on, its other limits).
        reset_at: When its counter starts again from 0.
        frozen: From when until when its counter stands still.
        mig: Its MIG mode; -1 where it knows none.
        pids: Compute processes on it.
        errors: Calls that fail, with an `NVML_ERROR_…` code.
        delays: Calls that are slow, with seconds.
        throttling: (field, when it begins, share of the time) of throttling counters, by the
            numbers that the driver's version has for them.
    """

    power: Profile = field(default_factory=lambda: steady(200.0))
    uuid: str = "GPU-00000000-0000-0000-0000-000000000001"
    name: str = "Fake GPU"
    pci: str = ""
    counter_period: float | None = 0.1
    counter_start: float = 1000.0
    counter_scale: float = 1.0
    power_period: float = 0.1
    power_sampled: float = 0.1
    average_window: float = 1.0
    has_fields: bool = True
    has_average: bool = True
    limit: float = 400.0
    limits: tuple[tuple[float, float], ...] = ()
    reset_at: float | None = None
    frozen: tuple[float, float] | None = None
    mig: int = -1
    pids: tuple[int, ...] = ()
    temperature: float = 61.0
    utilization: float = 87.0
    errors: tuple[Rule, ...] = ()
    delays: tuple[Rule, ...] = ()
    throttling: tuple[tuple[int, float, float], ...] = ()

    def lines(self) -> list[str]:
        """The GPU in the language of fake_nvml.c."""
        optional = []
        if self.counter_period is not None:
            optional.append(f"counter {self.counter_period} {self.counter_start}")
        if self.reset_at is not None:
            optional.append(f"reset {self.reset_at}")
        if self.frozen is not None:
            optional.append(f"freeze {self.frozen[0]} {self.frozen[1]}")
        if self.pci:
            optional.append(f"pci {self.pci}")
        return [
            "gpu",
            f"name {self.name}",
            f"uuid {self.uuid}",
            f"power {self.power_period} {self.power_sampled} {self.average_window}",
            f"scale {self.counter_scale}",
            f"fields {int(self.has_fields)}",
            f"average {int(self.has_average)}",
            f"limit {self.limit}",
            f"mig {self.mig}",
            f"temperature {self.temperature}",
            f"utilization {self.utilization}",
            *optional,
            *(f"raise {at} {watts}" for at, watts in self.limits),
            *(f"process {pid}" for pid in self.pids),
            *(f"error {one.call} {one.start} {one.end} {one.value}" for one in self.errors),
            *(f"slow {one.call} {one.start} {one.end} {one.value}" for one in self.delays),
            *(f"throttle {number} {at} {share}" for number, at, share in self.throttling),
            *(f"point {at!r} {watts!r}" for at, watts in self.power.points),
        ]


@dataclass(frozen=True)
class FakeGpuScript:
    """All GPUs of one machine.

    Attributes:
        gpus: In the order of NVML.
        epoch_ns: CLOCK_MONOTONIC at which the script's time is 0.
        init_error: The code with which NVML refuses to start; 0 if it does not.
        trigger: If given, no call fails before this file exists.
        driver: The driver's version, on which the numbers of fields depend.
    """

    gpus: Sequence[FakeGpu]
    epoch_ns: int = field(default_factory=time.monotonic_ns)
    init_error: int = 0
    trigger: Path | None = None
    driver: str = "580.95.05"

    def write(self, path: Path) -> Path:
        """Write the script; the path."""
        lines = [f"epoch_ns {self.epoch_ns}", f"init_error {self.init_error}"]
        lines += [f"driver {self.driver}"]
        lines += [f"trigger {self.trigger}"] if self.trigger else []
        lines += [line for gpu in self.gpus for line in gpu.lines()]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
        return path

    def environment(self, library: Path, script: Path) -> Mapping[str, str]:
        """The variables that make a child process see these GPUs."""
        rest = os.environ.get("LD_LIBRARY_PATH", "")
        return {
            "LD_LIBRARY_PATH": f"{library}:{rest}" if rest else str(library),
            "WATTEST_FAKE_NVML": str(self.write(script)),
            "CUDA_VISIBLE_DEVICES": ",".join(str(number) for number in range(len(self.gpus))),
        }

    def energy_joules(self, gpu: int, start_ns: int, end_ns: int) -> float:
        """What GPU number `gpu` truly used between two moments of CLOCK_MONOTONIC."""
        start, end = ((moment - self.epoch_ns) / 1e9 for moment in (start_ns, end_ns))
        return self.gpus[gpu].power.joules(start, end)
