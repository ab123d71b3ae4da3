"""GPU energy against scripted GPUs: true within 1 % and one step, or refused by name."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fakes.child import EnergyChild, Job, start_energy_child
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
STARTUP_SECONDS = 4.0
"""Time for all children to start; the scripts' time 0 is when their windows open."""


@dataclass(frozen=True)
class Scene:
    """Some GPUs, and what is asked of them.

    Attributes:
        gpus: Their UUIDs are given to them later.
        settings: As those of a `Job`; if there are any, the GPUs make a machine of their own,
            else they are the visible ones of one large machine.
        init_error: With which NVML refuses to start, on a machine of their own.
    """

    gpus: Sequence[FakeGpu]
    settings: Mapping[str, Any] | None = None
    init_error: int = 0


def one(**facts: Any) -> Scene:
    return Scene([FakeGpu(**facts)])


def bare(**facts: Any) -> Scene:
    """One GPU without an energy counter."""
    return one(counter_period=None, **facts)


def _uuid(name: str, number: int) -> str:
    return f"GPU-{zlib.crc32(name.encode()):08x}-0000-0000-0000-{number:012d}"


def second_lost(name: str, code: int, named: Sequence[str], **settings: Any) -> Scene:
    """Two GPUs on a machine of their own, the second of which does not answer.

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
    "throttled": one(throttling=((270, 1.0, 0.5), (74, 1.0, 0.5))),
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
    "no counter, burst in the last 200 ms": bare(power=bursts(150, [(4.8, 5.0, 390)])),
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

    machine: Machine
    gpus: Sequence[FakeGpu]
    found: Mapping[str, Any]
    folder: Path

    def truth(self, gpu: int = 0) -> float:
        number = self.machine.gpus.index(self.gpus[gpu])
        script = FakeGpuScript(self.machine.gpus, self.machine.epoch_ns)
        return script.energy_joules(number, self.found["opened_ns"], self.found["closed_ns"])

    @property
    def opened_seconds(self) -> float:
        """How late the window opened; the script's events are that much earlier in it."""
        return (self.found["opened_ns"] - self.machine.epoch_ns) / 1e9

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


@dataclass
class Machine:
    """Scenes that share one NVML, and so one process."""

    epoch_ns: int
    init_error: int = 0
    gpus: list[FakeGpu] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    scenes: dict[str, list[FakeGpu]] = field(default_factory=dict)

    def add(self, name: str, scene: Scene, folder: Path) -> None:
        gpus = [replace(gpu, uuid=_uuid(name, number)) for number, gpu in enumerate(scene.gpus)]
        visible = {"visible_devices": ",".join(gpu.uuid for gpu in gpus)}
        settings = visible if scene.settings is None else scene.settings
        self.gpus += gpus
        self.scenes[name] = gpus
        self.jobs[name] = Job(folder, SECONDS, self.epoch_ns, settings)

    def start(self, library: Path, script: Path) -> EnergyChild:
        fake = FakeGpuScript(self.gpus, self.epoch_ns, self.init_error)
        return start_energy_child(list(self.jobs.values()), fake.environment(library, script))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> Mapping[str, Outcome]:
    """Every scene at once: most on one large machine, the others each on one of its own."""
    root = tmp_path_factory.mktemp("nvml")
    library = build_fake_nvml(root / "library")
    epoch_ns = time.monotonic_ns() + int(STARTUP_SECONDS * 1e9)
    large = Machine(epoch_ns)
    machines = [large]
    for number, (name, scene) in enumerate(SCENES.items()):
        machine = large
        if scene.settings is not None:
            machine = Machine(epoch_ns, scene.init_error)
            machines.append(machine)
        machine.add(name, scene, root / f"energy {number}")
    running = [
        (machine, machine.start(library, root / f"script {number}"))
        for number, machine in enumerate(machines)
    ]
    return {
        name: Outcome(machine, machine.scenes[name], found, machine.jobs[name].folder)
        for machine, child in running
        for name, found in zip(machine.jobs, child.results(), strict=True)
    }


