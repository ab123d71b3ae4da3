"""CPU energy by perf events, where the powercap tree gives nothing: true within 1 %, or refused."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes.child import Job, start_energy_child
from fakes.perf import DRAM, PACKAGE, PerfUnit, build_fake_perf, perf_environment
from fakes.powercap import Event, PowercapTree, PowercapWriter
from fakes.profile import Profile, bursts, steady
from recordschema import energy_faults

from wattest.energy import Finding, find_sensors
from wattest.energy.cpu import perf
from wattest.errors import SensorPermissionError

SECONDS = 3.0
EPOCH_NS = 10**15
"""The scenes' time 0, when their windows open."""
STEP_SECONDS = 0.02
EVENT = "power/energy-pkg/"


@dataclass
class Scene:
    """One machine with the unit: the power of its packages, and what happens to the first.

    Attributes:
        packages: One profile per package.
        events: What happens to the counter of the first, in seconds of the window.
        dram_watts: Power of its DRAM; None if the unit does not count that.
        limit_watts: Limit that the powercap zone of the first states, which cannot be read.
    """

    packages: Sequence[Profile] = (steady(60),)
    events: Sequence[Event] = ()
    dram_watts: float | None = None
    limit_watts: float | None = None
    zones: dict[Path, Profile] = field(default_factory=dict)

    def build(self, sys_root: Path, stage: Path, number: int) -> None:
        """Lay out its /sys and its counters."""
        unit = PerfUnit(sys_root, stage, number, tuple(range(0, 8 * len(self.packages), 8)))
        self.zones = dict(zip(unit.add_event(PACKAGE), self.packages, strict=True))
        if self.dram_watts is not None:
            self.zones |= dict.fromkeys(unit.add_event(DRAM), steady(self.dram_watts))
        if self.limit_watts is not None:
            zone = PowercapTree(sys_root).add_package(limit_watts=self.limit_watts)
            (zone / "energy_uj").unlink()
            (zone / "energy_uj").mkdir()
            topology = sys_root / "devices" / "system" / "cpu" / "cpu0" / "topology"
            topology.mkdir(parents=True)
            (topology / "physical_package_id").write_text("0\n")


SCENES = {
    "steady, with DRAM": Scene(dram_watts=6.0),
    "two packages": Scene([steady(60), steady(90)], dram_watts=4.0),
    "burst in the first 200 ms": Scene([bursts(8, [(0, 0.2, 700)])]),
    "burst in the last 200 ms": Scene([bursts(8, [(SECONDS - 0.2, SECONDS, 700)])]),
    "within its limit": Scene(limit_watts=125),
    "beyond its limit": Scene(limit_watts=30),
    "is stuck": Scene(events=[Event("freeze", 1.2)]),
    "stands still for a while": Scene(events=[Event("freeze", 0.7), Event("thaw", 2.2)]),
    "is given up": Scene(events=[Event("unlink", 1.5)]),
    "fails": Scene(events=[Event("directory", 1.5)]),
    "fails for a moment": Scene(events=[Event("text", 1.2, "?"), Event("restore", 1.9)]),
    "jumps": Scene(events=[Event("jump", 1.2, "900")]),
    "falls": Scene(events=[Event("jump", 1.2, "-30")]),
    "DRAM at 0": Scene(dram_watts=0.0),
}


