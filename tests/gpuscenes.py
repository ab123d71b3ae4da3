"""Scripted GPUs, one scene for each thing that can happen to them, each in a time of its own."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fakes.child import Job, start_energy_child
from fakes.nvml import (
    DRIVER_NOT_LOADED,
    FOREVER,
    GPU_IS_LOST,
    NO_PERMISSION,
    NOT_SUPPORTED,
    UNKNOWN,
    FakeGpu,
    FakeGpuScript,
    Rule,
    build_fake_nvml,
)
from fakes.profile import bursts, ramp, square, steady

SECONDS = 5.0
EPOCH_NS = 10**15
"""The scripts' time 0, when their windows open."""


@dataclass(frozen=True)
class Scene:
    """Some GPUs, and what is asked of them.

    Attributes:
        gpus: Their UUIDs are given to them later.
        settings: As those of a `Job`.
        init_error: With which NVML refuses to start.
        driver: The driver's version.
    """

    gpus: Sequence[FakeGpu]
    settings: Mapping[str, Any] = field(default_factory=dict)
    init_error: int = 0
    driver: str = FakeGpuScript.driver


def one(**facts: Any) -> Scene:
    return Scene([FakeGpu(**facts)])


def bare(**facts: Any) -> Scene:
    """One GPU without an energy counter."""
    return one(counter_period=None, **facts)


def _uuid(name: str, number: int) -> str:
    return f"GPU-{zlib.crc32(name.encode()):08x}-0000-0000-0000-{number:012d}"


def second_lost(name: str, code: int, named: Sequence[str], **settings: Any) -> Scene:
    """Two GPUs, the second of which does not answer.

    Args:
        name: The scene's.
        code: With which NVML refuses its handle.
        named: What `CUDA_VISIBLE_DEVICES` lists: `first`, `second`, or an entry as it is.
        settings: Further settings.
    """
    uuids = {"first": _uuid(name, 0), "second": _uuid(name, 1)}
    visible = ",".join(uuids.get(entry, entry) for entry in named)
    gpus = [FakeGpu(), FakeGpu(errors=(Rule("handle", code),))]
    return Scene(gpus, {"visible_devices": visible, **settings})


