"""One story about what is in a sum, what is not, and by which limits it is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.clock import FakeTime
from fakes.powercap import Event, PowercapTree, PowercapWriter
from fakes.profile import Profile, steady

from wattest.energy import Measurement, find_sensors
from wattest.energy.cpu import powercap
from wattest.energy.track import CounterTrack
from wattest.energy.types import ReadingError

SECONDS = 0.3


@contextmanager
def running(
    zones: dict[Path, Profile], clock: FakeTime | None = None, events: Sequence[Event] = ()
) -> Iterator[PowercapWriter]:
    """Zones that run in a time of their own; events happen to all of them."""
    clock = clock or FakeTime()
    every = dict.fromkeys(zones, events)
    with clock.everywhere(), PowercapWriter(zones, every).within(clock) as writer:
        yield writer


def measure(
    root: Path,
    zones: dict[Path, Profile],
    found: Callable[[], None] = lambda: None,
    midway: Callable[[], None] = lambda: None,
) -> Measurement:
    """A short window; `found` happens between the search and it, `midway` within it."""
    with running(zones), find_sensors(root, root / "proc") as sensors:
        found()
        window = sensors.open_window(root / "energy")
        window.wait((), window.opened_ns + int(SECONDS * 0.5e9))
        midway()
        window.wait((), window.opened_ns + int(SECONDS * 1e9))
        return window.close()


def dram(measurement: Measurement) -> dict:
    return measurement.provenance()["domains"]["cpu_ram"]


def flags(measurement: Measurement, gate: str) -> list[str]:
    return [flag.text for flag in measurement.flags if flag.gate == gate]


@pytest.mark.parametrize("stands_at_zero", [False, True])
def test_packages_whose_dram_is_not_in_the_sum_are_named(tmp_path, stands_at_zero):
    tree = PowercapTree(tmp_path)
    zones = {tree.add_package(0): steady(60), tree.add_dram(0): steady(5)}
    zones[tree.add_package(1)] = steady(40)
    if stands_at_zero:
        tree.add_dram(1, energy_uj=0)
    measurement = measure(tmp_path, zones)
    how = "its DRAM zone stands at 0" if stands_at_zero else "shows no DRAM zone"
    told = f"cpu_ram: package-1: {how}: its memory is not in this sum"
    assert flags(measurement, "dram_partial") == [told]
    assert dram(measurement)["status"] == "measured"
    (unused,) = dram(measurement)["zones_not_used"]
    assert unused["zone"] == ("intel-rapl:1:0" if stands_at_zero else "intel-rapl:1")


@pytest.mark.parametrize("packages", [1, 2])
def test_dram_of_every_package_is_the_whole_sum_and_none_at_all_is_an_absence(tmp_path, packages):
    tree = PowercapTree(tmp_path)
    zones = {tree.add_package(number): steady(60) for number in range(packages)}
    absent = measure(tmp_path, zones)
    assert flags(absent, "dram_partial") == []
    assert dram(absent)["reason"] == "this machine shows no DRAM domain"
    (tmp_path / "energy").rename(tmp_path / "before")
    zones |= {tree.add_dram(number): steady(5) for number in range(packages)}
    assert flags(measure(tmp_path, zones), "dram_partial") == []


def test_a_die_without_dram_is_named(tmp_path):
    tree = PowercapTree(tmp_path)
    first = tree.add_package(0, name="package-0-die-0")
    second = tree.add_package(1, name="package-0-die-1")
    zones = {first: steady(60), second: steady(30), tree.add_dram(1): steady(5)}
    (told,) = flags(measure(tmp_path, zones), "dram_partial")
    assert "package-0-die-0" in told


@pytest.mark.parametrize("part", ["package", "dram"])
def test_a_zone_that_appears_within_the_session_is_named_as_not_in_the_sum(tmp_path, part):
    tree = PowercapTree(tmp_path)
    zones = {tree.add_package(0): steady(60), tree.add_dram(0): steady(5)}
    later = {
        "package": lambda: tree.add_package(1),
        "dram": lambda: tree.add_dram(0, 1, energy_uj=7),
    }[part]
    measurement = measure(tmp_path, zones, midway=lambda: later() and None)
    domain, name = {
        "package": ("cpu_pkg", "package-1"),
        "dram": ("cpu_ram", "package-0/dram (intel-rapl:0:1)"),
    }[part]
    assert flags(measurement, "zone_appeared") == [
        f"{domain}: {name} appeared later: it is not in this sum"
    ]
    assert measurement.energy_metrics()["cpu_energy_pkg_joules"] == pytest.approx(18, rel=0.05)


def test_a_dram_zone_that_lies_in_no_package_is_the_reason_of_the_absence(tmp_path):
    tree = PowercapTree(tmp_path)
    zones = {tree.add_package(0): steady(60), tree.add_zone("intel-rapl:1", "dram"): steady(5)}
    domain = dram(measure(tmp_path, zones))
    (unused,) = domain["zones_not_used"]
    assert unused["reason"] == "lies in no package, so that nobody knows whose memory it measures"
    assert domain["reason"] == f"its DRAM zone intel-rapl:1 {unused['reason']}"


def test_a_dram_zone_of_a_rejected_zone_is_the_reason_of_the_absence(tmp_path):
    tree = PowercapTree(tmp_path)
    package = tree.add_package(0)
    tree.add_zone("intel-rapl-mmio:0", "package-0")
    tree.add_zone("intel-rapl-mmio:0:0", "dram")
    reason = dram(measure(tmp_path, {package: steady(60)}))["reason"]
    assert "intel-rapl-mmio:0:0 belongs to intel-rapl-mmio:0, which repeats package-0" in reason


def set_limit(zone: Path, watts: float) -> Callable[[], None]:
    return lambda: (zone / "constraint_0_power_limit_uw").write_text(f"{watts * 1e6:.0f}\n")


def test_a_limit_that_a_daemon_raised_after_the_search_judges(tmp_path):
    package = PowercapTree(tmp_path).add_package(0, limit_watts=30)
    measurement = measure(tmp_path, {package: steady(60)}, found=set_limit(package, 125))
    assert measurement.faults == ()
    (zone,) = measurement.provenance()["domains"]["cpu_pkg"]["zones"]
    assert zone["limit_watts"] == 125


def test_a_limit_that_a_daemon_raised_within_the_window_judges(tmp_path):
    package = PowercapTree(tmp_path).add_package(0, limit_watts=30)
    measurement = measure(tmp_path, {package: steady(60)}, midway=set_limit(package, 125))
    assert measurement.faults == ()


def test_a_limit_that_a_daemon_lowered_within_the_window_does_not_judge_what_was_before(tmp_path):
    package = PowercapTree(tmp_path).add_package(0, limit_watts=125)
    measurement = measure(tmp_path, {package: steady(60)}, midway=set_limit(package, 15))
    assert measurement.faults == ()


def test_a_limit_that_never_moved_still_refuses(tmp_path):
    package = PowercapTree(tmp_path).add_package(0, limit_watts=30)
    measurement = measure(tmp_path, {package: steady(60)})
    assert [fault.gate for fault in measurement.faults] == ["power_range"]


def test_an_idle_baseline_that_is_interrupted_leaves_no_window_open(tmp_path, monkeypatch):
    package = PowercapTree(tmp_path).add_package(0)
    closed = []
    with running({package: steady(60)}), find_sensors(tmp_path) as sensors:
        opened = sensors.open_window

        def interrupted(folder):
            window = opened(folder)
            leave = window.abandon
            monkeypatch.setattr(window, "abandon", lambda: (closed.append(True), leave()))
            monkeypatch.setattr(window, "wait", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            return window

        monkeypatch.setattr(sensors, "open_window", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sensors.measure_idle(1.0, tmp_path / "idle")
        assert closed
        monkeypatch.undo()
        assert sensors.measure_idle(0.3)["package-0"] == pytest.approx(60, rel=0.2)


def test_a_window_opens_only_once_a_counter_that_stood_still_has_moved(tmp_path):
    package, clock = PowercapTree(tmp_path).add_package(0), FakeTime()
    events = [Event("text", 1.0, "900000\n"), Event("restore", 1.7)]
    with running({package: steady(60)}, clock, events) as writer, find_sensors(tmp_path) as sensors:
        sensors.learn_periods()
        clock.sleep(1.2)
        window = sensors.open_window(tmp_path / "energy")
        window.wait((), window.opened_ns + 1_000_000_000)
        measurement = window.close()
        truth = writer.energy_joules(package, measurement.opened_ns, measurement.closed_ns)
    assert measurement.faults == ()
    assert measurement.energy_metrics()["cpu_energy_pkg_joules"] == pytest.approx(truth, abs=1.2)


def test_a_garbled_reading_at_the_opening_edge_is_taken_back(tmp_path, monkeypatch):
    package = PowercapTree(tmp_path).add_package(0)
    opened = CounterTrack.open
    readings = []

    def garbled(track: CounterTrack, at_ns: int, value: int) -> bool:
        readings.append(value)
        return opened(track, at_ns, value + (900_000_000 if len(readings) == 1 else 0))

    monkeypatch.setattr(CounterTrack, "open", garbled)
    measurement = measure(tmp_path, {package: steady(60)})
    assert measurement.faults == ()
    assert measurement.energy_metrics()["cpu_energy_pkg_joules"] == pytest.approx(18, rel=0.05)
    assert len(readings) == 2


class Hiccup:
    """Reads of a counter that fail for a while, from the first one on after it was `armed`."""

    def __init__(self, clock: FakeTime, seconds: float) -> None:
        self.armed = False
        self._clock, self._nanoseconds = clock, int(seconds * 1e9)
        self._until_ns: int | None = None
        self._read = powercap.read_microjoules

    def read(self, path: str) -> int:
        if self.armed and self._until_ns is None:
            self._until_ns = self._clock.now_ns + self._nanoseconds
        if self._until_ns is not None and self._clock.now_ns < self._until_ns:
            raise ReadingError("read_failed", f"{path}: holds 'banana' instead of a number")
        return self._read(path)


def test_a_late_reading_at_the_closing_edge_widens_the_stated_uncertainty(tmp_path, monkeypatch):
    package = PowercapTree(tmp_path).add_package(0)
    clock = FakeTime()
    hiccup = Hiccup(clock, 0.04)
    monkeypatch.setattr(powercap, "read_microjoules", hiccup.read)
    with running({package: steady(60)}, clock) as writer, find_sensors(tmp_path) as sensors:
        window = sensors.open_window(tmp_path / "energy")
        window.wait((), window.opened_ns + 1_000_000_000)
        hiccup.armed = True
        measurement = window.close()
        truth = writer.energy_joules(package, measurement.opened_ns, measurement.closed_ns)
    domain = measurement.provenance()["domains"]["cpu_pkg"]
    assert domain["failed_reads"] >= 1
    assert measurement.faults == ()
    assert domain["edge_uncertainty_joules"] >= 60 * 0.03
    assert domain["energy_joules"] == pytest.approx(truth, abs=domain["edge_uncertainty_joules"])
