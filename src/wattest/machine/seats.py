"""Seats of a team: what each of several workers on one machine has for itself.

The controller makes them before a worker starts, and reserves their counters for as long as the
team lasts. A worker takes its seat before it looks for sensors.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wattest.errors import LeaseError
from wattest.files import read_text
from wattest.machine.counters import Leasable, gpu_counter, packages_of
from wattest.machine.cpus import package_cpus, parse_cpus, slices
from wattest.machine.lease import take

if TYPE_CHECKING:
    from wattest.energy import Finding, VisibleGpu

_POLL_SECONDS = 0.2
_LOOK_SECONDS = 0.5
_HANDOVER_SECONDS = 5.0


@dataclass(frozen=True)
class Seat:
    """What one worker has for itself.

    Attributes:
        cpus: The CPUs on which it and its trainings run; empty where they are not divided.
        gpu: Its GPU as what can be leased; None where there is none.
        entry: How `CUDA_VISIBLE_DEVICES` names that GPU.
        package: The powercap zone whose energy is its own, such as `intel-rapl:0`; None where the
            CPU's counters are shared, or are not read.
        package_counter: That package as what can be leased.
    """

    cpus: frozenset[int] = frozenset()
    gpu: Leasable | None = None
    entry: str = ""
    package: str | None = None
    package_counter: Leasable | None = None

    def counters(self) -> list[Leasable]:
        """Return what is its own alone."""
        return [one for one in (self.gpu, self.package_counter) if one is not None]

    def occupy(self) -> ExitStack:
        """Take the seat: lease what is its own, let this process see its GPU alone, and its CPUs.

        A worker that was killed may hold it for a moment longer; it is waited for.

        Raises:
            LeaseError: another holds it.
        """
        held = take([one.use() for one in self.counters()], _HANDOVER_SECONDS)
        if self.gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.entry
            # NVML, by whose order an index was leased, counts along the bus; CUDA by speed.
            os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        if self.cpus:
            os.sched_setaffinity(0, self.cpus)
        return held


def reserve_gpus(
    gpus: Sequence[VisibleGpu],
    count: int,
    sys_root: Path,
    wait_seconds: float,
    announce: Callable[[str], None],
) -> tuple[list[tuple[VisibleGpu, Leasable]], ExitStack]:
    """Reserve the first `count` free GPUs of the caller's, or none.

    Raises:
        LeaseError: there are not so many, or they are not free in time; who holds them is named.
    """
    if count > len(gpus):
        raise LeaseError(
            f"{count} workers need a GPU each, and {_counted(len(gpus))} visible; run with"
            f" -n {len(gpus)}, or -n auto"
        )
    # Somebody may just be looking whether one is free.
    deadline = time.monotonic() + max(wait_seconds, _LOOK_SECONDS)
    announced = wait_seconds <= 0
    while True:
        with ExitStack() as closing:
            found, taken = _reserved(gpus, count, sys_root, closing)
            if len(found) == count:
                return found, closing.pop_all()
        told = f"{count} workers need a GPU each, and {len(found)} of {len(gpus)} are free"
        told += f" ({'; '.join(taken)})"
        if time.monotonic() >= deadline:
            raise LeaseError(f"{told}; use fewer, or wait with --wait-for-counters")
        if not announced:
            announce(f"{told}; waiting up to {wait_seconds:.0f} s")
            announced = True
        # Two that got a part each, and let it go, must not meet again.
        time.sleep(_POLL_SECONDS * random.uniform(0.25, 1.0))


def _reserved(
    gpus: Sequence[VisibleGpu], count: int, sys_root: Path, closing: ExitStack
) -> tuple[list[tuple[VisibleGpu, Leasable]], list[str]]:
    """Reserve up to `count` GPUs; return them, and who has the others that were tried."""
    found: list[tuple[VisibleGpu, Leasable]] = []
    taken: list[str] = []
    for gpu in gpus:
        counter = gpu_counter(gpu.uuid, gpu.pci_bus_id, sys_root)
        if len(found) < count:
            try:
                with ExitStack() as both:
                    both.callback(take([counter.reserve()]).close)
                    # One that a worker uses whose controller is gone is not free.
                    take([counter.use()]).close()
                    closing.callback(both.pop_all().close)
                    found.append((gpu, counter))
            except LeaseError as error:
                taken.append(str(error).partition(":")[0])
    return found, taken


def is_free(counter: Leasable) -> bool:
    """Tell whether nobody has reserved a counter, or uses it."""
    try:
        take(counter.whole()).close()
    except LeaseError:
        return False
    return True


def _counted(number: int) -> str:
    return f"only {number} {'is' if number == 1 else 'are'}"


def make_seats(
    count: int,
    gpus: Sequence[tuple[VisibleGpu, Leasable]],
    cpu_findings: Sequence[Finding],
    sys_root: Path,
) -> list[Seat]:
    """Return a seat for each worker: its GPU, CPUs near it, and a package where there are enough.

    Args:
        count: Number of workers.
        gpus: The GPU of each, with what to lease of it; none where no energy is measured.
        cpu_findings: The packages that may become somebody's own; none where they are shared.
        sys_root: Root of /sys.
    """
    mine = os.sched_getaffinity(0)
    near = [_near(gpu.first) & mine for _, gpu in gpus] or [frozenset[int]()] * count
    own = _packages_for(near, cpu_findings, sys_root, mine)
    parts = [cpus for _, _, cpus in own] if own else slices(mine, near)
    nobodys: list[tuple[str | None, Leasable | None]] = [(None, None)] * count
    packages = [(zone, counter) for zone, counter, _ in own] or nobodys
    return [
        Seat(
            cpus if len(cpus) < len(mine) else frozenset(),
            gpus[k][1] if gpus else None,
            gpus[k][0].entry if gpus else "",
            *packages[k],
        )
        for k, cpus in enumerate(parts)
    ]


def _near(gpu_file: Path | None) -> frozenset[int]:
    """Return the CPUs near a GPU, by a file of its PCI device."""
    return parse_cpus(read_text(gpu_file.with_name("local_cpulist"))) if gpu_file else frozenset()


def _packages_for(
    near: Sequence[frozenset[int]], findings: Sequence[Finding], sys_root: Path, mine: set[int]
) -> list[tuple[str, Leasable, frozenset[int]]]:
    """Return a package for each worker, nearest first, with its CPUs; nothing if they are too few.

    Only a package of which the kernel tells the CPUs, and some of them are ours, can be one's own.
    """
    cpus = package_cpus(sys_root)
    free: dict[str, frozenset[int]] = {}
    for finding in findings:
        number = finding.name.removeprefix("package-")
        zone = str(finding.details.get("zone", ""))
        if finding.source == "powercap" and zone.count(":") == 1 and number.isdecimal():
            own = cpus.get(int(number), frozenset()) & mine
            if own:
                free[zone] = own
    if len(free) < len(near):
        return []
    found = []
    for wanted in near:
        zone = max(free, key=lambda one: (len(free[one] & wanted), -int(one.rpartition(":")[2])))
        own_findings = [one for one in findings if one.details.get("zone") == zone]
        (counter,) = packages_of(own_findings, sys_root)
        found.append((zone, counter, free.pop(zone)))
    return found
