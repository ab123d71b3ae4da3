"""What several workers on one machine have for themselves: GPUs, CPUs near them, packages."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes.powercap import PowercapTree

from wattest.energy import VisibleGpu, cpu_findings
from wattest.errors import LeaseError
from wattest.machine.counters import gpu_counter
from wattest.machine.cpus import format_cpus, package_cpus, parse_cpus, slices
from wattest.machine.lease import take
from wattest.machine.seats import Seat, make_seats, reserve_gpus

GPUS = [VisibleGpu(str(number), f"GPU-{number}", f"00000000:0{number}:00.0") for number in range(4)]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a tree like /sys with four GPUs, two near each of two packages of four CPUs."""
    monkeypatch.setenv("WATTEST_LOCK_DIR", str(tmp_path / "locks"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    tree = PowercapTree(tmp_path / "sys")
    for package in range(2):
        tree.add_package(package)
        tree.add_dram(package)
    for number in range(4):
        device = tree.root / f"bus/pci/devices/0000:0{number}:00.0"
        device.mkdir(parents=True)
        near = "4-7" if number < 2 else "0-3"
        for name, text in (("vendor", ""), ("device", ""), ("local_cpulist", near)):
            (device / name).write_text(text)
    for cpu in range(8):
        topology = tree.root / f"devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(str(cpu // 4))
    return tree.root


def seats(root: Path, count: int, *, own: bool) -> Sequence[Seat]:
    gpus = [(gpu, gpu_counter(gpu.uuid, gpu.pci_bus_id, root)) for gpu in GPUS[:count]]
    return make_seats(count, gpus, cpu_findings(root) if own else [], root)


@pytest.mark.parametrize("text", ["0-3,8", "5", "", "0-1,4-7,9"])
def test_lists_of_cpus_are_those_of_the_kernel(text: str) -> None:
    assert format_cpus(parse_cpus(text)) == text


def test_slices_are_equal_disjoint_and_near() -> None:
    near = [parse_cpus("4-7"), parse_cpus("0-3"), parse_cpus("4-7"), frozenset[int]()]
    parts = slices(range(8), near)
    assert [format_cpus(part) for part in parts] == ["4-5", "0-1", "6-7", "2-3"]
    assert slices(range(2), near) == [frozenset({0, 1})] * 4
    uneven = slices(range(7), near[:3])
    assert sorted(map(len, uneven)) == [2, 2, 3]
    assert frozenset().union(*uneven) == frozenset(range(7))


def test_each_has_a_gpu_and_cpus_near_it(root: Path) -> None:
    found = seats(root, 4, own=False)
    assert [format_cpus(seat.cpus) for seat in found] == ["4-5", "6-7", "0-1", "2-3"]
    assert [seat.entry for seat in found] == ["0", "1", "2", "3"]
    assert {seat.package for seat in found} == {None}


def test_with_enough_packages_each_has_the_nearest_and_its_cpus(root: Path) -> None:
    gpus = [(gpu, gpu_counter(gpu.uuid, gpu.pci_bus_id, root)) for gpu in GPUS[1:3]]
    found = make_seats(2, gpus, cpu_findings(root), root)
    assert [seat.package for seat in found] == ["intel-rapl:1", "intel-rapl:0"]
    assert [format_cpus(seat.cpus) for seat in found] == ["4-7", "0-3"]
    assert package_cpus(root)[1] == found[0].cpus


def test_with_too_few_packages_nobody_has_one(root: Path) -> None:
    assert {seat.package for seat in seats(root, 4, own=True)} == {None}


def test_a_package_without_cpus_of_ours_is_nobodys(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    assert {seat.package for seat in seats(root, 2, own=True)} == {None}


def test_the_first_free_gpus_are_reserved(root: Path) -> None:
    one, held = reserve_gpus(GPUS, 2, root, 0.0, print)
    other, rest = reserve_gpus(GPUS, 2, root, 0.0, print)
    assert [gpu.entry for gpu, _ in one] == ["0", "1"]
    assert [gpu.entry for gpu, _ in other] == ["2", "3"]
    rest.close()
    with pytest.raises(LeaseError, match=r"3 workers need a GPU each, and 2 of 4 are free \(PID"):
        reserve_gpus(GPUS, 3, root, 0.0, print)
    held.close()
    reserve_gpus(GPUS, 4, root, 0.0, print)[1].close()


def test_more_workers_than_gpus_are_refused(root: Path) -> None:
    with pytest.raises(LeaseError, match="5 workers need a GPU each, and only 4 are visible"):
        reserve_gpus(GPUS, 5, root, 0.0, print)


def test_a_gpu_whose_worker_outlives_its_controller_is_not_free(root: Path) -> None:
    counter = gpu_counter(GPUS[0].uuid, GPUS[0].pci_bus_id, root)
    with take([counter.use()]):
        (found,) = reserve_gpus(GPUS, 1, root, 0.0, print)[0]
    assert found[0].entry == "1"


def test_gpus_are_waited_for(root: Path) -> None:
    waiting: list[str] = []
    held = reserve_gpus(GPUS, 4, root, 0.0, print)[1]

    def announce(text: str) -> None:
        waiting.append(text)
        held.close()

    reserve_gpus(GPUS, 2, root, 20.0, announce)[1].close()
    assert "2 workers need a GPU each, and 0 of 4 are free" in waiting[0]


def test_two_that_hold_a_part_each_do_not_try_again_at_the_same_times(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    held = reserve_gpus(GPUS, 2, root, 0.0, print)[1]

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            held.close()

    monkeypatch.setattr(time, "sleep", pause)
    reserve_gpus(GPUS, 3, root, 60.0, print)[1].close()
    assert len(set(pauses)) == 8
    assert all(0 < seconds < 1 for seconds in pauses)


def test_an_index_means_the_same_gpu_to_cuda_as_to_nvml(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.setenv(name, "another")
    with Seat(gpu=gpu_counter(GPUS[1].uuid, GPUS[1].pci_bus_id, root), entry="1").occupy():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
        assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