@dataclass(frozen=True)
class Outcome:
    """What one scene gave."""

    scene: Scene
    found: Mapping[str, Any]
    truths: Mapping[Path, float]

    @property
    def domain(self) -> Mapping[str, Any]:
        return self.found["provenance"]["domains"]["cpu_pkg"]

    def assert_true(self) -> None:
        assert self.found["faults"] == []
        peak = sum(max(watts for _, watts in one.points) for one in self.scene.zones.values())
        assert self.found["metrics"]["cpu_energy_total_joules"] == pytest.approx(
            sum(self.truths.values()), rel=0.01, abs=STEP_SECONDS * peak
        )


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    return build_fake_perf(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, library) -> Mapping[str, Outcome]:
    """Every scene, in one process, each in a time of its own."""
    root = tmp_path_factory.mktemp("perf")
    writers, jobs = [], []
    for number, scene in enumerate(SCENES.values()):
        own = root / str(number)
        scene.build(own, root / "stage", number)
        events = {next(iter(scene.zones)): scene.events}
        writer = PowercapWriter(scene.zones, events, trigger=own / "trigger", log=own / "log")
        settings = {"sys_root": str(own)}
        jobs.append(Job(own / "energy", SECONDS, EPOCH_NS, settings, writer=writer.plan()))
        writers.append(writer)
    child = start_energy_child(jobs, perf_environment(library, root / "stage"))
    return {
        name: Outcome(
            scene,
            found,
            {
                zone: writer.energy_joules(zone, found["opened_ns"], found["closed_ns"])
                for zone in scene.zones
            },
        )
        for (name, scene), writer, found in zip(
            SCENES.items(), writers, child.results(), strict=True
        )
    }


@pytest.mark.parametrize(
    "name",
    [
        "steady, with DRAM",
        "two packages",
        "burst in the first 200 ms",
        "burst in the last 200 ms",
        "within its limit",
        "fails for a moment",
    ],
)
def test_what_perf_counts_is_true(outcomes, name):
    outcomes[name].assert_true()


def test_a_number_says_that_it_comes_from_perf(outcomes):
    outcome = outcomes["steady, with DRAM"]
    domain = outcome.domain
    assert (domain["status"], domain["source"], domain["event"]) == ("measured", "perf", EVENT)
    assert domain["wraps"] is None
    assert 0 < domain["edge_uncertainty_percent"] < 3
    assert 0.005 < domain["update_period_seconds"] < 0.2
    (zone,) = domain["zones"]
    assert zone["label"] == EVENT
    assert zone["path"].endswith("bus/event_source/devices/power/events/energy-pkg")
    assert outcome.found["promised"] == [EVENT, "power/energy-ram/"]
    assert outcome.found["describe"].startswith(f"CPU {EVENT}, power/energy-ram/ by perf; GPU not")
    assert outcome.found["metrics"]["cpu_energy_ram_joules"] == pytest.approx(18, rel=0.05)


def test_every_package_is_counted_by_itself_and_added_up(outcomes):
    zones = outcomes["two packages"].domain["zones"]
    assert [zone["label"] for zone in zones] == [f"{EVENT} (CPU 0)", f"{EVENT} (CPU 8)"]
    assert zones[1]["joules"] / zones[0]["joules"] == pytest.approx(1.5, rel=0.02)


def test_perf_without_dram_leaves_dram_null(outcomes):
    found = outcomes["is stuck"].found
    assert found["metrics"]["cpu_energy_ram_joules"] is None
    domain = found["provenance"]["domains"]["cpu_ram"]
    assert (domain["status"], domain["reason"]) == ("unavailable", "perf cannot count it here")


def test_dram_that_stands_at_0_is_rejected_and_never_0_joules(outcomes):
    found = outcomes["DRAM at 0"].found
    assert found["promised"] == [EVENT]
    assert "not wired" in found["provenance"]["domains"]["cpu_ram"]["reason"]
    assert found["metrics"]["cpu_energy_ram_joules"] is None


@pytest.mark.parametrize(
    ("name", "gate", "words"),
    [
        ("is stuck", "counter_frozen", "frozen"),
        ("stands still for a while", "counter_frozen", "did not catch up"),
        ("is given up", "source_lost", "the kernel counts it no more"),
        ("fails", "read_failed", "Input/output error"),
        ("jumps", "counter_jump", "jumped"),
        ("falls", "counter_reset", "which no counter does: reset"),
        ("beyond its limit", "power_range", "above its limit of 30.0 W"),
    ],
)
def test_a_counter_that_fails_midway_is_refused(outcomes, name, gate, words):
    found = outcomes[name].found
    assert found["metrics"]["cpu_energy_pkg_joules"] is None
    assert [fault["gate"] for fault in found["faults"]] == [gate]
    assert words in found["faults"][0]["text"]
    assert found["faults"][0]["text"].startswith(EVENT)


