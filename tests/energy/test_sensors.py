"""Looking for sensors: what is promised, what is absent and why, and what stops the session."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pynvml  # noqa: F401 - imported while root may still read it
import pytest
from fakes.clock import FakeTime
from fakes.powercap import PowercapTree, PowercapWriter
from fakes.profile import Profile, steady

from wattest.energy import Sensors, design_values, find_sensors
from wattest.errors import SensorPermissionError

NOBODY = 65534


@pytest.fixture
def machine() -> Iterator[Path]:
    """A root for /sys and /proc that any user may enter."""
    root = Path(tempfile.mkdtemp(prefix="wattest-machine-"))
    root.chmod(0o755)
    (root / "proc").mkdir()
    yield root
    for folder in (root / "sys/class/powercap", root / "sys/class/powercap/intel-rapl:0"):
        if folder.is_dir():
            folder.chmod(0o755)
    shutil.rmtree(root)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Without root's right to read every file, whoever runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def find(machine: Path, *allow_missing: str) -> Sensors:
    return find_sensors(machine / "sys", machine / "proc", frozenset(allow_missing))


def test_zones_that_may_not_be_read_stop_the_session_each_with_its_remedy(machine):
    tree = PowercapTree(machine / "sys")
    for zone in (tree.add_package(0), tree.add_dram(0), tree.add_package(1)):
        (zone / "energy_uj").chmod(0o000)
    kernel = machine / "proc" / "sys" / "kernel"
    kernel.mkdir(parents=True)
    (kernel / "perf_event_paranoid").write_text("3\n")
    with ordinary_user(), pytest.raises(SensorPermissionError) as stopped:
        find(machine)
    lines = str(stopped.value).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("cpu package-0: exists but cannot be read: ")
    assert lines[1].startswith("cpu package-0/dram: ")
    assert lines[2].startswith("cpu package-1: ")
    for remedy in (
        "Permission denied",
        "run under sudo",
        "/etc/udev/rules.d/70-powercap.rules",
        'SUBSYSTEM=="powercap"',
        "sudo usermod -aG energy $USER",
        "kernel.perf_event_paranoid=0 (now 3)",
        "cap_perfmon",
        "--allow-missing cpu",
    ):
        assert remedy in lines[0]


def test_a_missing_permission_can_be_accepted(machine):
    zone = PowercapTree(machine / "sys").add_package(0)
    (zone / "energy_uj").chmod(0o000)
    with (
        ordinary_user(),
        find(machine, "cpu") as sensors,
    ):
        assert sensors.promised() == ()
        finding = next(one for one in sensors.findings if one.name == "package-0")
        assert finding.status == "unreadable"
        assert "accepted by --allow-missing cpu" in finding.statement
        assert finding.remedy is not None


def test_an_accepted_package_leaves_no_sum_of_the_others(machine, tmp_path):
    tree = PowercapTree(machine / "sys")
    first, second, dram = tree.add_package(0), tree.add_package(1), tree.add_dram(0)
    (second / "energy_uj").chmod(0o000)
    clock = FakeTime()
    writer = PowercapWriter({first: steady(50), dram: steady(5)}).within(clock)
    with clock.everywhere(), writer, ordinary_user(), find(machine, "cpu") as sensors:
        assert sensors.promised() == ("package-0/dram",)
        folder = Path(tempfile.mkdtemp(prefix="wattest-energy-"))
        window = sensors.open_window(folder)
        window.wait((), window.opened_ns + 400_000_000)
        measurement = window.close()
        metrics = measurement.energy_metrics()
        shutil.rmtree(folder)
    packages = measurement.provenance()["domains"]["cpu_pkg"]
    assert packages["status"] == "unavailable"
    assert "package-1: " in packages["reason"]
    assert "accepted by --allow-missing cpu" in packages["reason"]
    assert len(packages["zones_not_used"]) == 2
    assert metrics["cpu_energy_pkg_joules"] is None
    assert metrics["cpu_energy_total_joules"] is None
    assert metrics["cpu_energy_ram_joules"] == pytest.approx(2, abs=0.3)


def close_folder(machine: Path) -> str:
    (zone := machine / "sys/class/powercap/intel-rapl:0").chmod(0)
    return f"sudo chmod a+rX {zone}"


def close_name(machine: Path) -> str:
    (name := machine / "sys/class/powercap/intel-rapl:0/name").chmod(0o000)
    return f"sudo chmod a+rX {name}"


def clear_name(machine: Path) -> str:
    (machine / "sys/class/powercap/intel-rapl:0/name").write_text("")
    return "mend this file of the powercap tree"


def cut_link(machine: Path) -> str:
    link = machine / "sys/class/powercap/intel-rapl:0"
    shutil.rmtree(link)
    link.symlink_to("nowhere")
    return f"mount devices/virtual/powercap below {machine / 'sys'}"


def close_tree(machine: Path) -> str:
    (tree := machine / "sys/class/powercap").chmod(0)
    return f"sudo chmod a+rX {tree}"


@pytest.mark.parametrize("break_it", [close_folder, close_name, clear_name, cut_link, close_tree])
def test_a_package_that_is_hidden_stops_the_session_or_is_accepted(machine, break_it):
    tree = PowercapTree(machine / "sys")
    zones = tree.add_package(0), tree.add_package(1), tree.add_dram(1)
    with PowercapWriter({zone: steady(50) for zone in zones[1:]}):
        remedy = break_it(machine)
        with ordinary_user(), pytest.raises(SensorPermissionError) as stopped:
            find(machine)
        with ordinary_user(), find(machine, "cpu") as sensors:
            # Of a package whose folder is closed, nobody knows whether it has DRAM.
            knows_dram = break_it in (close_name, clear_name)
            assert sensors.promised() == (("package-1/dram",) if knows_dram else ())
            reasons = [one.statement for one in sensors.findings if one.status == "unreadable"]
    (line,) = str(stopped.value).splitlines()
    assert "exists but cannot be read" in line
    assert remedy in line
    assert "--allow-missing cpu" in line
    assert any("accepted by --allow-missing cpu" in reason for reason in reasons)


def test_a_zone_that_cannot_be_read_for_another_reason_stops_the_session_too(machine):
    zone = PowercapTree(machine / "sys").add_package(0)
    (zone / "energy_uj").write_text("")
    with pytest.raises(SensorPermissionError, match="mend this file of the powercap tree"):
        find(machine)


def test_a_machine_without_sensors_says_so_and_promises_nothing(machine):
    with find(machine) as sensors:
        assert sensors.promised() == ()
        assert [finding.status for finding in sensors.findings] == ["unavailable"] * 2
        assert "no energy counters under" in sensors.findings[0].reason
        assert sensors.findings[0].remedy == "sudo modprobe intel_rapl_msr"
        assert sensors.describe().startswith("CPU not measured (no energy counters")
        assert sensors.gpu_processes() == {}
        assert sensors.gpu_state() == ()
        assert sensors.hardware() == {}


def test_a_virtual_machine_is_told_as_such(machine):
    (machine / "proc" / "cpuinfo").write_text("flags\t\t: fpu sse2 hypervisor lahf_lm\n")
    with find(machine) as sensors:
        assert "virtual machine" in sensors.findings[0].reason
        assert sensors.findings[0].remedy is None


def test_a_half_mounted_tree_is_told_with_the_mount_that_is_missing(machine):
    PowercapTree(machine / "sys", "device").add_package()
    shutil.rmtree(machine / "sys" / "devices")
    with find(machine) as sensors:
        assert "the powercap tree is not whole" in sensors.findings[0].reason
        assert "mount devices/virtual/powercap" in str(sensors.findings[0].remedy)


def test_a_tree_without_packages_lists_what_it_has(machine):
    PowercapTree(machine / "sys").add_zone("intel-rapl:0", "psys")
    with find(machine) as sensors:
        reasons = {finding.name: finding.reason for finding in sensors.findings}
    assert "no package among them" in reasons["cpu"]
    assert "count them twice" in reasons["psys"]


def test_the_header_names_what_is_measured(machine):
    tree = PowercapTree(machine / "sys")
    writer = PowercapWriter({tree.add_package(0): steady(50), tree.add_dram(0): steady(5)})
    with writer, find(machine) as sensors:
        line = sensors.describe()
    assert line.startswith("CPU package-0, package-0/dram by powercap; GPU not measured (")
    assert "\n" not in line


def test_a_package_that_does_not_move_is_promised_all_the_same(machine):
    PowercapTree(machine / "sys").add_package(0)
    with find(machine) as sensors:
        assert sensors.promised() == ("package-0",)
        assert "did not move in the probe" in sensors.findings[0].reason


def test_the_search_is_short_though_a_counter_is_slow(machine):
    PowercapTree(machine / "sys").add_package(0)
    clock = FakeTime()
    began_ns = clock.now_ns
    with clock.everywhere(), find(machine) as sensors:
        # 0.2 s of watching; what is left of 2.2 s passes before the first window.
        assert clock.now_ns - began_ns < 300_000_000
        assert "did not move in the probe of 0.2 s" in sensors.findings[0].reason
        sensors.learn_periods()
        assert 2_200_000_000 <= clock.now_ns - began_ns < 2_300_000_000
        assert "did not move in the probe of 2.2 s" in sensors.findings[0].reason


def test_dram_that_moves_only_later_is_measured_and_flagged_and_was_not_promised(machine, tmp_path):
    tree = PowercapTree(machine / "sys")
    package, dram = tree.add_package(0), tree.add_dram(0, energy_uj=0)
    clock = FakeTime()
    writer = PowercapWriter({package: steady(60)}).within(clock)
    with clock.everywhere(), writer, find(machine) as sensors:
        assert sensors.promised() == ("package-0",)
        with PowercapWriter({dram: steady(5)}, log=machine / "later.jsonl").within(clock):
            window = sensors.open_window(tmp_path / "energy")
            window.wait((), window.opened_ns + 600_000_000)
            measurement = window.close()
        assert sensors.promised() == ("package-0",)
    assert measurement.energy_metrics()["cpu_energy_ram_joules"] == pytest.approx(3, abs=0.1)
    assert "late_counter" in [flag.gate for flag in measurement.flags]


def test_the_idle_baseline_is_measured_and_judges_later_windows(machine, tmp_path):
    package = PowercapTree(machine / "sys").add_package(0)
    trigger, clock = tmp_path / "trigger", FakeTime()
    falling = Profile(((0.0, 100.0), (0.0, 20.0)))
    writer = PowercapWriter({package: falling}, trigger=trigger).within(clock)
    with clock.everywhere(), writer, find(machine) as sensors:
        assert sensors.measure_idle(0.5)["package-0"] == pytest.approx(100, rel=0.02)
        trigger.touch()
        window = sensors.open_window(tmp_path / "energy")
        window.wait((), window.opened_ns + 500_000_000)
        measurement = window.close()
    assert measurement.energy_metrics()["cpu_energy_pkg_joules"] is None
    assert [fault.gate for fault in measurement.faults] == ["power_range"]
    assert "far below its" in measurement.faults[0].text


def test_every_design_value_goes_into_a_record():
    values = design_values()
    assert values["window_flag_seconds"] == 10.0
    assert values["counter_integral_invalid_percent"] == 10.0
    units = ("percent", "seconds", "watts", "periods", "min", "max", "ratio", "share")
    assert all(name.endswith(units) for name in values)
