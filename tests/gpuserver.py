"""A server with scripted GPUs and one CPU package, on which campaigns run on several workers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.nvml import FakeGpu, FakeGpuScript, build_fake_nvml
from fakes.powercap import PowercapTree, PowercapWriter
from fakes.profile import steady

from conftest import Project

# Says what it sees, and sleeps: a training that costs nothing but time.
TRAINING = """\
#!/bin/sh
while [ $# -gt 1 ]; do [ "$1" = --seconds ] && seconds=$2; shift; done
echo "sees GPU $CUDA_VISIBLE_DEVICES."
echo "runs on $(grep Cpus_allowed_list /proc/self/status)"
sleep "$seconds"
echo "Accuracy: 1"
"""
WATTS = (100.0, 150.0, 200.0, 250.0)
PACKAGE_WATTS = 80.0


def uuid(number: int) -> str:
    """Return the UUID of a GPU of the server."""
    return f"GPU-00000000-0000-0000-0000-00000000000{number}"


@dataclass
class Server:
    """The machine, while its counters run."""

    script: FakeGpuScript
    writer: PowercapWriter
    environment: Mapping[str, str]
    packages: Sequence[Path] = field(default_factory=list)

    def gpu_joules(self, record: Mapping[str, Any]) -> float:
        """Return what the GPU that a record names has truly used in the record's window."""
        (name,) = gpus_of(record)
        number = [gpu.uuid for gpu in self.script.gpus].index(name)
        return self.script.energy_joules(number, *window_of(record))

    def package_joules(self, start_ns: int, end_ns: int) -> float:
        """Return what all packages have truly used between two moments."""
        return sum(self.writer.energy_joules(zone, start_ns, end_ns) for zone in self.packages)


def window_of(record: Mapping[str, Any]) -> tuple[int, int]:
    """Return when the window of a record was opened and closed."""
    window = result_of(record)["energy_provenance"]["window"]
    return window["opened_ns"], window["closed_ns"]


def gpus_of(record: Mapping[str, Any]) -> list[str]:
    """Return the UUIDs of the GPUs that a record has measured."""
    found: list[str] = result_of(record)["energy_provenance"]["domains"]["gpu"]["uuids"]
    return found


def result_of(record: Mapping[str, Any]) -> Any:
    """Return what a training came to."""
    return record.get("foreground_result", record)


def seen_gpu(results: Path, record: Mapping[str, Any]) -> str:
    """Return how the environment of a record's training named its GPU."""
    log = (results / f"training_{record['experiment_id']}_foreground.log").read_text()
    match = re.search(r"sees GPU (.*)\.", log)
    assert match, log
    return match.group(1)


@contextmanager
def gpu_server(
    project: Project, gpus: int = 4, packages: int = 1, variable: str | None = None
) -> Iterator[Server]:
    """Let a project live on a server; the environment of this process is that of its sessions."""
    project.program("toy", TRAINING)
    tree = PowercapTree(project.path / "sys")
    zones = [tree.add_package(number) for number in range(packages)]
    for number in range(gpus):
        device = tree.root / f"bus/pci/devices/0000:0{number}:00.0"
        device.mkdir(parents=True)
        for name, text in (("vendor", "0x10de"), ("device", "0x2330"), ("local_cpulist", "0-63")):
            (device / name).write_text(f"{text}\n")
    for cpu in os.sched_getaffinity(0):
        topology = tree.root / f"devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{cpu % packages}\n")
    script = FakeGpuScript(
        [
            FakeGpu(
                steady(WATTS[number]),
                uuid=uuid(number),
                pci=f"00000000:0{number}:00.0",
                counter_period=0.02,
                power_period=0.02,
                power_sampled=0.02,
            )
            for number in range(gpus)
        ]
    )
    library = build_fake_nvml(project.path / "nvml")
    environment = {
        **script.environment(library, project.path / "nvml.txt"),
        "WATTEST_SYSFS": str(tree.root),
    }
    if variable is not None:
        environment["CUDA_VISIBLE_DEVICES"] = variable
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        with PowercapWriter({zone: steady(PACKAGE_WATTS) for zone in zones}) as writer:
            yield Server(script, writer, environment, zones)
    finally:
        os.environ.clear()
        os.environ.update(before)
