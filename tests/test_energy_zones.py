"""Which zones of a powercap tree are added up, on the machines that there are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fakes.powercap import PowercapTree

from wattest.energy.base import SystemClock
from wattest.energy.powercap_search import PowercapSearch, search_powercap


def search(root: Path) -> PowercapSearch:
    return search_powercap(root, SystemClock(), 0.05)


def labels(found: PowercapSearch) -> list[str]:
    return [member.zone.label for member in found.members]


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
    assert found.members == ()
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


def test_namesakes_with_counters_of_their_own_are_two_dies(tmp_path):
    tree = PowercapTree(tmp_path)
    tree.add_package(0, energy_uj=5)
    tree.add_package(1, name="package-0", energy_uj=7_000_000)
    assert labels(search(tmp_path)) == ["package-0", "package-0 (intel-rapl:1)"]


def test_a_zone_without_a_name_is_rejected(tmp_path):
    folder = PowercapTree(tmp_path).add_zone("intel-rapl:0", "package-0")
    (folder / "name").unlink()
    found = search(tmp_path)
    assert found.members == ()
    assert "no readable name" in found.rejected[0].reason


@pytest.mark.parametrize("text", ["", "lots", "-1", "0", "12.5"])
def test_a_range_that_is_no_number_is_unknown(tmp_path, text):
    PowercapTree(tmp_path).add_package(range_uj=text)
    assert search(tmp_path).members[0].max_range is None


def test_a_range_below_the_counter_is_unknown(tmp_path):
    PowercapTree(tmp_path).add_package(energy_uj=5_000, range_uj=1_000)
    assert search(tmp_path).members[0].max_range is None


def test_the_highest_of_the_stated_limits_is_the_limit(tmp_path):
    folder = PowercapTree(tmp_path).add_package(limit_watts=125)
    (folder / "constraint_1_power_limit_uw").write_text("253000000\n")
    (folder / "constraint_2_max_power_uw").write_text("garbage\n")
    assert search(tmp_path).members[0].limit_watts == 253


def test_a_limit_that_is_switched_off_is_none(tmp_path):
    folder = PowercapTree(tmp_path).add_package(limit_watts=125)
    (folder / "enabled").write_text("0\n")
    assert search(tmp_path).members[0].limit_watts is None


@pytest.mark.parametrize("content", ["", "banana", "-5", "0x10", "1 2"])
def test_a_counter_that_shows_no_number_is_unreadable(tmp_path, content):
    folder = PowercapTree(tmp_path).add_package()
    (folder / "energy_uj").write_text(content)
    found = search(tmp_path)
    assert found.members == ()
    zone, error = found.unreadable[0]
    assert zone.label == "package-0"
    assert error.gate == "read_failed"


def test_an_empty_machine_has_nothing_and_no_problem(tmp_path):
    found = search(tmp_path / "missing")
    assert (found.members, found.rejected, found.unreadable, found.problems) == ((), (), (), ())
