"""The zones of this machine: reading one, and which of them can be read and may be added up."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wattest.energy import design
from wattest.energy.cpu.zones import Search, Zone, find_zones, read_small
from wattest.energy.probe import Probed
from wattest.energy.types import NS, CounterSpec, ReadingError

_PACKAGE = re.compile(r"^package-\d+(-die-\d+)?$")
_MICRO = 1e-6
_COMPARISONS = 3
_MMIO = 2

_NOT_ADDED = {
    "core": "lies inside its package",
    "uncore": "lies inside its package",
    "psys": "covers the packages and more of the platform: adding it would count them twice",
}


def read_microjoules(path: str) -> int:
    """Read one counter.

    Raises:
        ReadingError: It cannot be read, or holds something other than digits.
    """
    text = read_small(path)
    if not text.isdigit():
        shown = text.decode("ascii", "backslashreplace")
        raise ReadingError("read_failed", f"{path}: holds {shown!r} instead of a number")
    return int(text)


@dataclass(frozen=True)
class Member:
    """A zone that is added up, with what the start of the session found of it.

    Attributes:
        zone: The zone.
        max_range: Greatest value of its counter in microjoules; None if unreadable or absurd.
        limit_watts: Its own power limit, if its firmware states one.
        probed: What the probe saw.
        wired: False for a DRAM zone that stands at 0: it is watched, but nothing is promised.
    """

    zone: Zone
    max_range: int | None
    limit_watts: float | None
    probed: Probed | None = None
    wired: bool = True

    def spec(self) -> CounterSpec:
        """The counter as a track needs it."""
        own = (self.limit_watts or 0.0) * design.WRAP_POWER_LIMIT_RATIO
        wrap_watts = max(design.WRAP_POWER_WATTS, own)
        longest = self.probed.longest_seconds if self.probed else None
        return CounterSpec(
            label=self.zone.label,
            domain=self.zone.domain,
            joules_per_count=_MICRO,
            wraps=True,
            max_range=self.max_range,
            period_seconds=self.probed.period_seconds if self.probed else None,
            step_seconds=design.PROBE_SECONDS if longest is None else longest,
            wrap_watts=wrap_watts,
            jump_watts=wrap_watts,
        )

    def reader(self) -> Callable[[], int]:
        """Reads the counter once, in microjoules."""
        path = str(self.zone.energy_path)
        return lambda: read_microjoules(path)


@dataclass(frozen=True)
class PowercapSearch:
    """What the tree offers.

    Attributes:
        members: Zones that can be read and are added up.
        rejected: Zones that exist and are not added up, with reasons.
        unreadable: Zones that are to be added up, or may have to be, but cannot be read.
        problems: What made the tree hard to read.
    """

    members: tuple[Member, ...]
    rejected: tuple[Zone, ...]
    unreadable: tuple[tuple[Zone, ReadingError], ...]
    problems: tuple[str, ...]


def search_powercap(sys_root: Path, retry_seconds: float) -> PowercapSearch:
    """Find the zones below `sys_root`, and read each once to see whether that is allowed."""
    search = find_zones(sys_root)
    spare = tuple(_spare_zones(search))
    zones = [zone for zone in search.zones.values() if zone.id not in {one.id for one in spare}]
    values: dict[str, tuple[int, ...]] = {}
    errors: dict[str, ReadingError] = dict(search.faults)
    for zone in zones:
        if zone.id in errors:
            continue
        try:
            values[zone.id] = (_read_patiently(zone, retry_seconds),)
        except ReadingError as error:
            errors[zone.id] = error
    for _ in range(_COMPARISONS):
        _compare(zones, values)
    judged = classify(zones, values)
    counted = [zone for zone in judged if zone.domain]
    return PowercapSearch(
        members=tuple(
            Member(zone, _range_of(zone, values[zone.id]), zone.limit_watts())
            for zone in counted
            if zone.id not in errors
        ),
        rejected=tuple(zone for zone in judged if not zone.domain) + spare,
        unreadable=tuple((zone, errors[zone.id]) for zone in counted if zone.id in errors),
        problems=tuple(search.problems),
    )


def _spare_zones(search: Search) -> Iterable[Zone]:
    """The faulty zones that no sum needs: parts of others, and MMIO where it is not alone."""
    has_better = any(zone.is_top and _rank(zone) < _MMIO for zone in search.zones.values())
    for zone_id, fault in search.faults.items():
        zone = search.zones[zone_id]
        if not zone.is_top or (has_better and _rank(zone) == _MMIO):
            yield _reject(zone, str(fault))


def _read_patiently(zone: Zone, retry_seconds: float) -> int:
    deadline_ns = time.monotonic_ns() + int(retry_seconds * NS)
    while True:
        try:
            return read_microjoules(str(zone.energy_path))
        except ReadingError as error:
            if error.gate == "permission_lost" or time.monotonic_ns() >= deadline_ns:
                raise
            time.sleep(0.005)


def _compare(zones: Sequence[Zone], values: dict[str, tuple[int, ...]]) -> None:
    """Append one more reading per zone, all taken as close together as can be."""
    for zone in zones:
        if zone.id in values:
            try:
                values[zone.id] += (read_microjoules(str(zone.energy_path)),)
            except ReadingError:
                values[zone.id] += (-1,)


def _range_of(zone: Zone, values: tuple[int, ...]) -> int | None:
    top = zone.max_range()
    return top if top is not None and top >= max(values) else None


def classify(zones: Iterable[Zone], values: Mapping[str, tuple[int, ...]]) -> tuple[Zone, ...]:
    """Say of each zone whether it is added up, in which domain, or why not.

    Of zones that measure the same package, those of `intel-rapl` come before others, and
    `intel-rapl-mmio` comes last. Two zones of one control type that bear one name are the same
    counter if all their readings agree, else two dies. A zone in no other zone that has no usable
    name may be a package.

    Args:
        zones: All zones of the machine.
        values: Readings of each zone by id, taken close together, to compare counters by.
    """
    ordered = sorted(zones, key=lambda zone: (_rank(zone), _order(zone)))
    packages: dict[str, Zone] = {}
    judged: dict[str, Zone] = {}
    for zone in ordered:
        if _PACKAGE.match(zone.name) or (zone.is_top and not zone.name):
            judged[zone.id] = _judge_package(zone, packages, values)
            if judged[zone.id].domain:
                packages[zone.id] = judged[zone.id]
    for zone in ordered:
        if zone.id not in judged:
            judged[zone.id] = _judge_part(zone, packages, judged)
    return tuple(judged[zone.id] for zone in sorted(ordered, key=_order))


def _order(zone: Zone) -> tuple[str, list[int]]:
    return zone.control_type, [int(number) for number in zone.id.split(":")[1:]]


def _rank(zone: Zone) -> int:
    if zone.control_type == "intel-rapl":
        return 0
    return _MMIO if "mmio" in zone.control_type else 1


def _judge_package(
    zone: Zone, packages: Mapping[str, Zone], values: Mapping[str, tuple[int, ...]]
) -> Zone:
    if not zone.name:
        return Zone(zone.id, "", zone.folder, "cpu_pkg", zone.id)
    namesakes = [other for other in packages.values() if other.name == zone.name]
    for other in namesakes:
        if other.control_type != zone.control_type:
            return _reject(zone, f"repeats {zone.name} of {other.id}")
        if values.get(zone.id) and values.get(zone.id) == values.get(other.id):
            return _reject(zone, f"bears the name of {other.id} and shows the same counter")
    label = f"{zone.name} ({zone.id})" if namesakes else zone.name
    return Zone(zone.id, zone.name, zone.folder, "cpu_pkg", label)


def _judge_part(zone: Zone, packages: Mapping[str, Zone], judged: Mapping[str, Zone]) -> Zone:
    parent = judged.get(zone.parent_id)
    if zone.name == "dram" and zone.parent_id in packages:
        label = f"{packages[zone.parent_id].label}/dram"
        namesakes = [other for other in judged.values() if other.label == label]
        label = f"{label} ({zone.id})" if namesakes else label
        return Zone(zone.id, zone.name, zone.folder, "cpu_ram", label)
    if parent is not None and parent.reason:
        return _reject(zone, f"belongs to {parent.id}, which {parent.reason}")
    if zone.name in _NOT_ADDED:
        return _reject(zone, _NOT_ADDED[zone.name])
    if not zone.name:
        return _reject(zone, "has no readable name, so that nobody knows what it measures")
    return _reject(zone, "is no package and no DRAM of a package")


def _reject(zone: Zone, reason: str) -> Zone:
    return Zone(zone.id, zone.name, zone.folder, "", zone.name or zone.id, reason)
