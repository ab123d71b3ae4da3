"""The `power` unit of perf events: energy counters that the kernel keeps, 64 bits wide.

Files of the unit: Documentation/ABI/testing/sysfs-bus-event_source-devices-events of the Linux
kernel; the unit itself: arch/x86/events/rapl.c. An event is opened once, for every package, and its
descriptor is read like a file: it counts from 0 on, and never wraps.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

from wattest.energy import design
from wattest.energy.counter import Counter
from wattest.energy.cpu.powercap import most_watts
from wattest.energy.cpu.zones import Zone, gate_of, read_small
from wattest.energy.types import ReadingError

EVENTS = {"cpu_pkg": "power/energy-pkg/", "cpu_ram": "power/energy-ram/"}
"""The events of the unit that are added up, by domain."""

# Of the architecture that has the unit: x86, 64 and 32 bits wide.
_SYSCALL = 298 if sys.maxsize > 2**32 else 336
_ATTRIBUTES = struct.Struct("=IIQ48x")  # struct perf_event_attr in its first version
_CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC
_EVERY_PROCESS, _NO_GROUP = -1, -1
_COUNT_BYTES = 8
_TEXT_BYTES = 4096
_KIND_BITS, _EVENT_BITS = 32, 64  # in struct perf_event_attr
_CPU_BITS = 13  # no Linux has more than 8,192 CPUs

T = TypeVar("T")


def perf_event_open(kind: int, event: int, cpu: int) -> int:
    """Open an event of all that runs on `cpu`, by the system call of that name; its descriptor.

    Raises:
        OSError: The kernel does not grant it.
    """
    import ctypes

    attributes = ctypes.create_string_buffer(_ATTRIBUTES.pack(kind, _ATTRIBUTES.size, event))
    numbers = (_EVERY_PROCESS, cpu, _NO_GROUP, _CLOSE_ON_EXEC)
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    descriptor: int = syscall(
        ctypes.c_long(_SYSCALL), attributes, *(ctypes.c_long(number) for number in numbers)
    )
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor


def power_unit(sys_root: Path) -> Path:
    """Where the unit has its files, if there is one."""
    return sys_root / "bus" / "event_source" / "devices" / "power"


def search_perf(
    sys_root: Path, zones: Sequence[Zone]
) -> tuple[list[Counter], list[Zone], ExitStack]:
    """Open every event of the unit that there is, and read it once.

    Returns:
        One counter per event and package, with the power limits that the powercap zones may tell;
        the event of DRAM if it is there and cannot be counted; and what closes them.

    Raises:
        ReadingError: Packages cannot be counted.
    """
    counters: list[Counter] = []
    rejected: list[Zone] = []
    closing = ExitStack()
    for domain, event in EVENTS.items():
        path = power_unit(sys_root) / "events" / event.split("/")[1]
        try:
            with ExitStack() as opened:
                counters += _open_event(sys_root, domain, path, zones, opened)
                closing.enter_context(opened.pop_all())
        except ReadingError as error:
            if domain == "cpu_pkg":
                raise
            if path.exists():
                reason = f"cannot be counted by perf: {error}"
                rejected.append(Zone(path, "dram", None, domain, event, reason))
    return counters, rejected, closing


def _open_event(
    sys_root: Path, domain: str, path: Path, zones: Sequence[Zone], opened: ExitStack
) -> list[Counter]:
    """Open one event on every CPU that stands for a package; raises `ReadingError` if it fails."""
    unit, event = path.parents[1], EVENTS[domain]
    kind = _value(unit / "type", lambda text: _unsigned(text, _KIND_BITS))
    number = _value(path, lambda text: _unsigned(text.removeprefix("event="), _EVENT_BITS))
    scale = _value(path.with_name(f"{path.name}.scale"), _scale)
    cpus = _value(unit / "cpumask", _cpus)
    if (what := _value(path.with_name(f"{path.name}.unit"), str)) != "Joules":
        raise ReadingError("read_failed", f"{event}: counts {what!r} instead of Joules")
    counters = []
    for cpu in cpus:
        label = event if len(cpus) == 1 else f"{event} (CPU {cpu})"
        zone = _zone_of(sys_root, cpu, domain, zones)
        limit_watts = zone.limit_watts() if zone else None
        counter = Counter(
            label=label,
            domain=domain,
            read=_reader(label, kind, number, cpu, opened),
            joules_per_count=scale,
            most_watts=most_watts(limit_watts),
            unseen_step_seconds=design.PROBE_SECONDS,
            read_limit=zone.limit_watts if zone else lambda: None,
            package=f"package of CPU {cpu}",
            zone=event,
            path=str(path),
        )
        counter.read()
        counters.append(counter)
    return counters


def _value(path: Path, convert: Callable[[str], T]) -> T:
    """What a file of the unit says; raises `ReadingError` where `convert` makes nothing of it."""
    text = read_small(path, _TEXT_BYTES).decode("ascii", "replace")
    try:
        return convert(text)
    except ValueError as error:
        raise ReadingError("read_failed", f"{path}: holds {text!r}") from error


def _unsigned(text: str, bits: int) -> int:
    number = int(text, 0)
    if not 0 <= number < 2**bits:
        raise ValueError(text)
    return number


def _scale(text: str) -> float:
    scale = float(text)
    if not 0 < scale < float("inf"):
        raise ValueError(text)
    return scale


def _cpus(text: str) -> list[int]:
    """One CPU of every package, from a list such as `0,18` or `0-1`."""
    found: set[int] = set()
    for span in text.split(","):
        first, _, last = span.partition("-")
        found.update(range(_unsigned(first, _CPU_BITS), _unsigned(last or first, _CPU_BITS) + 1))
    if not found:
        raise ValueError(text)
    return sorted(found)


def _reader(label: str, kind: int, event: int, cpu: int, opened: ExitStack) -> Callable[[], int]:
    """Open a counter, which `opened` closes; returns what reads it once."""

    def read() -> int:
        try:
            count = os.read(descriptor, _COUNT_BYTES)
        except OSError as error:
            raise ReadingError(gate_of(error), f"{label}: {error.strerror}") from error
        if len(count) != _COUNT_BYTES:
            raise ReadingError("source_lost", f"{label}: the kernel counts it no more")
        return int.from_bytes(count, sys.byteorder)

    try:
        descriptor = perf_event_open(kind, event, cpu)
    except OSError as error:
        raise ReadingError(gate_of(error), f"{label}: {error.strerror}") from error
    opened.callback(os.close, descriptor)
    return read


def _zone_of(sys_root: Path, cpu: int, domain: str, zones: Sequence[Zone]) -> Zone | None:
    """The zone of a CPU's package, which may state its power limit, if there is one."""
    topology = sys_root / "devices" / "system" / "cpu" / f"cpu{cpu}" / "topology"
    names: list[str] = []
    with suppress(ReadingError):
        names.append(f"package-{_value(topology / 'physical_package_id', str)}")
        names.append(f"{names[0]}-die-{_value(topology / 'die_id', str)}")
    labels = [name if domain == "cpu_pkg" else f"{name}/dram" for name in names]
    return next((zone for zone in zones if zone.label in labels), None)