SCENES = {
    "counter at 100 ms": one(power=square(100, 300, 0.73, 20)),
    "counter at 20 ms": one(counter_period=0.02, power_period=0.02, power=ramp(0, 5, 80, 350)),
    "burst in the first 200 ms": one(power=bursts(150, [(0.0, 0.2, 390)])),
    "burst in the last 200 ms": one(power=bursts(150, [(4.8, 5.0, 390)])),
    "no counter": one(counter_period=None, power=ramp(0, 5, 80, 350)),
    "no counter and no fields": one(counter_period=None, has_fields=False),
    "no counter and no fields, a step": one(
        counter_period=None, has_fields=False, power=bursts(70, [(1.0, 9.0, 400)])
    ),
    "no counter, irregular samples": one(
        counter_period=None, power=ramp(0, 5, 80, 350), delays=(Rule("power", 0.23, 1.0, 4.0),)
    ),
    "counter that stands at 0": one(counter_scale=0.0),
    "sampled 25 of 100 ms": one(
        power=square(100, 300, 0.1, 20, duty=0.25), power_sampled=0.025, power_period=0.1
    ),
    "two GPUs": Scene([FakeGpu(power=steady(120)), FakeGpu(power=ramp(0, 5, 100, 300))]),
    "second of two by index": Scene(
        [FakeGpu(power=steady(120)), FakeGpu(power=steady(250))],
        {"visible_devices": "1"},
    ),
    "lost midway": one(errors=(Rule("all", GPU_IS_LOST, 2.0),)),
    "lost for a moment": one(errors=(Rule("all", GPU_IS_LOST, 2.0, 2.25),)),
    "one of two lost": Scene(
        [
            FakeGpu(),
            FakeGpu(errors=(Rule("counter", GPU_IS_LOST, 2.0),)),
        ]
    ),
    "power lost without counter": one(
        counter_period=None, errors=(Rule("power", GPU_IS_LOST, 3.0),)
    ),
    "reset midway": one(reset_at=2.5, counter_start=50_000.0),
    "frozen midway": one(frozen=(2.0, FOREVER)),
    "frozen from the start": one(frozen=(-10.0, FOREVER)),
    "counter 15 % low": one(counter_scale=0.85, power=ramp(0, 5, 80, 350)),
    "counter 6 % low": one(counter_scale=0.94, power=ramp(0, 5, 80, 350)),
    "still for a while": one(frozen=(1.2, 3.4)),
    "slow calls": one(delays=(Rule("power", 0.25, 1.0, 3.0),)),
    "beyond its limit": one(power=steady(300), limit=200.0),
    "beyond a limit that nothing bears out": bare(power=steady(300), limit=200.0),
    "limit raised under load": bare(power=steady(300), limit=200.0, limits=((1.0, 320.0),)),
    "limit raised for a while": bare(
        power=steady(300), limit=200.0, limits=((1.0, 320.0), (4.0, 200.0))
    ),
    "throttled": one(throttling=((270, 1.0, 0.5), (74, 1.0, 0.5))),
    "one event told twice": one(throttling=((75, 1.0, 0.5), (269, 1.0, 0.5))),
    "told by the older counter alone": one(throttling=((75, 1.0, 0.5), (269, 1.0, 0.0))),
    "throttled, driver 575": Scene(
        [FakeGpu(throttling=((251, 1.0, 0.5), (253, 1.0, 0.0)))], {}, driver="575.57.08"
    ),
    "throttled, early driver 580": Scene(
        [FakeGpu(throttling=((270, 1.0, 0.5), (252, 1.0, 0.25)))], {}, driver="580.65.06"
    ),
    "aliased, without a second opinion": one(
        power=square(100, 300, 0.1, 20, duty=0.25), power_sampled=0.025, has_average=False
    ),
    "superchip": one(name="NVIDIA GH200 480GB"),
    "superchip whose counter covers the module": one(
        name="NVIDIA GH200 480GB", power=steady(200), counter_scale=1.5
    ),
    "superchip without fields": one(name="NVIDIA GB200", has_fields=False),
    "names that are no UTF-8": one(name="RTX \udcf8A\u03b1"),
    "processes never told": one(errors=(Rule("processes", NOT_SUPPORTED),)),
    "MIG": one(mig=1),
    "one of two in MIG mode": Scene([FakeGpu(), FakeGpu(mig=1)]),
    "MIG instance": Scene([FakeGpu()], {"visible_devices": "MIG-1234"}),
    "none visible": Scene([FakeGpu()], {"visible_devices": ""}),
    "no driver": Scene([FakeGpu()], {}, init_error=DRIVER_NOT_LOADED),
    "unknown error": Scene([FakeGpu()], {}, init_error=UNKNOWN),
    "no permission": Scene([FakeGpu(errors=(Rule("handle", NO_PERMISSION),))], {}),
    "no permission, accepted": Scene(
        [FakeGpu(errors=(Rule("handle", NO_PERMISSION),))], {"allow_missing": ["gpu"]}
    ),
    "with processes": one(pids=(4711, 4712)),
    "no temperature": one(errors=(Rule("temperature", NOT_SUPPORTED),)),
    "aliased without counter": bare(power=square(70, 350, 0.1, 30), power_sampled=0.025),
    "aliased a little without counter": bare(power=square(190, 210, 0.1, 30), power_sampled=0.025),
    "no counter, load from the opening edge": bare(power=bursts(70, [(0.0, 30.0, 390)])),
    "no counter, burst at the closing edge": bare(power=bursts(150, [(4.7, 9.0, 390)])),
    "no counter, average lost": bare(
        power=ramp(0, 5, 80, 350), errors=(Rule("average", GPU_IS_LOST, 1.0),)
    ),
    "burst in a gap of power": bare(
        power=bursts(100, [(3.05, 3.7, 390)]), errors=(Rule("power", GPU_IS_LOST, 3.0, 3.75),)
    ),
    "gap of power at the opening edge": bare(errors=(Rule("power", GPU_IS_LOST, -0.5, 0.9),)),
    "short gap of power": bare(errors=(Rule("power", GPU_IS_LOST, 3.0, 3.25),)),
    "no counter and 0 W": bare(power=steady(0.0)),
    "one of two at 0 W": Scene(
        [FakeGpu(), FakeGpu(counter_period=None, has_fields=False, power=steady(0.0))]
    ),
    "named and lost": second_lost("named and lost", GPU_IS_LOST, ["second"]),
    "named and forbidden": second_lost("named and forbidden", NO_PERMISSION, ["second"]),
    "one of two named is lost": second_lost(
        "one of two named is lost", GPU_IS_LOST, ["first", "second"]
    ),
    "named and lost, accepted": second_lost(
        "named and lost, accepted", GPU_IS_LOST, ["second"], allow_missing=["gpu"]
    ),
    "one of two named is lost, accepted": second_lost(
        "one of two named is lost, accepted",
        GPU_IS_LOST,
        ["first", "second"],
        allow_missing=["gpu"],
    ),
    "another than the named is lost": second_lost(
        "another than the named is lost", GPU_IS_LOST, ["first"]
    ),
    "list ends at no GPU": second_lost(
        "list ends at no GPU", GPU_IS_LOST, ["first", "none", "second"]
    ),
}