@pytest.mark.parametrize(
    "name",
    [
        "counter at 100 ms",
        "counter at 20 ms",
        "burst in the first 200 ms",
        "burst in the last 200 ms",
        "no counter",
        "no counter and no fields",
        "lost for a moment",
        "slow calls",
        "throttled",
        "no temperature",
        "no counter, load from the opening edge",
        "no counter, burst in the last 200 ms",
        "no counter, average lost",
        "short gap of power",
        "another than the named is lost",
        "list ends at no GPU",
    ],
)
def test_the_energy_of_a_gpu_is_true(outcomes, name):
    outcomes[name].assert_true(0)


def test_two_gpus_have_their_own_numbers_and_their_sum(outcomes):
    outcome = outcomes["two GPUs"]
    outcome.assert_true(0, 1)
    first, second = outcome.domain["gpus"]
    assert [first["uuid"], second["uuid"]] == [gpu.uuid for gpu in outcome.gpus]
    assert first["joules"] == pytest.approx(outcome.truth(0), rel=0.01, abs=12)
    assert second["joules"] == pytest.approx(outcome.truth(1), rel=0.01, abs=30)
    late = 40 * outcome.opened_seconds
    assert outcome.metrics["gpu_power_max_watts"] == pytest.approx(420, abs=12)
    assert outcome.metrics["gpu_power_min_watts"] == pytest.approx(220 + late, abs=12)
    assert outcome.found["promised"] == [gpu.uuid for gpu in outcome.gpus]


def test_only_visible_gpus_count(outcomes):
    outcome = outcomes["second of two by index"]
    outcome.assert_true(1)
    assert outcome.domain["uuids"] == [outcome.gpus[1].uuid]


def test_the_update_period_of_the_counter_is_inferred(outcomes):
    slow, fast = outcomes["counter at 100 ms"], outcomes["counter at 20 ms"]
    assert slow.domain["update_period_seconds"] == pytest.approx(0.1, rel=0.1)
    # On a busy machine nobody looks often enough to see every one of its updates.
    assert 0.015 < fast.domain["update_period_seconds"] < 0.05


def test_the_resolution_of_the_counter_is_inferred(outcomes):
    slow, fast = outcomes["counter at 100 ms"], outcomes["counter at 20 ms"]
    assert slow.domain["resolution_joules"] == pytest.approx(10.0, rel=0.02)
    assert slow.domain["gpus"][0]["resolution_joules"] == slow.domain["resolution_joules"]
    assert fast.domain["resolution_joules"] == pytest.approx(1.6, rel=0.02)


@pytest.mark.parametrize("name", ["frozen from the start", "no counter"])
def test_a_resolution_that_was_not_seen_is_null(outcomes, name):
    assert outcomes[name].domain["resolution_joules"] is None


def test_the_lag_of_an_average_is_part_of_the_uncertainty(outcomes):
    outcome = outcomes["no counter and no fields, a step"]
    assert outcome.domain["edge_uncertainty_joules"] >= (400 - 70) / 2
    assert outcomes["no counter"].domain["edge_uncertainty_joules"] < 100


@pytest.mark.parametrize("name", ["no counter", "no counter and no fields"])
def test_without_a_counter_the_integral_is_used_and_labelled(outcomes, name):
    outcome = outcomes[name]
    assert outcome.domain["source"] == "nvml-power-integral"
    assert outcome.domain["counter_joules"] is None
    assert "power_source" in outcome.domain["gpus"][0]


def test_power_is_integrated_over_the_actual_times_of_its_samples(outcomes):
    outcome = outcomes["no counter, irregular samples"]
    outcome.assert_true(0)
    samples = outcome.domain["gpus"][0]["samples"]
    assert samples < 40


def test_a_counter_that_stands_at_0_is_no_counter(outcomes):
    outcome = outcomes["counter that stands at 0"]
    assert outcome.domain["source"] == "nvml-power-integral"
    outcome.assert_true(0)


def test_both_energies_are_recorded_and_agree(outcomes):
    gpu = outcomes["counter at 100 ms"].domain["gpus"][0]
    assert gpu["integral_joules"] == pytest.approx(gpu["counter_joules"], rel=0.08)
    assert gpu["power_source"] == "field 186 (POWER_INSTANT)"