def test_a_reading_that_fails_is_counted_and_loses_nothing(outcomes):
    assert outcomes["fails for a moment"].domain["failed_reads"] >= 1


def test_perf_is_used_where_a_zone_exists_but_cannot_be_read(outcomes):
    findings = outcomes["within its limit"].found["findings"]
    assert {one["name"]: (one["status"], one["source"]) for one in findings} == {
        "package-0": ("unavailable", None),
        EVENT: ("measured", "perf"),
        "gpu": ("unavailable", None),
    }
    assert findings[1]["details"]["limit_watts"] == 125


@pytest.fixture
def machine(tmp_path):
    """Roots for /sys and /proc, with the unit."""
    (tmp_path / "proc" / "sys" / "kernel").mkdir(parents=True)
    (tmp_path / "proc" / "sys" / "kernel" / "perf_event_paranoid").write_text("2\n")
    PerfUnit(tmp_path / "sys", tmp_path / "stage").add_event()
    return tmp_path


def refuse(number: int):
    """A kernel that answers the system call with an error."""

    def answer(kind: int, event: int, cpu: int) -> int:
        raise OSError(number, os.strerror(number))

    return answer


def test_powercap_comes_before_perf(machine, monkeypatch):
    monkeypatch.setattr(perf, "perf_event_open", refuse(errno.EACCES))
    PowercapTree(machine / "sys").add_package()
    with find_sensors(machine / "sys", machine / "proc") as sensors:
        assert [finding.source for finding in sensors.findings if finding.source] == ["powercap"]


def test_a_perf_that_may_not_count_stops_the_session_with_the_remedy(machine, monkeypatch):
    monkeypatch.setattr(perf, "perf_event_open", refuse(errno.EACCES))
    with pytest.raises(SensorPermissionError) as stopped:
        find_sensors(machine / "sys", machine / "proc")
    (line,) = str(stopped.value).splitlines()
    assert line.startswith("cpu: perf may not count energy: ")
    assert f"{EVENT}: Permission denied" in line
    assert "sudo sysctl kernel.perf_event_paranoid=0 (now 2)" in line
    assert "sudo setcap cap_perfmon=ep /" in line
    assert line.endswith("or accept it with --allow-missing cpu")
    with find_sensors(machine / "sys", machine / "proc", frozenset({"cpu"})) as sensors:
        assert sensors.promised() == ()
        assert "accepted by --allow-missing cpu" in sensors.describe()


def absence(machine: Path) -> Finding:
    with find_sensors(machine / "sys", machine / "proc") as sensors:
        assert sensors.promised() == ()
        return sensors.findings[0]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV, errno.EINVAL, errno.ENOSYS])
def test_a_kernel_that_does_not_count_is_a_stated_absence(machine, monkeypatch, number):
    monkeypatch.setattr(perf, "perf_event_open", refuse(number))
    assert absence(machine).status == "unavailable"
    assert "no energy counters under" in absence(machine).reason


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("events/energy-pkg.unit", "mJ"),
        ("events/energy-pkg.scale", "much"),
        ("events/energy-pkg.scale", "nan"),
        ("events/energy-pkg.scale", "inf"),
        ("events/energy-pkg.scale", "0"),
        ("events/energy-pkg.scale", "-2.3e-10"),
        ("events/energy-pkg", "umask=0x02"),
        ("events/energy-pkg", "event=-1"),
        ("events/energy-pkg", f"event={2**64}"),
        ("type", ""),
        ("type", "-1"),
        ("type", f"{2**32}"),
        ("cpumask", "all"),
        ("cpumask", "3-1"),
        ("cpumask", "0-99999999999"),
    ],
)
def test_a_unit_that_does_not_say_what_it_counts_is_not_used(machine, monkeypatch, file, text):
    monkeypatch.setattr(perf, "perf_event_open", lambda *_: os.open("/dev/zero", os.O_RDONLY))
    (machine / "sys" / "bus/event_source/devices/power" / file).write_text(text)
    assert absence(machine).status == "unavailable"
    told = "instead of Joules" if text == "mJ" else f"power/{file}: holds {text!r}"
    assert told in absence(machine).reason


