"""Which zones of a powercap tree are added up, on the machines that there are."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.powercap import PowercapTree

from wattest.energy.counter import Counter
from wattest.energy.cpu.powercap import search_powercap
from wattest.energy.cpu.zones import Zone

LONG = pytest.param("7" * 65, id="65 digits")
HUGE = pytest.param("9" * 5000, id="5000 digits")


@dataclass
class Found:
    """What the tree offers, sorted."""

    zones: list[Zone]
    counters: list[Counter]
    problems: list[str]

    @property
    def rejected(self) -> list[Zone]:
        return [zone for zone in self.zones if not zone.domain]

    @property
    def unreadable(self) -> list[Zone]:
        return [zone for zone in self.zones if zone.domain and zone.fault is not None]


def search(root: Path) -> Found:
    return Found(*search_powercap(root))


def labels(found: Found) -> list[str]:
    return [counter.label for counter in found.counters]


@pytest.mark.parametrize("layout", ["class", "device"])
def test_two_sockets_with_dram_are_found_in_either_layout(tmp_path, layout):
    tree = PowercapTree(tmp_path, layout)
    for socket in (0, 1):
        tree.add_package(socket, energy_uj=socket + 1)
        tree.add_zone(f"intel-rapl:{socket}:0", "core")
        tree.add_dram(socket, 1)
    found = search(tmp_path)
    assert labels(found) == ["package-0", "package-0/dram", "package-1", "package-1/dram"]
    assert [zone.id for zone in found.rejected] == ["intel-rapl:0:0", "intel-rapl:1:0"]


def test_the_devices_are_found_where_the_class_folder_is_not_mounted(tmp_path):
    PowercapTree(tmp_path, "device").add_package()
    shutil.rmtree(tmp_path / "class")
    assert labels(search(tmp_path)) == ["package-0"]


def test_links_that_lead_nowhere_are_a_problem_and_no_zone(tmp_path):
    PowercapTree(tmp_path, "device").add_package()
    shutil.rmtree(tmp_path / "devices")
    found = search(tmp_path)
    assert found.counters == []
    assert "which is not there" in found.problems[0]


def test_every_die_of_a_package_counts(tmp_path):
    tree = PowercapTree(tmp_path)
    for number in range(4):
        name = f"package-{number // 2}-die-{number % 2}"
        tree.add_package(number, name=name, energy_uj=number + 1)
    assert labels(search(tmp_path)) == [
        "package-0-die-0",
        "package-0-die-1",
        "package-1-die-0",
        "package-1-die-1",
    ]


def test_amd_has_a_package_and_a_core_zone(tmp_path):
    tree = PowercapTree(tmp_path)
    tree.add_package(0)
    tree.add_zone("intel-rapl:0:0", "core")
    found = search(tmp_path)
    assert labels(found) == ["package-0"]
    assert found.rejected[0].reason == "lies inside its package"


def test_mmio_counts_where_it_is_the_only_interface(tmp_path):
    tree = PowercapTree(tmp_path)
    tree.add_zone("intel-rapl-mmio:0", "package-0")
    assert labels(search(tmp_path)) == ["package-0"]


def test_namesakes_with_one_counter_count_once(tmp_path):
    tree = PowercapTree(tmp_path)
    tree.add_package(0, energy_uj=5)
    tree.add_package(1, name="package-0", energy_uj=5)
    found = search(tmp_path)
    assert labels(found) == ["package-0"]
    assert "shows the same counter" in found.rejected[0].reason


def test_two_drams_of_one_package_with_one_counter_count_once(tmp_path):
    tree = PowercapTree(tmp_path)
    tree.add_package(0)
    for part, energy_uj in enumerate((5, 5, 6)):
        tree.add_dram(0, part, energy_uj=energy_uj)
    found = search(tmp_path)
    twin = "package-0/dram (intel-rapl:0:2)"
    assert labels(found) == ["package-0", "package-0/dram", twin]
    assert "shows the same counter" in found.rejected[0].reason


def test_a_package_inside_a_package_is_not_added_to_it(tmp_path):
    tree = PowercapTree(tmp_path)
    tree.add_package(0)
    tree.add_zone("intel-rapl:0:0", "package-1", energy_uj=7)
    found = search(tmp_path)
    assert labels(found) == ["package-0"]
    assert found.rejected[0].reason == "lies inside package-0, which is added up"


@pytest.mark.parametrize("zone", ["intel-rapl:1", "intel-rapl:7:0"])
@pytest.mark.parametrize("name", ["core", "uncore", "dram"])
def test_a_part_that_lies_in_no_package_is_not_said_to(tmp_path, zone, name):
    tree = PowercapTree(tmp_path)
    tree.add_package(0)
    tree.add_zone(zone, name)
    (rejected,) = search(tmp_path).rejected
    lies = "lies in no package" if name == "dram" else "though it is not shown in one"
    assert lies in rejected.reason


def test_a_limit_that_no_package_has_hides_no_jump(tmp_path):
    tree = PowercapTree(tmp_path)
    tree.add_package(0, limit_watts=2**64 / 1e6)
    (counter,) = search(tmp_path).counters
    assert counter.most_watts == 5000


def test_namesakes_with_counters_of_their_own_are_two_dies(tmp_path):
    tree = PowercapTree(tmp_path)
    tree.add_package(0, energy_uj=5)
    tree.add_package(1, name="package-0", energy_uj=7_000_000)
    assert labels(search(tmp_path)) == ["package-0", "package-0 (intel-rapl:1)"]


def lose_name(folder: Path) -> None:
    (folder / "name").unlink()


def hide_name(folder: Path) -> None:
    lose_name(folder)
    (folder / "name").mkdir()


def clear_name(folder: Path) -> None:
    (folder / "name").write_text("\n")


def garble_name(folder: Path) -> None:
    (folder / "name").write_bytes(b"package-0\x00\x01")


def lengthen_name(folder: Path) -> None:
    (folder / "name").write_text("package-0" * 1000)


def pipe_name(folder: Path) -> None:
    lose_name(folder)
    os.mkfifo(folder / "name")


def lose_counter(folder: Path) -> None:
    (folder / "energy_uj").unlink()


def lose_device(folder: Path) -> None:
    shutil.rmtree(folder)


FAULTS = {
    lose_name: "No such file",
    hide_name: "Is a directory",
    clear_name: "holds no name",
    garble_name: "holds no name",
    lengthen_name: "holds more than 256 bytes",
    pipe_name: "holds no name",
    lose_counter: "has no energy_uj",
    lose_device: "which is not there",
}


@pytest.mark.parametrize("break_it", FAULTS, ids=lambda break_it: break_it.__name__)
def test_a_package_that_may_be_missing_from_the_sum_is_unreadable(tmp_path, break_it):
    tree = PowercapTree(tmp_path, "device")
    first = tree.add_package(0)
    tree.add_package(1)
    break_it(first)
    found = search(tmp_path)
    assert labels(found) == ["package-1"]
    (zone,) = found.unreadable
    assert (zone.id, zone.domain) == ("intel-rapl:0", "cpu_pkg")
    assert FAULTS[break_it] in str(zone.fault)


def test_a_zone_of_another_interface_without_a_name_is_unreadable_too(tmp_path):
    tree = PowercapTree(tmp_path)
    tree.add_package(0)
    clear_name(tree.add_zone("other-rapl:0", "package-1"))
    assert [zone.id for zone in search(tmp_path).unreadable] == ["other-rapl:0"]


@pytest.mark.parametrize("break_it", [lose_name, lose_counter])
def test_what_no_sum_needs_may_be_broken_and_is_listed_with_the_reason(tmp_path, break_it):
    tree = PowercapTree(tmp_path)
    tree.add_package(0)
    spare = [
        tree.add_zone("intel-rapl-mmio:0", "package-0"),
        tree.add_zone("intel-rapl:0:0", "core"),
    ]
    for folder in spare:
        break_it(folder)
    found = search(tmp_path)
    assert labels(found) == ["package-0"]
    assert found.unreadable == []
    reasons = {zone.id: zone.reason for zone in found.rejected}
    assert sorted(reasons) == [folder.name for folder in spare]
    assert all(FAULTS[break_it] in reason for reason in reasons.values())


@pytest.mark.parametrize("name", ["psys", "soc"])
def test_a_zone_that_is_no_package_may_lack_a_counter(tmp_path, name):
    tree = PowercapTree(tmp_path)
    tree.add_package(0)
    lose_counter(tree.add_zone("intel-rapl:1", name))
    found = search(tmp_path)
    assert labels(found) == ["package-0"]
    assert found.unreadable == []


def test_the_folders_of_control_types_are_no_zones(tmp_path):
    PowercapTree(tmp_path, "device").add_package()
    control = tmp_path / "class" / "powercap" / "intel-rapl"
    control.symlink_to(Path("..") / ".." / "devices" / "virtual" / "powercap" / "intel-rapl")
    found = search(tmp_path)
    assert labels(found) == ["package-0"]
    assert (found.rejected, found.unreadable) == ([], [])


def test_a_dead_link_does_not_matter_where_the_device_itself_is_found(tmp_path):
    PowercapTree(tmp_path, "device").add_package()
    link = tmp_path / "class" / "powercap" / "intel-rapl:0"
    link.unlink()
    link.symlink_to("nowhere")
    found = search(tmp_path)
    assert labels(found) == ["package-0"]
    assert found.unreadable == []


@pytest.mark.parametrize("text", ["", "lots", "-1", "0", "12.5", LONG, HUGE])
def test_a_range_that_is_no_number_is_unknown(tmp_path, text):
    PowercapTree(tmp_path).add_package(range_uj=text)
    assert search(tmp_path).counters[0].max_range is None


def test_a_range_below_the_counter_is_unknown(tmp_path):
    PowercapTree(tmp_path).add_package(energy_uj=5_000, range_uj=1_000)
    assert search(tmp_path).counters[0].max_range is None


def test_the_highest_of_the_stated_limits_is_the_limit(tmp_path):
    folder = PowercapTree(tmp_path).add_package(limit_watts=125)
    (folder / "constraint_1_power_limit_uw").write_text("253000000\n")
    (folder / "constraint_2_max_power_uw").write_text("garbage\n")
    assert search(tmp_path).counters[0].limit_watts == 253


def test_a_limit_of_too_many_digits_is_none(tmp_path):
    folder = PowercapTree(tmp_path).add_package(limit_watts=125)
    (folder / "constraint_0_power_limit_uw").write_text("9" * 5000)
    assert search(tmp_path).counters[0].limit_watts is None


def test_pipes_in_the_place_of_files_keep_nobody_waiting(tmp_path):
    folder = PowercapTree(tmp_path).add_package(range_uj=None)
    for name in ("max_energy_range_uj", "enabled", "constraint_0_power_limit_uw"):
        os.mkfifo(folder / name)
    (counter,) = search(tmp_path).counters
    assert (counter.max_range, counter.limit_watts) == (None, None)


def test_a_limit_that_is_switched_off_is_none(tmp_path):
    folder = PowercapTree(tmp_path).add_package(limit_watts=125)
    (folder / "enabled").write_text("0\n")
    assert search(tmp_path).counters[0].limit_watts is None


@pytest.mark.parametrize("content", ["", "banana", "-5", "0x10", "1 2", LONG])
def test_a_counter_that_shows_no_number_is_unreadable(tmp_path, content):
    folder = PowercapTree(tmp_path).add_package()
    (folder / "energy_uj").write_text(content)
    found = search(tmp_path)
    assert found.counters == []
    (zone,) = found.unreadable
    assert zone.label == "package-0"
    assert zone.fault.gate == "read_failed"


def test_an_empty_machine_has_nothing_and_no_problem(tmp_path):
    found = search(tmp_path / "missing")
    assert (found.counters, found.rejected, found.unreadable, found.problems) == ([], [], [], [])