def test_aliased_power_sampling_is_flagged_and_the_counter_stands(outcomes):
    outcome = outcomes["sampled 25 of 100 ms"]
    outcome.assert_true(0)
    assert "counter_integral" in outcome.flags
    gpu = outcome.domain["gpus"][0]
    assert abs(gpu["integral_joules"] / gpu["counter_joules"] - 1) > 0.2
    assert gpu["second_integral_joules"] == pytest.approx(gpu["counter_joules"], rel=0.05)


def test_aliased_power_is_refused_where_there_is_no_counter(outcomes):
    outcome = outcomes["aliased without counter"]
    outcome.assert_refused("power_readings", "aliasing: its two power readings disagree")
    assert outcome.domain["joules_until_failure"] < 0.4 * outcome.truth()


def test_power_that_aliases_a_little_is_flagged_where_there_is_no_counter(outcomes):
    outcome = outcomes["aliased a little without counter"]
    assert outcome.found["faults"] == []
    assert outcome.metrics["gpu_energy_total_joules"] is not None
    (flag,) = [one for one in outcome.found["flags"] if one["gate"] == "power_readings"]
    assert flag["value"] == pytest.approx(-5.0, abs=0.5)
    assert flag["threshold"] == 3.0


@pytest.mark.parametrize(
    "name",
    [
        "no counter",
        "no counter, irregular samples",
        "no counter, load from the opening edge",
        "no counter, burst in the last 200 ms",
    ],
)
def test_that_an_average_lags_behind_is_no_aliasing(outcomes, name):
    gpu = outcomes[name].domain["gpus"][0]
    assert abs(gpu["second_integral_joules"] / gpu["integral_joules"] - 1) > 0.03
    assert "power_readings" not in outcomes[name].flags


def test_a_second_power_reading_that_stops_is_not_compared_and_that_is_flagged(outcomes):
    (flag,) = [
        one
        for one in outcomes["no counter, average lost"].found["flags"]
        if one["gate"] == "power_readings"
    ]
    assert "not compared" in flag["text"]


@pytest.mark.parametrize("name", ["burst in a gap of power", "gap of power at the opening edge"])
def test_a_gap_of_power_is_refused_where_there_is_no_counter(outcomes, name):
    outcomes[name].assert_refused("integral_gap", "without a power reading cannot be integrated")


def test_a_short_gap_of_power_is_flagged_where_there_is_no_counter(outcomes):
    (flag,) = [
        one
        for one in outcomes["short gap of power"].found["flags"]
        if one["gate"] == "integral_gap"
    ]
    assert 4 < flag["value"] < 10
    assert flag["threshold"] == 2.0
    assert "integral_gap" not in outcomes["no counter"].flags
    assert "integral_gap" not in outcomes["lost for a moment"].flags


def test_power_of_0_w_is_no_energy(outcomes):
    outcomes["no counter and 0 W"].assert_refused("no_value", "gives 0 J")
    outcome = outcomes["one of two at 0 W"]
    outcome.assert_refused("no_value", outcome.gpus[1].uuid)
    assert outcome.domain["gpus"][0]["joules"] == pytest.approx(outcome.truth(0), rel=0.03)
    assert outcome.domain["gpus"][1]["joules"] is None


def test_a_gpu_lost_midway_is_refused(outcomes):
    outcome = outcomes["lost midway"]
    outcome.assert_refused("source_lost", "GPU is lost")
    assert all(value is None for value in outcome.metrics.values())
    assert 0 < outcome.domain["joules_until_failure"] < 450


def test_one_lost_gpu_of_two_refuses_the_sum_and_keeps_the_other_number(outcomes):
    outcome = outcomes["one of two lost"]
    outcome.assert_refused("source_lost", outcome.gpus[1].uuid)
    assert outcome.domain["gpus"][0]["joules"] == pytest.approx(outcome.truth(0), rel=0.03)
    assert outcome.domain["gpus"][1]["joules"] is None


def test_power_lost_where_it_is_the_only_source_is_refused(outcomes):
    outcomes["power lost without counter"].assert_refused("source_lost", "no power reading")


def test_a_moment_of_silence_is_counted_and_costs_nothing(outcomes):
    assert outcomes["lost for a moment"].domain["failed_reads"] >= 2


def test_a_reset_midway_is_refused(outcomes):
    outcomes["reset midway"].assert_refused("counter_reset", "reset")


