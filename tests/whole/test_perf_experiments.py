"""Perf events as the meter of whole experiments."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes.perf import DRAM, PACKAGE, PerfUnit, build_fake_perf, perf_environment
from fakes.powercap import Event, PowercapWriter
from fakes.profile import steady

from conftest import TOY, Project


@dataclass
class Machine:
    """A project on a machine whose kernel counts its package and DRAM; the folders of both."""

    project: Project
    package: Path
    dram: Path
    environment: dict[str, str]

    @classmethod
    def build(cls, folder: Path, library: Path) -> Machine:
        folder.mkdir()
        sys_root, stage = folder / "sys", folder / "stage"
        unit = PerfUnit(sys_root, stage)
        (package,), (dram,) = unit.add_event(PACKAGE), unit.add_event(DRAM)
        environment = {**perf_environment(library, stage), "WATTEST_SYSFS": str(sys_root)}
        return cls(Project(folder), package, dram, environment)

    def record(self, code: int) -> dict[str, Any]:
        done = self.project.run_apart(**self.environment)
        assert done.returncode == code, done.stdout
        (record,) = self.project.records()
        return record


def counted(machine: Machine) -> dict[str, Any]:
    machine.project.settings({**TOY, "hyperparameters": {"seconds": 2.2}})
    with PowercapWriter({machine.package: steady(80), machine.dram: steady(6)}):
        return machine.record(0)


def given_up(machine: Machine) -> dict[str, Any]:
    trigger = machine.project.path / "repos" / "toy" / "midway"
    machine.project.program(
        "toy", f"#!/bin/sh\nsleep 0.8\ntouch {trigger.name}\nsleep 1\necho Accuracy: 1\n"
    )
    machine.project.settings({**TOY, "hyperparameters": {}})
    zones = dict.fromkeys((machine.package, machine.dram), steady(80))
    events = {machine.package: [Event("unlink", 0.0)]}
    with PowercapWriter(zones, events, trigger=trigger):
        return machine.record(1)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What both scenes leave, which are played at once, each on a machine of its own."""
    root = tmp_path_factory.mktemp("perf")
    library = build_fake_perf(root / "library")
    one, other = (Machine.build(root / name, library) for name in ("counted", "given up"))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(counted, one), pool.submit(given_up, other)
        return first.result(), second.result()


def test_what_perf_counted_is_recorded_as_measured_by_perf(
    records: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    record, _ = records
    energy = record["energy_metrics"]
    domain = record["energy_provenance"]["domains"]["cpu_pkg"]
    assert domain["source"] == "perf"
    seconds = record["duration_seconds"]
    uncertain = domain["edge_uncertainty_joules"]
    assert energy["cpu_energy_pkg_joules"] == pytest.approx(80 * seconds, rel=0.1, abs=uncertain)
    assert energy["cpu_energy_ram_joules"] == pytest.approx(6 * seconds, rel=0.1, abs=uncertain)


def test_a_counter_that_the_kernel_gives_up_makes_the_experiment_invalid(
    records: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    _, record = records
    assert record["training_success"] is False
    assert "power/energy-pkg/: no reading at the closing edge" in record["error_message"]
    assert record["energy_metrics"]["cpu_energy_pkg_joules"] is None
    assert record["energy_metrics"]["cpu_energy_ram_joules"] is not None
