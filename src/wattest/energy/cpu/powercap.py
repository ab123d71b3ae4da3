"""The powercap tree (RAPL): which zones are added up, and their counters.

Counters are read by path every time, never through a descriptor that is kept: a reading then sees
at once that a permission was lost or that a zone went away.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from wattest.energy import design
from wattest.energy.counter import Counter
from wattest.energy.cpu.zones import Zone, find_zones, read_small
from wattest.energy.types import NS, ReadingError

_PACKAGE = re.compile(r"^package-\d+(-die-\d+)?$")
_COMPARISONS = 4
_MMIO = 2

_PSYS = "covers the packages and more of the platform: adding it would count them twice"


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


def search_powercap(sys_root: Path) -> tuple[list[Zone], list[Counter], list[str]]:
    """All zones below `sys_root`, judged, each with what keeps it from being read.

    Beside them: the counters of those that can be read and are added up, and what made the tree
    hard to read.
    """
    found, problems = find_zones(sys_root)
    zones: list[Zone] = []
    counters: list[Counter] = []
    for zone in classify(found):
        try:
            if zone.domain and zone.fault is None:
                counters.append(_counter(zone))
            zones.append(zone)
        except ReadingError as error:
            zones.append(replace(zone, fault=error))
    return zones, counters, problems


def _counter(zone: Zone) -> Counter:
    """The counter of a zone; raises `ReadingError` if it cannot be read."""
    path = str(zone.folder / "energy_uj")
    value, top, limit_watts = _read_patiently(path), zone.max_range(), zone.limit_watts()
    return Counter(
        label=zone.label,
        domain=zone.domain,
        read=lambda: read_microjoules(path),
        joules_per_count=1e-6,
        most_watts=most_watts(limit_watts),
        unseen_step_seconds=design.PROBE_SECONDS,
        wraps=True,
        max_range=top if top is not None and top >= value else None,
        read_limit=zone.limit_watts,
        package=zone.label.partition("/")[0],
        zone=zone.id,
        path=path,
    )


def _read_patiently(path: str) -> int:
    deadline_ns = time.monotonic_ns() + int(design.EDGE_RETRY_SECONDS * NS)
    while True:
        try:
            return read_microjoules(path)
        except ReadingError as error:
            if error.gate == "permission_lost" or time.monotonic_ns() >= deadline_ns:
                raise
            time.sleep(0.005)


def most_watts(limit_watts: float | None) -> float:
    """Power that no package has whose power limit this is."""
    watts = (limit_watts or 0.0) * design.WRAP_POWER_LIMIT_RATIO
    return min(max(design.WRAP_POWER_WATTS, watts), design.JUMP_POWER_WATTS)


def classify(zones: Iterable[Zone]) -> list[Zone]:
    """Say of each zone whether it is added up, in which domain, or why not.

    Of zones that measure the same package, those of `intel-rapl` come before others, and
    `intel-rapl-mmio` comes last. Two zones of one control type that bear one name are two dies,
    unless they show the same counter. A zone in no other zone that has no usable name may be a
    package.
    """
    ordered = sorted(zones, key=lambda zone: (_rank(zone), _order(zone)))
    has_better = any(zone.is_top and _rank(zone) < _MMIO for zone in ordered)
    judged: dict[str, Zone] = {}
    for zone in ordered:
        if zone.fault is not None and (not zone.is_top or (has_better and _rank(zone) == _MMIO)):
            judged[zone.id] = _reject(zone, str(zone.fault))
        elif _PACKAGE.match(zone.name) or (zone.is_top and not zone.name):
            judged[zone.id] = _judge_package(zone, judged)
    for zone in ordered:
        if zone.id not in judged:
            judged[zone.id] = _judge_part(zone, judged)
    return sorted(judged.values(), key=_order)


def _order(zone: Zone) -> tuple[str, list[int]]:
    return zone.control_type, [int(number) for number in zone.id.split(":")[1:]]


def _rank(zone: Zone) -> int:
    if zone.control_type == "intel-rapl":
        return 0
    return _MMIO if "mmio" in zone.control_type else 1


def _judge_package(zone: Zone, judged: Mapping[str, Zone]) -> Zone:
    if not zone.name:
        return replace(zone, domain="cpu_pkg", label=zone.id)
    parent = _parent(zone, judged)
    if parent is not None and parent.domain:
        return _reject(zone, f"lies inside {parent.label}, which is added up")
    namesakes = [one for one in judged.values() if one.domain and one.name == zone.name]
    for other in namesakes:
        if other.control_type != zone.control_type:
            return _reject(zone, f"repeats {zone.name} of {other.id}")
    return _judge_twin(replace(zone, domain="cpu_pkg", label=zone.name), namesakes)


def _judge_twin(zone: Zone, namesakes: Iterable[Zone]) -> Zone:
    """Add up a zone beside those of its name, unless it shows the counter of one of them."""
    for other in namesakes:
        if _show_the_same(zone, other):
            reason = f"bears the name of {other.id} and shows the same counter"
            return replace(_reject(zone, reason), domain="")
    return replace(zone, label=f"{zone.label} ({zone.id})") if namesakes else zone


def _parent(zone: Zone, judged: Mapping[str, Zone]) -> Zone | None:
    return judged.get(zone.id.rpartition(":")[0])


def _show_the_same(zone: Zone, other: Zone) -> bool:
    """Whether two counters ever show one value; a counter may move between two readings."""
    paths = [str(one.folder / "energy_uj") for one in (zone, other)]
    try:
        pairs = [[read_microjoules(path) for path in paths] for _ in range(_COMPARISONS)]
    except ReadingError:
        return False
    return any(first == second for first, second in pairs)


def _judge_part(zone: Zone, judged: Mapping[str, Zone]) -> Zone:
    parent = _parent(zone, judged)
    if zone.name == "dram" and parent is not None and parent.domain == "cpu_pkg":
        label = f"{parent.label}/dram"
        namesakes = [one for one in judged.values() if one.domain and one.label == label]
        return _judge_twin(replace(zone, domain="cpu_ram", label=label), namesakes)
    if zone.name == "dram" and parent is None:
        return _reject(zone, "lies in no package, so that nobody knows whose memory it measures")
    if parent is not None and parent.reason:
        return _reject(zone, f"belongs to {parent.id}, which {parent.reason}")
    if zone.name in ("core", "uncore"):
        where = "its package" if parent else "a package by its name, though it is not shown in one"
        return _reject(zone, f"lies inside {where}")
    if zone.name == "psys":
        return _reject(zone, _PSYS)
    if not zone.name:
        return _reject(zone, "has no readable name, so that nobody knows what it measures")
    return _reject(zone, "is no package and no DRAM of a package")


def _reject(zone: Zone, reason: str) -> Zone:
    return replace(zone, label=zone.name or zone.id, reason=reason)
