"""The powercap tree: which zones there are, and which of them may be added up.

Layout and names: Documentation/power/powercap/powercap.rst of the Linux kernel, and
drivers/powercap/intel_rapl_common.c (`package-N`, `package-N-die-M`, `core`, `uncore`, `dram`,
`psys`). AMD processors appear under the same names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_ZONE_ID = re.compile(r"^(?P<control>[A-Za-z][\w-]*?)(?P<numbers>(:\d+)+)$")
_PACKAGE = re.compile(r"^package-\d+(-die-\d+)?$")
_MICRO = 1e-6
_MAX_DEPTH = 4

_NOT_ADDED = {
    "core": "lies inside its package",
    "uncore": "lies inside its package",
    "psys": "covers the packages and more of the platform: adding it would count them twice",
}


@dataclass(frozen=True)
class Zone:
    """One zone of the powercap tree.

    Attributes:
        id: `intel-rapl:0` or `intel-rapl:0:1`.
        name: What it measures: `package-0`, `dram`, `core` …
        folder: Where its files are.
        domain: `cpu_pkg` or `cpu_ram`; empty for what is not added up.
        label: `package-0` or `package-0/dram`; unique among the zones of a machine.
        reason: Why it is not added up; empty if it is.
    """

    id: str
    name: str
    folder: Path
    domain: str = ""
    label: str = ""
    reason: str = ""

    @property
    def control_type(self) -> str:
        """The part of its id that names the interface, e.g. `intel-rapl-mmio`."""
        return self.id.partition(":")[0]

    @property
    def parent_id(self) -> str:
        """The zone that contains it, or the control type."""
        return self.id.rpartition(":")[0]

    @property
    def energy_path(self) -> Path:
        """Its counter, in microjoules."""
        return self.folder / "energy_uj"

    def max_range(self) -> int | None:
        """The greatest value of its counter in microjoules; None if that cannot be read."""
        value = _number(self.folder / "max_energy_range_uj")
        return value if value else None

    def limit_watts(self) -> float | None:
        """The highest power limit that is stated for it; None if there is none or it is off."""
        if _text(self.folder / "enabled") == "0":
            return None
        patterns = ("constraint_*_power_limit_uw", "constraint_*_max_power_uw")
        values = [_number(path) or 0 for pattern in patterns for path in self.folder.glob(pattern)]
        return max(values) * _MICRO if any(values) else None


@dataclass(frozen=True)
class Search:
    """Result of looking through a powercap tree.

    Attributes:
        zones: Every zone with an energy counter, once, in the order of their ids.
        problems: What made the tree hard to read, in words.
    """

    zones: tuple[Zone, ...]
    problems: tuple[str, ...]


def find_zones(sys_root: Path) -> Search:
    """Look for zones below `sys_root`, under `class/powercap` and `devices/virtual/powercap`.

    Either may be missing where only part of a host's /sys is mounted; a zone that appears in both
    counts once.
    """
    found: dict[str, Zone] = {}
    problems: list[str] = []
    for top in (sys_root / "class" / "powercap", sys_root / "devices" / "virtual" / "powercap"):
        for folder in _folders(top, problems, _MAX_DEPTH):
            if folder.name in found or not _ZONE_ID.match(folder.name):
                continue
            if os.path.lexists(folder / "energy_uj"):
                found[folder.name] = Zone(folder.name, _text(folder / "name"), folder)
    if found:
        problems.clear()
    return Search(tuple(sorted(found.values(), key=_order)), tuple(problems))


def _folders(top: Path, problems: list[str], depth: int) -> Iterator[Path]:
    try:
        entries = sorted(top.iterdir()) if depth else []
    except FileNotFoundError:
        return
    except OSError as error:
        problems.append(f"{top}: {error.strerror}")
        return
    for entry in entries:
        if entry.is_symlink() and not entry.exists():
            problems.append(f"{entry} points to {entry.readlink()}, which is not there")
        elif entry.is_dir() and (":" in entry.name or depth == _MAX_DEPTH):
            yield entry
            # A link of the class folder leads back to the device; its children are listed there.
            yield from _folders(entry, problems, depth - 1)


def _order(zone: Zone) -> tuple[str, list[int]]:
    return zone.control_type, [int(number) for number in zone.id.split(":")[1:]]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isascii() and text.isdigit() else None


def classify(zones: Iterable[Zone], values: Mapping[str, tuple[int, ...]]) -> tuple[Zone, ...]:
    """Say of each zone whether it is added up, in which domain, or why not.

    Of zones that measure the same package, those of `intel-rapl` come before others, and
    `intel-rapl-mmio` comes last. Two zones of one control type that bear one name are the same
    counter if all their readings agree, else two dies.

    Args:
        zones: All zones of the machine.
        values: Readings of each zone by id, taken close together, to compare counters by.
    """
    ordered = sorted(zones, key=lambda zone: (_rank(zone), _order(zone)))
    packages: dict[str, Zone] = {}
    judged: dict[str, Zone] = {}
    for zone in ordered:
        if _PACKAGE.match(zone.name):
            judged[zone.id] = _judge_package(zone, packages, values)
            if judged[zone.id].domain:
                packages[zone.id] = judged[zone.id]
    for zone in ordered:
        if zone.id not in judged:
            judged[zone.id] = _judge_part(zone, packages, judged)
    return tuple(judged[zone.id] for zone in sorted(ordered, key=_order))


def _rank(zone: Zone) -> int:
    if zone.control_type == "intel-rapl":
        return 0
    return 2 if "mmio" in zone.control_type else 1


def _judge_package(
    zone: Zone, packages: Mapping[str, Zone], values: Mapping[str, tuple[int, ...]]
) -> Zone:
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
