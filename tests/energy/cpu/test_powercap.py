"""CPU energy against a live powercap tree of known power: true within 1 %, or refused by name."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakes.clock import FakeTime
from fakes.powercap import REAL_RANGE_UJ, Event, PowercapTree, PowercapWriter
from fakes.profile import Profile, bursts, ramp, steady
from recordschema import energy_faults

from wattest.energy import Finding, Measurement, find_sensors

WINDOW_SECONDS = 4.05
STEP_SECONDS = 0.02
"""Two updates of the writer: one at each edge."""


@dataclass
class Scene:
    """One machine: its zones, what runs on them, and what happens to them."""

    build: Callable[[PowercapTree], Mapping[Path, Profile]]
    events: Sequence[Event] = ()
    zones: Mapping[Path, Profile] = field(default_factory=dict)


def one_package(profile: Profile, **facts) -> Callable[[PowercapTree], Mapping[Path, Profile]]:
    return lambda tree: {tree.add_package(0, **facts): profile}


def two_packages_with_dram(tree: PowercapTree) -> Mapping[Path, Profile]:
    return {
        tree.add_package(0): steady(60),
        tree.add_dram(0, 0): steady(4),
        tree.add_package(1): ramp(0, 4, 30, 90),
        tree.add_dram(1, 0): steady(6),
    }


def with_zones_that_must_not_count(tree: PowercapTree) -> Mapping[Path, Profile]:
    return {
        tree.add_package(0): steady(60),
        tree.add_zone("intel-rapl:0:0", "core"): steady(40),
        tree.add_zone("intel-rapl:0:1", "uncore"): steady(5),
        tree.add_zone("intel-rapl:1", "psys"): steady(90),
        tree.add_zone("intel-rapl-mmio:0", "package-0"): steady(60),
        tree.add_zone("intel-rapl-mmio:0:0", "dram"): steady(5),
    }


def with_a_dead_dram(tree: PowercapTree) -> Mapping[Path, Profile]:
    tree.add_dram(0, 0, energy_uj=0)
    return {tree.add_package(0): steady(60)}


def static(tree: PowercapTree) -> Mapping[Path, Profile]:
    tree.add_package(0, energy_uj=123_456_789)
    return {}


SCENES = {
    "steady": Scene(one_package(steady(60))),
    "ramp": Scene(one_package(ramp(0, 4, 20, 200))),
    "burst in the first 200 ms": Scene(one_package(bursts(8, [(0, 0.2, 700)]))),
    "burst in the last 200 ms": Scene(one_package(bursts(8, [(3.85, 4.05, 700)]))),
    "wrap every 3 s": Scene(one_package(steady(60), range_uj=180_000_000)),
    "wrap of a real range": Scene(one_package(steady(60), energy_uj=REAL_RANGE_UJ - 150_000_000)),
    "two packages with DRAM": Scene(two_packages_with_dram),
    "zones that must not count": Scene(with_zones_that_must_not_count),
    "dead DRAM": Scene(with_a_dead_dram),
    "no max range": Scene(one_package(steady(60), range_uj=None)),
    "garbage max range": Scene(one_package(steady(60), range_uj="lots")),
    "zero max range": Scene(one_package(steady(60), range_uj=0)),
    "wrap without max range": Scene(
        one_package(steady(60), range_uj=None, energy_uj=REAL_RANGE_UJ - 150_000_000)
    ),
    "one failed read": Scene(
        one_package(steady(60)), [Event("text", 0.9, ""), Event("restore", 1.5)]
    ),
    "negative for a moment": Scene(
        one_package(steady(60)), [Event("text", 1.7, "-5\n"), Event("restore", 2.3)]
    ),
    "permission lost midway": Scene(one_package(steady(60)), [Event("directory", 2.0)]),
    "zone vanishes midway": Scene(one_package(steady(60)), [Event("unlink", 2.0)]),
    "zone lost and regained": Scene(
        one_package(steady(60)), [Event("unlink", 1.5), Event("restore", 2.5)]
    ),
    "garbage until the end": Scene(one_package(steady(60)), [Event("text", 2.0, "12 W\n")]),
    "frozen from the start": Scene(static),
    "frozen midway": Scene(one_package(steady(60)), [Event("freeze", 1.7)]),
    "frozen at the end": Scene(one_package(steady(60)), [Event("freeze", 3.8)]),
    "frozen for a while": Scene(
        one_package(steady(60)), [Event("freeze", 0.5), Event("thaw", 3.2)]
    ),
    "frozen for less than two seconds": Scene(
        one_package(steady(60)), [Event("freeze", 1.15), Event("thaw", 2.9)]
    ),
    "frozen from the opening edge": Scene(
        one_package(steady(60)), [Event("freeze", 0.15), Event("thaw", 3.1)]
    ),
    "reset of a young counter": Scene(one_package(steady(60)), [Event("reset", 0.6)]),
    "jump": Scene(one_package(steady(60)), [Event("jump", 2.2, "900")]),
    "reset": Scene(one_package(steady(60), energy_uj=700_000_000), [Event("reset", 2.1)]),
    "reset of a small range": Scene(
        one_package(steady(60), energy_uj=5_000_000, range_uj=180_000_000), [Event("reset", 2.1)]
    ),
    "reset at the end": Scene(
        one_package(steady(60), energy_uj=700_000_000), [Event("reset", 3.93)]
    ),
    "beyond its limit": Scene(one_package(steady(60), limit_watts=30)),
    "within its limit": Scene(one_package(steady(60), limit_watts=125)),
}


@dataclass(frozen=True)
class Outcome:
    """What one scene gave."""

    scene: Scene
    measurement: Measurement
    findings: tuple[Finding, ...]
    promised: tuple[str, ...]
    folder: Path
    truth: Callable[[Path], float]

    @property
    def zones(self) -> list[Path]:
        return list(self.scene.zones)

    def assert_true(self, key: str, *zones: Path) -> None:
        value = self.measurement.energy_metrics()[key]
        truth = sum(self.truth(zone) for zone in zones)
        peaks = [max(watts for _, watts in self.scene.zones[zone].points) for zone in zones]
        step = STEP_SECONDS * sum(peaks)
        assert self.measurement.faults == ()
        assert value == pytest.approx(truth, rel=0.01, abs=step)

    def assert_refused(self, gate: str, words: str) -> None:
        assert self.measurement.energy_metrics()["cpu_energy_pkg_joules"] is None
        assert self.measurement.energy_metrics()["cpu_energy_total_joules"] is None
        assert [fault.gate for fault in self.measurement.faults] == [gate]
        assert words in self.measurement.faults[0].text
        assert "package-0" in self.measurement.faults[0].text
        domain = self.measurement.provenance()["domains"]["cpu_pkg"]
        assert domain["status"] == "invalid"
        assert domain["energy_joules"] is None
        assert words in domain["reason"]

    def zone(self, number: int = 0) -> dict:
        return self.measurement.provenance()["domains"]["cpu_pkg"]["zones"][number]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> Mapping[str, Outcome]:
    """Every scene, each with its own tree, meter and time."""
    root = tmp_path_factory.mktemp("powercap")
    return {
        name: play(scene, root / str(number), ("class", "device")[number % 2])
        for number, (name, scene) in enumerate(SCENES.items())
    }


def play(
    scene: Scene, root: Path, layout: str, seconds: float = WINDOW_SECONDS, period: float = 0.01
) -> Outcome:
    tree = PowercapTree(root, layout)
    scene.zones = scene.build(tree)
    trigger, clock, log = root / "trigger", FakeTime(), root / "writer.jsonl"
    events = {zone: scene.events for zone in list(scene.zones)[:1]}
    writer = PowercapWriter(scene.zones, events, period=period, trigger=trigger, log=log)
    with clock.everywhere(), writer.within(clock), find_sensors(tree.root) as sensors:
        sensors.learn_periods()
        trigger.touch()
        window = sensors.open_window(root / "energy")
        window.wait((), window.opened_ns + int(seconds * 1e9))
        found = window.close()
        truths = {
            zone: writer.energy_joules(zone, found.opened_ns, found.closed_ns)
            for zone in scene.zones
        }
        promised = sensors.promised()
        folder = root / "energy"
        return Outcome(scene, found, sensors.findings, promised, folder, truths.__getitem__)


@pytest.mark.parametrize(
    "name",
    [
        "steady",
        "ramp",
        "burst in the first 200 ms",
        "burst in the last 200 ms",
        "wrap every 3 s",
        "wrap of a real range",
        "no max range",
        "garbage max range",
        "zero max range",
        "one failed read",
        "negative for a moment",
        "zone lost and regained",
        "within its limit",
    ],
)
def test_the_energy_of_a_package_is_true(outcomes, name):
    outcomes[name].assert_true("cpu_energy_pkg_joules", *outcomes[name].zones)


def test_two_packages_and_their_dram_are_added_up(outcomes):
    outcome = outcomes["two packages with DRAM"]
    first, first_dram, second, second_dram = outcome.zones
    outcome.assert_true("cpu_energy_pkg_joules", first, second)
    outcome.assert_true("cpu_energy_ram_joules", first_dram, second_dram)
    outcome.assert_true("cpu_energy_total_joules", *outcome.zones)
    assert outcome.promised == ("package-0", "package-0/dram", "package-1", "package-1/dram")


def test_zones_that_overlap_are_listed_with_reasons_and_never_added(outcomes):
    outcome = outcomes["zones that must not count"]
    outcome.assert_true("cpu_energy_pkg_joules", outcome.zones[0])
    assert outcome.measurement.energy_metrics()["cpu_energy_ram_joules"] is None
    unused = outcome.measurement.provenance()["domains"]["cpu_pkg"]["zones_not_used"]
    assert {(one["zone"], one["reason"]) for one in unused} == {
        ("intel-rapl:0:0", "lies inside its package"),
        ("intel-rapl:0:1", "lies inside its package"),
        (
            "intel-rapl:1",
            "covers the packages and more of the platform: adding it would count them twice",
        ),
        ("intel-rapl-mmio:0", "repeats package-0 of intel-rapl:0"),
        (
            "intel-rapl-mmio:0:0",
            "belongs to intel-rapl-mmio:0, which repeats package-0 of intel-rapl:0",
        ),
    }
    rejected = [finding for finding in outcome.findings if finding.status == "rejected"]
    assert len(rejected) == 5


def test_a_dram_zone_that_stands_at_0_is_rejected_and_never_0_joules(outcomes):
    outcome = outcomes["dead DRAM"]
    outcome.assert_true("cpu_energy_total_joules", outcome.zones[0])
    metrics = outcome.measurement.energy_metrics()
    assert metrics["cpu_energy_ram_joules"] is None
    assert outcome.promised == ("package-0",)
    domain = outcome.measurement.provenance()["domains"]["cpu_ram"]
    assert domain["status"] == "unavailable"
    assert "not wired" in domain["reason"]


def test_an_unreadable_range_is_flagged(outcomes):
    for name in ("no max range", "garbage max range", "zero max range"):
        gates = [flag.gate for flag in outcomes[name].measurement.flags]
        assert "range_unknown" in gates


def test_wraps_are_counted(outcomes):
    assert outcomes["wrap every 3 s"].zone()["wraps"] in (1, 2)
    assert outcomes["wrap of a real range"].zone()["wraps"] == 1
    assert outcomes["steady"].zone()["wraps"] == 0


def test_a_range_that_wraps_within_seconds_is_sampled_faster(outcomes):
    fast, usual = (outcomes[name].zone()["samples"] for name in ("wrap every 3 s", "steady"))
    assert fast > 2 * usual


@pytest.mark.parametrize(
    "name", ["one failed read", "negative for a moment", "zone lost and regained"]
)
def test_failed_reads_are_counted_and_lose_nothing(outcomes, name):
    assert outcomes[name].zone()["failed_reads"] >= 1


def test_a_wrap_without_a_known_range_is_refused(outcomes):
    outcomes["wrap without max range"].assert_refused("counter_reset", "its range is not known")


def test_a_permission_lost_midway_is_refused_with_what_was_measured_until_then(outcomes):
    outcome = outcomes["permission lost midway"]
    outcome.assert_refused("source_lost", "Is a directory")
    domain = outcome.measurement.provenance()["domains"]["cpu_pkg"]
    assert 50 <= domain["joules_until_failure"] <= 125


def test_a_zone_that_vanishes_is_refused(outcomes):
    outcomes["zone vanishes midway"].assert_refused("source_lost", "No such file")


def test_garbage_until_the_end_is_refused(outcomes):
    outcomes["garbage until the end"].assert_refused("read_failed", "'12 W' instead of a number")


@pytest.mark.parametrize("name", ["frozen from the start", "frozen midway", "frozen at the end"])
def test_a_frozen_counter_is_refused(outcomes, name):
    outcomes[name].assert_refused("counter_frozen", "frozen")


@pytest.mark.parametrize(
    "name",
    ["frozen for a while", "frozen for less than two seconds", "frozen from the opening edge"],
)
def test_a_counter_that_stands_still_for_a_while_is_refused(outcomes, name):
    outcomes[name].assert_refused("counter_frozen", "did not catch up")


def test_a_jump_is_refused(outcomes):
    outcomes["jump"].assert_refused("counter_jump", "jumped")


@pytest.mark.parametrize(
    "name", ["reset", "reset of a small range", "reset at the end", "reset of a young counter"]
)
def test_a_reset_is_refused(outcomes, name):
    outcomes[name].assert_refused("counter_reset", "reset")


def test_a_mean_power_beyond_the_limit_is_refused(outcomes):
    outcomes["beyond its limit"].assert_refused("power_range", "above its limit of 30.0 W")


def test_the_edge_uncertainty_covers_one_step_of_the_counter(outcomes):
    outcome = outcomes["steady"]
    domain = outcome.measurement.provenance()["domains"]["cpu_pkg"]
    assert 0.3 <= domain["edge_uncertainty_joules"] <= 6
    share = 100 * domain["edge_uncertainty_joules"] / domain["energy_joules"]
    assert domain["edge_uncertainty_percent"] == pytest.approx(share)


def test_the_provenance_says_where_the_number_comes_from(outcomes):
    zone = outcomes["steady"].zone()
    assert zone["zone"] == "intel-rapl:0"
    assert zone["path"].endswith("intel-rapl:0/energy_uj")
    assert 0.005 < zone["update_period_seconds"] < 0.2
    assert zone["samples"] >= 5
    assert zone["longest_gap_seconds"] < 1.5


def test_the_traces_have_milliseconds_and_the_report_reads_like_perf_stat(outcomes):
    folder = outcomes["two packages with DRAM"].folder
    header, *rows = (folder / "cpu_power.csv").read_text().splitlines()
    assert header == "timestamp,power_draw_w,energy_j,zone"
    stamps = [row.split(",")[0] for row in rows]
    assert all(len(stamp.partition(".")[2]) == 3 for stamp in stamps)
    assert abs(float(stamps[-1]) - time.time()) < 600
    assert {row.split(",")[3] for row in rows} >= {"package-0", "package-1/dram"}
    report = (folder / "cpu_energy.txt").read_text()
    assert " Joules power/energy-pkg/\n" in report
    assert " Joules power/energy-ram/\n" in report
    assert " seconds time elapsed\n" in report


def test_the_trace_of_a_lost_zone_ends_where_it_was_lost(outcomes):
    *_, last = (outcomes["zone vanishes midway"].folder / "cpu_power.csv").read_text().splitlines()
    *_, steady_last = (outcomes["steady"].folder / "cpu_power.csv").read_text().splitlines()
    assert float(last.split(",")[0]) < float(steady_last.split(",")[0]) - 1


def test_the_report_of_a_refused_number_holds_no_number(outcomes):
    report = (outcomes["reset"].folder / "cpu_energy.txt").read_text()
    assert "<invalid> Joules power/energy-pkg/" in report
    assert "<not counted> Joules power/energy-ram/" in report


def test_whatever_a_zone_does_its_record_is_one(outcomes):
    measured = [one.measurement for one in outcomes.values()]
    faults = [energy_faults(one.energy_metrics(), one.provenance()) for one in measured]
    assert list(filter(None, faults)) == []


@pytest.mark.parametrize("seed", range(16))
def test_whatever_the_power_does_the_energy_is_true_within_what_is_stated(tmp_path, seed):
    draw = random.Random(seed)
    times = sorted(draw.uniform(0, 20) for _ in range(draw.choice([1, 4, 80])))
    points = ((0.0, draw.uniform(2, 400)), *((at, draw.uniform(2, 400)) for at in times))
    range_uj = draw.choice([REAL_RANGE_UJ, 65_532_610_987, int(10 ** draw.uniform(8, 11))])
    facts = {"range_uj": range_uj, "energy_uj": draw.randrange(range_uj)}
    seconds, period = draw.uniform(2.5, 20), draw.choice([0.001, 0.01, 0.1])
    outcome = play(Scene(one_package(Profile(points), **facts)), tmp_path, "class", seconds, period)
    assert outcome.measurement.faults == ()
    domain = outcome.measurement.provenance()["domains"]["cpu_pkg"]
    truth = outcome.truth(outcome.zones[0])
    stated = domain["edge_uncertainty_joules"]
    assert domain["energy_joules"] == pytest.approx(truth, rel=1e-6, abs=stated)
