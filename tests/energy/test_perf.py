"""CPU energy through `perf stat`, where the powercap tree gives nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fakes.perf import DRAM, PACKAGE, ChildOfTest, install_fake_perf
from fakes.powercap import PowercapTree

from wattest.energy import Measurement, SensorConfig, find_sensors
from wattest.energy.cpu.perf_log import IntervalLog
from wattest.errors import SensorPermissionError

NO_PERMISSION = (
    "Error: No permission to enable power/energy-pkg/ event. "
    "Consider adjusting /proc/sys/kernel/perf_event_paranoid"
)


@pytest.fixture(autouse=True)
def children() -> Iterator[list[ChildOfTest]]:
    """Every perf that was started; none may be left over."""
    ChildOfTest.started.clear()
    yield ChildOfTest.started
    left = [child for child in ChildOfTest.started if child.poll() is None]
    for child in left:
        child.close()
    assert not left


@pytest.fixture
def perf(tmp_path, monkeypatch):
    """Installs a fake perf as the only one."""

    def install(**plan) -> SensorConfig:
        folder = install_fake_perf(tmp_path / "bin", **plan)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        (tmp_path / "proc" / "sys" / "kernel").mkdir(parents=True)
        (tmp_path / "proc" / "sys" / "kernel" / "perf_event_paranoid").write_text("2\n")
        return SensorConfig(
            sys_root=tmp_path / "sys", proc_root=tmp_path / "proc", perf_launcher=ChildOfTest
        )

    return install


def measure(config: SensorConfig, folder: Path, seconds: float) -> Measurement:
    with find_sensors(config) as sensors:
        window = sensors.meter().open(folder)
        window.wait((), window.opened_ns + int(seconds * 1e9))
        return window.close()


def test_perf_measures_packages_and_dram_from_edge_to_edge(perf, tmp_path, children):
    config = perf(watts={PACKAGE: 80.0, DRAM: 6.0})
    measurement = measure(config, tmp_path / "energy", 1.25)
    seconds = (measurement.closed_ns - measurement.opened_ns) / 1e9
    metrics = measurement.energy_metrics()
    domain = measurement.provenance()["domains"]["cpu_pkg"]
    assert measurement.faults == ()
    assert domain["source"] == "perf"
    assert domain["edge_uncertainty_percent"] < 8
    assert metrics["cpu_energy_pkg_joules"] == pytest.approx(
        80 * seconds, abs=domain["edge_uncertainty_joules"] + 0.3
    )
    assert metrics["cpu_energy_ram_joules"] == pytest.approx(6 * seconds, rel=0.08)
    assert children[-1].command[:2] == ["env", "LC_ALL=C"]


def test_perf_without_dram_leaves_dram_null(perf, tmp_path):
    measurement = measure(perf(watts={PACKAGE: 80.0}), tmp_path / "energy", 0.5)
    assert measurement.energy_metrics()["cpu_energy_ram_joules"] is None
    assert measurement.energy_metrics()["cpu_energy_pkg_joules"] is not None
    assert measurement.provenance()["domains"]["cpu_ram"]["status"] == "unavailable"


def test_powercap_comes_before_perf(perf, tmp_path, children):
    config = perf(watts={PACKAGE: 80.0})
    PowercapTree(config.sys_root).add_package()
    with find_sensors(config) as sensors:
        assert [finding.source for finding in sensors.findings if finding.source] == ["powercap"]
    assert children == []


def test_perf_is_used_where_a_zone_exists_but_cannot_be_read(perf, tmp_path):
    config = perf(watts={PACKAGE: 80.0})
    zone = PowercapTree(config.sys_root).add_package()
    (zone / "energy_uj").unlink()
    (zone / "energy_uj").mkdir()
    with find_sensors(config) as sensors:
        sources = {finding.name: finding.source for finding in sensors.findings}
    assert sources == {PACKAGE: "perf", "package-0": None, "gpu": None}


FAILURES = {
    "dies": ({"dies_after": 0.7}, "source_lost", "perf ended with exit code 1"),
    "is stuck": ({"stuck_after": 0.6}, "counter_frozen", "frozen"),
    "stands still for a while": ({"zero": [0.7, 1.3]}, "counter_frozen", "did not catch up"),
    "is blind": ({"blind_after": 0.7}, "read_failed", "could not count"),
    "stops": ({"stops_after": 0.7}, "source_lost", "it printed no interval for 1."),
    "stops late": ({"stops_after": 1.6}, "source_lost", "of a window of 2.0"),
    "falls silent": ({"quiet": [0.7, 1e9]}, "source_lost", "it printed no interval for 1."),
    "falls silent late": ({"quiet": [1.6, 1e9]}, "source_lost", "of a window of 2.0"),
    "is silent for a while": ({"quiet": [0.5, 1.8]}, "source_lost", "printed no interval for 1."),
}


@pytest.fixture(scope="module")
def failures(tmp_path_factory) -> Mapping[str, Measurement]:
    """A window under each perf that fails, all at once."""
    root = tmp_path_factory.mktemp("failures")

    def play(name: str) -> Measurement:
        folder = root / name
        own = install_fake_perf(folder / "bin", watts={PACKAGE: 80.0}, **FAILURES[name][0]) / "perf"

        def launch(command: Sequence[str], log: Path) -> ChildOfTest:
            return ChildOfTest([str(own) if one == found else one for one in command], log)

        config = SensorConfig(
            sys_root=folder / "sys", proc_root=folder / "proc", perf_launcher=launch
        )
        return measure(config, folder / "energy", 2.0)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(len(FAILURES)) as pool:
        found = str(install_fake_perf(root / "bin") / "perf")
        patch.setenv("PATH", f"{root / 'bin'}:/usr/bin:/bin")
        return dict(zip(FAILURES, pool.map(play, FAILURES), strict=True))


@pytest.mark.parametrize("name", FAILURES)
def test_a_perf_that_fails_midway_is_refused(failures, name):
    _, gate, words = FAILURES[name]
    measurement = failures[name]
    assert measurement.energy_metrics()["cpu_energy_pkg_joules"] is None
    assert [fault.gate for fault in measurement.faults] == [gate]
    assert words in measurement.faults[0].text


def test_a_perf_that_hangs_shows_no_more_power(perf, tmp_path):
    config = perf(watts={PACKAGE: 80.0}, stops_after=1.4)
    with find_sensors(config) as sensors, sensors.meter().open(tmp_path / "energy") as window:
        window.wait((), window.opened_ns + 1_000_000_000)
        before = window.latest()
        window.wait((), window.opened_ns + 3_000_000_000)
        after = window.latest()
    assert before.cpu_watts == pytest.approx(80, rel=0.1)
    assert (after.cpu_watts, after.cpu_joules) == (None, None)


def test_an_interval_that_was_cut_short_is_counted_as_lost(tmp_path):
    path = tmp_path / "log"
    log = IntervalLog(path, [PACKAGE])
    lines = f"  1.0,5.00,Joules,{PACKAGE},1,100.00,,\n  1.1,5.  1.2,5.00,Joules,{PACKAGE},1,100,,\n"
    path.write_text(lines)
    log.read()
    assert (log.sums[PACKAGE].intervals, log.sums[PACKAGE].failed) == (1, 1)


def test_another_unit_than_joules_is_no_energy(tmp_path):
    path = tmp_path / "log"
    log = IntervalLog(path, [PACKAGE])
    path.write_text(f"1.0,5.00,Joules,{PACKAGE},1,100.00,,\n1.1,500.00,mJ,{PACKAGE},1,100.00,,\n")
    log.read()
    assert (log.sums[PACKAGE].joules, log.sums[PACKAGE].failed) == (5.0, 1)


def test_the_rounding_of_every_interval_is_part_of_the_uncertainty(perf, tmp_path):
    measurement = measure(perf(watts={PACKAGE: 0.54}), tmp_path / "energy", 2.0)
    domain = measurement.provenance()["domains"]["cpu_pkg"]
    seconds = (measurement.closed_ns - measurement.opened_ns) / 1e9
    assert domain["resolution_joules"] == 0.01
    assert domain["edge_uncertainty_joules"] >= 0.005 * domain["samples"]
    truth = pytest.approx(0.54 * seconds, abs=domain["edge_uncertainty_joules"] + 0.01)
    assert domain["energy_joules"] == truth


def test_a_perf_that_may_not_count_stops_the_session_with_the_remedy(perf, tmp_path):
    config = perf(refuses=NO_PERMISSION)
    (config.sys_root / "bus" / "event_source" / "devices" / "power").mkdir(parents=True)
    with pytest.raises(SensorPermissionError) as stopped:
        find_sensors(config)
    assert "sudo sysctl kernel.perf_event_paranoid=0 (now 2)" in str(stopped.value)
    assert "cap_perfmon" in str(stopped.value)


def test_a_machine_without_the_power_unit_is_a_stated_absence(perf):
    config = perf(refuses="event syntax error: Cannot find PMU `power'. Missing kernel support?")
    with find_sensors(config) as sensors:
        assert sensors.promised() == ()
        assert {finding.status for finding in sensors.findings} == {"unavailable"}


def test_a_window_that_is_abandoned_leaves_no_perf(perf, tmp_path, children):
    def interrupted() -> None:
        config = perf(watts={PACKAGE: 80.0})
        with find_sensors(config) as sensors, sensors.meter().open(tmp_path / "energy"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert all(child.poll() is not None for child in children)


def test_the_log_is_read_as_it_grows_even_in_the_middle_of_a_line(tmp_path):
    path = tmp_path / "log"
    log = IntervalLog(path, [PACKAGE])
    log.read()
    path.write_text(f"# started on some day\n     1.0,5.00,Joules,{PACKAGE},1,100.00,,\n  2.0,7.")
    log.read()
    assert log.sums[PACKAGE].joules == 5.0
    with path.open("a") as file:
        file.write(f"50,Joules,{PACKAGE},1,100.00,,\n 3.0,nan,Joules,{PACKAGE},1,100.00,,\n")
        file.write(f" 4.0,-3.0,Joules,{PACKAGE},1,100.00,,\nperf: warning\n")
    log.read()
    one = log.sums[PACKAGE]
    assert (one.joules, one.intervals, one.failed) == (12.5, 2, 2)
    assert log.others == ["perf: warning"]
