"""What the field gets wrong, on whole experiments: a true number, or a refusal that says why.

Every scene is a real pytest session of its own on fake hardware; all of them run at once.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes.nvml import FakeGpu, FakeGpuScript, Rule, build_fake_nvml
from fakes.powercap import Event, PowercapTree, PowercapWriter
from fakes.profile import Profile, bursts, ramp, steady

from conftest import Project

SECONDS = 4.0
STEP_SECONDS = 0.1
"""How far the writer of the counters may lag at an edge, unless it says that it lagged more."""

# The training begins the scene: it touches the trigger, on which profiles and events run; and
# another one midway.
TRAINING = """\
#!{python}
import os, pathlib, sys, time
midway = time.monotonic() + {seconds} / 2
end = midway + {seconds} / 2
pathlib.Path("trigger").touch()
while time.monotonic() < end:
    if midway and time.monotonic() > midway:
        pathlib.Path("midway").touch()
        midway = None
    sum(range(2000))
    time.sleep(0.002)
print("Accuracy: 50")
sys.exit({code})
"""

Build = Callable[[PowercapTree], Mapping[Path, Profile]]


@dataclass
class Scene:
    """One machine: its powercap zones, what happens to them, its GPUs, how the training ends."""

    build: Build | None = None
    events: Sequence[Event] = ()
    gpus: Callable[[], Sequence[FakeGpu]] | None = None
    code: int = 0
    arguments: Sequence[str] = ()


@dataclass
class Played:
    """What one scene gave."""

    code: int
    output: str
    record: dict[str, Any]
    truth: Callable[[int, int], float] | None = None
    zones: Mapping[Path, Profile] = field(default_factory=dict)
    late_seconds: float = 0.0

    def joules(self, key: str) -> float | None:
        value: float | None = self.record["energy_metrics"][key]
        return value

    def window(self) -> tuple[int, int]:
        window = self.record["energy_provenance"]["window"]
        return window["opened_ns"], window["closed_ns"]


def package(profile: Profile, **facts: Any) -> Build:
    return lambda tree: {tree.add_package(0, **facts): profile}


def two_packages_and_a_copy(tree: PowercapTree) -> Mapping[Path, Profile]:
    tree.add_zone("intel-rapl-mmio:0", "package-0")
    return {
        tree.add_package(0): steady(60),
        tree.add_dram(0, 0): steady(4),
        tree.add_package(1): steady(80),
        tree.add_dram(1, 0): steady(6),
    }


def lost_gpu() -> Sequence[FakeGpu]:
    return [FakeGpu(errors=(Rule("all", 15),))]


TRUE = {
    "counter wraps inside the window": Scene(package(steady(60), range_uj=90_000_000)),
    "max energy range cannot be read": Scene(package(steady(60), range_uj=None)),
    "one read fails": Scene(package(steady(60)), [Event("text", 1.6, ""), Event("restore", 2.2)]),
    "all energy in the first interval": Scene(package(bursts(8, [(0.0, 0.2, 700)]))),
    "all energy in the last interval": Scene(package(bursts(8, [(3.7, 3.9, 700)]))),
    "power ramps": Scene(package(ramp(0, 4, 20, 200))),
    "two packages, DRAM, and a duplicate zone": Scene(two_packages_and_a_copy),
}
REFUSED = {
    "permission is lost": (Scene(package(steady(60)), [Event("directory", 2.0)]), "package-0"),
    "the counter freezes": (Scene(package(steady(60)), [Event("freeze", 1.5)]), "package-0"),
    "the counter jumps back": (
        Scene(package(steady(60), energy_uj=700_000_000), [Event("reset", 2.1)]),
        "package-0",
    ),
    "the GPU is lost": (Scene(gpus=lost_gpu), "GPU-"),
}
OTHERS = {
    "two GPUs": Scene(
        gpus=lambda: [
            FakeGpu(power=steady(200.0)),
            FakeGpu(power=steady(120.0), uuid="GPU-00000000-0000-0000-0000-000000000002"),
        ]
    ),
    "a GPU without a counter": Scene(gpus=lambda: [FakeGpu(counter_period=None)]),
    "no counter at all": Scene(),
    "the monitored program crashes": Scene(package(steady(60)), code=3),
    "energy is required and there": Scene(package(steady(60)), arguments=["--require-energy"]),
}


@pytest.fixture(scope="module")
def playing(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Future[Played]]:
    root = tmp_path_factory.mktemp("scenes")
    library = build_fake_nvml(root / "nvml")
    scenes = {**TRUE, **OTHERS, **{name: scene for name, (scene, _) in REFUSED.items()}}
    # All scripts are written before anything is forked: a fork that inherits a script which is open
    # for writing keeps others from running it.
    stages = {
        name: Stage.build(scene, root / str(number))
        for number, (name, scene) in enumerate(scenes.items())
    }
    with ThreadPoolExecutor(len(stages)) as pool:
        jobs = {name: pool.submit(stage.play, library) for name, stage in stages.items()}
        wait(jobs.values(), timeout=150)
    return jobs


@pytest.fixture
def played(playing: Mapping[str, Future[Played]]) -> Outcomes:
    return Outcomes(playing)


class Outcomes:
    """What the scenes gave, by name; a scene that broke fails those that ask for it."""

    def __init__(self, playing: Mapping[str, Future[Played]]) -> None:
        self._playing = playing

    def __getitem__(self, name: str) -> Played:
        return self._playing[name].result(0)


@dataclass
class Stage:
    """A scene that is set up: its project and its hardware."""

    scene: Scene
    project: Project
    tree: PowercapTree
    zones: Mapping[Path, Profile]

    @classmethod
    def build(cls, scene: Scene, folder: Path) -> Stage:
        folder.mkdir()
        project = Project(folder)
        training = TRAINING.format(python=sys.executable, seconds=SECONDS, code=scene.code)
        project.program("toy", training)
        project.settings({"repo": "toy", "model": "small", "hyperparameters": {}})
        tree = PowercapTree(folder / "sys")
        return cls(scene, project, tree, scene.build(tree) if scene.build else {})

    def play(self, library: Path) -> Played:
        if self.zones:
            return self._play_with_zones()
        gpus = FakeGpuScript(
            self.scene.gpus() if self.scene.gpus else [],
            trigger=self.project.path / "repos/toy/midway",
        )
        extra = gpus.environment(library, self.project.path / "gpus.txt") if gpus.gpus else {}
        done = self._run(extra)

        def truth(start_ns: int, end_ns: int) -> float:
            numbers = range(len(gpus.gpus))
            return sum(gpus.energy_joules(number, start_ns, end_ns) for number in numbers)

        return Played(done.returncode, done.stdout, self.project.record(done.stdout), truth)

    def _play_with_zones(self) -> Played:
        events = {next(iter(self.zones)): self.scene.events} if self.scene.events else {}
        trigger = self.project.path / "repos/toy/trigger"
        with PowercapWriter(self.zones, events, trigger=trigger) as writer:
            done = self._run({})
            record = self.project.record(done.stdout)
            window = record["energy_provenance"]["window"]
            edges = window["opened_ns"], window["closed_ns"]
            total = sum(writer.energy_joules(zone, *edges) for zone in self.zones)
            late = sum(map(writer.late_seconds, edges))
        return Played(
            done.returncode, done.stdout, record, lambda start, end: total, self.zones, late
        )

    def _run(self, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        options = ("--sysfs", str(self.tree.root), *self.scene.arguments)
        return self.project.run_apart(*options, **environment)


@pytest.mark.parametrize("name", TRUE)
def test_the_recorded_energy_is_true(played: Outcomes, name: str) -> None:
    one = played[name]
    assert one.code == 0, one.output
    assert one.truth is not None
    peak_watts = sum(max(watts for _, watts in profile.points) for profile in one.zones.values())
    assert one.joules("cpu_energy_total_joules") == pytest.approx(
        one.truth(*one.window()), rel=0.01, abs=(STEP_SECONDS + one.late_seconds) * peak_watts
    )


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_true_is_refused_by_name(played: Outcomes, name: str) -> None:
    one = played[name]
    assert one.code == 1, one.output
    assert one.record["training_success"] is False
    assert REFUSED[name][1] in one.record["error_message"]
    assert one.joules("cpu_energy_total_joules") is None
    assert one.joules("gpu_energy_total_joules") is None
    assert one.record["quality"]["reasons"][0] in one.output


def test_two_gpus_are_summed_and_told_apart(played: Outcomes) -> None:
    one = played["two GPUs"]
    assert one.code == 0, one.output
    assert one.truth is not None
    period_joules = 2 * 0.1 * 320
    assert one.joules("gpu_energy_total_joules") == pytest.approx(
        one.truth(*one.window()), rel=0.01, abs=period_joules
    )
    gpus = one.record["energy_provenance"]["domains"]["gpu"]["gpus"]
    assert len({gpu["uuid"] for gpu in gpus}) == 2


def test_without_a_counter_the_integral_is_used_and_labelled(played: Outcomes) -> None:
    one = played["a GPU without a counter"]
    assert one.code == 0, one.output
    assert one.truth is not None
    assert one.joules("gpu_energy_total_joules") == pytest.approx(
        one.truth(*one.window()), rel=0.02
    )
    source = one.record["energy_provenance"]["domains"]["gpu"]["gpus"][0]["source"]
    assert source == "nvml-power-integral"


def test_no_counter_is_null_with_a_reason_and_a_labelled_estimate(
    played: Outcomes,
) -> None:
    one = played["no counter at all"]
    assert one.code == 0, one.output
    values = set(one.record["energy_metrics"].values())
    assert {value for value in values if not isinstance(value, str)} == {None}
    for domain in one.record["energy_provenance"]["domains"].values():
        assert domain["status"] == "unavailable"
        assert domain["reason"]
    assert one.record["energy_estimate"]["is_estimate"] is True
    assert "~" in one.output


def test_a_crash_keeps_what_was_measured_and_does_not_count(played: Outcomes) -> None:
    one = played["the monitored program crashes"]
    assert one.code == 1
    assert "exit code 3" in one.record["error_message"]
    joules = one.joules("cpu_energy_total_joules")
    assert joules == pytest.approx(60 * SECONDS, rel=0.15)


def test_required_energy_that_is_there_is_measured(played: Outcomes) -> None:
    assert played["energy is required and there"].code == 0


def test_a_counter_that_exists_and_cannot_be_read_stops_the_session_with_the_remedy(
    project: Project,
) -> None:
    tree = PowercapTree(project.path / "sys")
    counter = tree.add_package(0) / "energy_uj"
    counter.unlink()
    counter.mkdir()
    project.settings({"repo": "toy", "model": "small", "hyperparameters": {"seconds": 0.3}})
    refused = project.refusal("--sysfs", str(tree.root))
    assert "ERROR:" in refused.stderr.str()
    assert not list((project.path / "results").glob("training_*"))
    accepted = project.run_here("--sysfs", str(tree.root), "--allow-missing", "cpu")
    assert accepted.ret == 0, accepted.stdout.str()
    assert project.records()[0]["energy_metrics"]["cpu_energy_total_joules"] is None


def test_what_an_earlier_run_left_is_never_read_as_this_run(project: Project) -> None:
    project.program(
        "toy",
        f"""\
        #!{sys.executable}
        from pathlib import Path
        if not Path("ran").exists():
            print("Accuracy: 99")
        Path("ran").touch()
        """,
    )
    project.settings({"repo": "toy", "model": "small", "hyperparameters": {}})
    assert project.run_here().ret == 0
    assert project.run_here().ret == 1
    values = [record["performance_metrics"]["accuracy"] for record in project.records()]
    assert values == [99.0, None]