@dataclass(frozen=True)
class Outcome:
    """What one scene gave."""

    script: FakeGpuScript
    found: Mapping[str, Any]
    folder: Path

    @property
    def gpus(self) -> Sequence[FakeGpu]:
        return self.script.gpus

    def truth(self, gpu: int = 0) -> float:
        return self.script.energy_joules(gpu, self.found["opened_ns"], self.found["closed_ns"])

    @property
    def opened_seconds(self) -> float:
        """How late the window opened; the script's events are that much earlier in it."""
        return (self.found["opened_ns"] - self.script.epoch_ns) / 1e9

    @property
    def domain(self) -> Mapping[str, Any]:
        return self.found["provenance"]["domains"]["gpu"]

    @property
    def metrics(self) -> Mapping[str, Any]:
        return self.found["metrics"]

    @property
    def flags(self) -> list[str]:
        return [flag["gate"] for flag in self.found["flags"]]

    def assert_true(self, *gpus: int) -> None:
        assert self.found["faults"] == []
        power = [self.gpus[gpu].power.points for gpu in gpus]
        periods = [self.gpus[gpu].counter_period or 0.1 for gpu in gpus]
        step = sum(
            period * max(watts for _, watts in points)
            for period, points in zip(periods, power, strict=True)
        )
        truth = sum(self.truth(gpu) for gpu in gpus)
        value = self.metrics["gpu_energy_total_joules"]
        assert value == pytest.approx(truth, abs=step + 0.01 * truth)
        assert abs(self.domain["energy_joules"] - truth) <= self.domain["edge_uncertainty_joules"]

    def assert_refused(self, gate: str, words: str) -> None:
        assert self.metrics["gpu_energy_total_joules"] is None
        assert self.metrics["gpu_power_avg_watts"] is None
        assert gate in [fault["gate"] for fault in self.found["faults"]]
        assert words in self.domain["reason"]
        assert self.domain["status"] == "invalid"
        assert self.domain["energy_joules"] is None


@functools.cache
def played(root: Path) -> Mapping[str, Outcome]:
    """Every scene, each with its own machine and time."""
    root.mkdir(exist_ok=True)
    library = build_fake_nvml(root / "library")
    scripts, jobs = {}, []
    for number, (name, scene) in enumerate(SCENES.items()):
        gpus = [replace(gpu, uuid=_uuid(name, place)) for place, gpu in enumerate(scene.gpus)]
        scripts[name] = FakeGpuScript(gpus, EPOCH_NS, scene.init_error, driver=scene.driver)
        script = scripts[name].write(root / f"script {number}")
        folder = root / f"energy {number}"
        jobs.append(Job(folder, SECONDS, EPOCH_NS, scene.settings, script=script))
    environment = FakeGpuScript([]).environment(library, root / "script")
    results = start_energy_child(jobs, environment).results()
    return {
        name: Outcome(script, found, job.folder)
        for (name, script), job, found in zip(scripts.items(), jobs, results, strict=True)
    }