@pytest.mark.parametrize("name", ["frozen midway", "frozen from the start"])
def test_a_frozen_counter_is_refused(outcomes, name):
    outcomes[name].assert_refused("counter_frozen", "frozen")


def test_a_counter_that_belies_the_integral_is_refused(outcomes):
    outcomes["counter 15 % low"].assert_refused("counter_integral", "deviates from the counter")


def test_a_counter_that_is_a_little_off_the_integral_is_flagged(outcomes):
    outcome = outcomes["counter 6 % low"]
    assert outcome.found["faults"] == []
    assert outcome.metrics["gpu_energy_total_joules"] is not None
    assert "counter_integral" in outcome.flags


def test_a_counter_that_pauses_and_catches_up_is_flagged(outcomes):
    outcomes["still for a while"].assert_true(0)
    assert "counter_paused" in outcomes["still for a while"].flags


def test_slow_calls_are_counted_and_missed_samples_flagged(outcomes):
    outcome = outcomes["slow calls"]
    assert outcome.domain["gpus"][0]["slow_calls"] >= 3
    assert outcome.domain["gpus"][0]["longest_call_seconds"] >= 0.25
    assert "sampling_share" in outcome.flags
    assert outcome.found["cost"]["missed_ticks"] >= 3


def test_a_mean_power_beyond_the_limit_is_refused(outcomes):
    outcomes["beyond its limit"].assert_refused("power_range", "above its limit of 200.0 W")


def test_throttling_by_the_hardware_is_flagged_and_a_power_cap_only_recorded(outcomes):
    outcome = outcomes["throttled"]
    assert outcome.flags.count("throttling") == 1
    seconds = outcome.domain["gpus"][0]["throttled_seconds"]
    half = (SECONDS + outcome.opened_seconds - 1.0) / 2
    assert seconds["thermal_slowdown_by_hardware"] == pytest.approx(half, abs=0.1)
    assert seconds["power_cap"] == pytest.approx(half, abs=0.1)
    assert seconds["thermal_slowdown"] is None


def test_a_gpu_in_mig_mode_is_refused_with_a_reason(outcomes):
    outcome = outcomes["MIG"]
    assert outcome.found["promised"] == []
    assert outcome.metrics["gpu_energy_total_joules"] is None
    assert "MIG is enabled" in outcome.domain["reason"]
    assert outcome.found["findings"][-1]["remedy"].startswith("sudo nvidia-smi -i ")


def test_beside_a_gpu_in_mig_mode_the_others_are_measured_but_not_added_up(outcomes):
    outcome = outcomes["one of two in MIG mode"]
    assert outcome.found["promised"] == []
    assert outcome.domain["status"] == "unavailable"
    assert outcome.metrics["gpu_energy_total_joules"] is None
    assert outcome.domain["gpus"][0]["joules"] == pytest.approx(outcome.truth(0), rel=0.03)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MIG instance", "not that of one of its MIG instances"),
        ("none visible", "no GPU is visible"),
        ("no driver", "the NVIDIA driver is not loaded"),
        ("no permission, accepted", "accepted by --allow-missing gpu"),
        ("named and lost, accepted", "accepted by --allow-missing gpu"),
    ],
)
def test_an_absence_is_stated_with_its_reason(outcomes, name, words):
    outcome = outcomes[name]
    assert outcome.domain["status"] == "unavailable"
    assert words in outcome.domain["reason"]
    assert words in outcome.found["describe"]
    assert all(value is None for value in outcome.metrics.values())
    assert outcome.found["faults"] == []


def test_a_gpu_that_may_not_be_read_stops_the_session_with_the_remedy(outcomes):
    found = outcomes["no permission"].found
    assert found["kind"] == "SensorPermissionError"
    assert "gpu 0: it does not answer: Insufficient Permissions" in found["error"]
    assert "sudo usermod -aG video $USER" in found["error"]
    assert "--allow-missing gpu" in found["error"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("named and lost", "gpu 1: it does not answer: GPU is lost"),
        ("named and forbidden", "gpu 1: it does not answer: Insufficient Permissions"),
        ("one of two named is lost", "gpu 1: it does not answer: GPU is lost"),
    ],
)
def test_a_gpu_that_is_named_and_does_not_answer_stops_the_session(outcomes, name, words):
    found = outcomes[name].found
    assert found["kind"] == "SensorPermissionError"
    assert words in found["error"]
    assert "--allow-missing gpu" in found["error"]