def test_a_package_that_is_named_twice_is_counted_once(machine, monkeypatch):
    monkeypatch.setattr(perf, "perf_event_open", lambda *_: os.open("/dev/zero", os.O_RDONLY))
    (machine / "sys" / "bus/event_source/devices/power/cpumask").write_text("0,0-0")
    with find_sensors(machine / "sys", machine / "proc") as sensors:
        assert sensors.promised() == (EVENT,)


def test_an_event_of_dram_that_cannot_be_counted_is_the_reason_of_its_absence(machine, monkeypatch):
    monkeypatch.setattr(perf, "perf_event_open", lambda *_: os.open("/dev/zero", os.O_RDONLY))
    events = machine / "sys" / "bus/event_source/devices/power/events"
    for suffix, text in (("", "event=0x03"), (".unit", "Joules"), (".scale", "0")):
        (events / f"energy-ram{suffix}").write_text(text)
    with find_sensors(machine / "sys", machine / "proc") as sensors:
        measurement = sensors.open_window(machine / "energy").close()
    memory = measurement.results[1]
    assert (memory.domain, memory.status) == ("cpu_ram", "unavailable")
    assert memory.reason == f"cannot be counted by perf: {events}/energy-ram.scale: holds '0'"


def test_the_system_call_itself_is_made_and_answered(machine):
    """On any kernel: the event is of a type that none has."""
    with pytest.raises(OSError, match=r"\[Errno") as refused:
        perf.perf_event_open(2**31 - 1, 2, 0)
    assert refused.value.errno in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOSYS)


def test_nothing_stays_open_when_the_sensors_are_closed(machine, monkeypatch):
    opened = []

    def answer(kind: int, event: int, cpu: int) -> int:
        opened.append(os.open("/dev/zero", os.O_RDONLY))
        return opened[-1]

    monkeypatch.setattr(perf, "perf_event_open", answer)
    with find_sensors(machine / "sys", machine / "proc") as sensors:
        assert sensors.promised() == (EVENT,)
        os.fstat(opened[0])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def test_a_window_of_few_update_periods_gives_no_number(machine, library):
    (fault,) = measured(machine, library, steady(60), 0.9, period=0.1)["faults"]
    assert fault["gate"] == "window_short"
    assert "shorter than 20 update periods (" in fault["text"]


def test_an_idle_baseline_judges_what_perf_counts_later(machine, library):
    falling = bursts(100, [(0.0, 60.0, 20)])
    (fault,) = measured(machine, library, falling, 3.0, idle_seconds=2.0)["faults"]
    assert fault["gate"] == "power_range"
    assert "far below its" in fault["text"]


def measured(
    machine: Path,
    library: Path,
    profile: Profile,
    seconds: float,
    idle_seconds: float = 0.0,
    period: float = 0.01,
) -> Mapping[str, Any]:
    """What the unit gives of a window; the profile begins when it opens."""
    (counter,) = (machine / "stage" / "24").iterdir()
    trigger, settings = machine / "trigger", {"sys_root": str(machine / "sys")}
    writer = PowercapWriter({counter: profile}, period=period, trigger=trigger, log=machine / "log")
    folder, plan = machine / "energy", writer.plan()
    job = Job(folder, seconds, EPOCH_NS, settings, idle_seconds, writer=plan)
    (found,) = start_energy_child([job], perf_environment(library, machine / "stage")).results()
    return found


def test_whatever_perf_does_its_record_is_one(outcomes):
    found = [one.found for one in outcomes.values()]
    faults = [energy_faults(one["metrics"], one["provenance"]) for one in found]
    assert list(filter(None, faults)) == []