def test_beside_a_named_gpu_that_does_not_answer_the_others_are_not_added_up(outcomes):
    outcome = outcomes["one of two named is lost, accepted"]
    assert outcome.found["promised"] == []
    assert outcome.found["faults"] == []
    assert outcome.domain["status"] == "unavailable"
    assert "gpu 1: it does not answer" in outcome.domain["reason"]
    assert outcome.metrics["gpu_energy_total_joules"] is None
    assert outcome.domain["gpus"][0]["joules"] == pytest.approx(outcome.truth(0), rel=0.03)


def test_an_nvml_that_cannot_start_stops_the_session(outcomes):
    assert "NVML cannot start" in outcomes["unknown error"].found["error"]


def test_temperature_utilisation_and_power_are_summarised(outcomes):
    metrics = outcomes["counter at 100 ms"].metrics
    assert metrics["gpu_temp_avg_celsius"] == metrics["gpu_temp_max_celsius"] == 61
    assert metrics["gpu_util_avg_percent"] == metrics["gpu_util_max_percent"] == 87
    assert metrics["gpu_power_min_watts"] == pytest.approx(100, abs=1)
    assert metrics["gpu_power_max_watts"] == pytest.approx(300, abs=1)
    assert 180 < metrics["gpu_power_avg_watts"] < 220


def test_what_a_gpu_does_not_tell_is_null(outcomes):
    metrics = outcomes["no temperature"].metrics
    assert metrics["gpu_temp_avg_celsius"] is None
    assert metrics["gpu_temp_max_celsius"] is None
    assert metrics["gpu_util_avg_percent"] == 87


def test_the_hardware_is_described(outcomes):
    outcome = outcomes["counter at 100 ms"]
    hardware = outcome.found["hardware"]
    assert hardware["driver_version"] == "000.00-fake"
    assert hardware["cuda_driver_version"] == "12.8"
    gpu = hardware["gpus"][0]
    assert gpu["uuid"] == outcome.gpus[0].uuid
    assert (gpu["vbios"], gpu["compute_mode"]) == ("00.00.FA.4E.00", "default")
    assert (gpu["power_limit_watts"], gpu["persistence_mode"], gpu["mig_mode"]) == (400, True, None)


def test_the_state_and_the_live_values_are_there(outcomes):
    outcome = outcomes["no counter and no fields"]
    state = outcome.found["state"][0]
    assert state["power_watts"] == pytest.approx(200, abs=0.01)
    assert state["temperature_celsius"] == 61
    assert state["memory_free_mb"] == pytest.approx(12 * 2**30 / 1e6)
    latest = outcome.found["latest"]
    assert latest["gpu_watts"] == pytest.approx(200, abs=0.01)
    assert latest["gpu_temperature_celsius"] == 61
    assert 800 < latest["gpu_joules"] < 1100


def test_the_processes_on_a_gpu_are_told_with_its_uuid(outcomes):
    outcome = outcomes["with processes"]
    uuid = outcome.gpus[0].uuid
    assert outcome.found["processes"] == {"4711": uuid, "4712": uuid}


def test_the_traces_have_actual_times_and_name_their_gpu(outcomes):
    folder = outcomes["two GPUs"].folder
    header, *rows = (folder / "gpu_power.csv").read_text().splitlines()
    assert header.startswith("timestamp,power_draw_w")
    assert header.endswith(",gpu")
    assert {row.split(",")[-1] for row in rows} == {gpu.uuid for gpu in outcomes["two GPUs"].gpus}
    stamps = [float(row.split(",")[0]) for row in rows]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] == pytest.approx(SECONDS, abs=0.3)
    assert (folder / "gpu_temperature.csv").read_text().startswith("timestamp,gpu_temp_c")
    assert (folder / "gpu_utilization.csv").read_text().startswith("timestamp,gpu_util_percent")
    assert len((folder / "gpu_energy.csv").read_text().splitlines()) > 15
