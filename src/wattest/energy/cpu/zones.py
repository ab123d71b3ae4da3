"""The powercap tree: which zones there are, and which of them cannot be used.

Layout and names: Documentation/power/powercap/powercap.rst of the Linux kernel, and
drivers/powercap/intel_rapl_common.c (`package-N`, `package-N-die-M`, `core`, `uncore`, `dram`,
`psys`). AMD processors appear under the same names.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from wattest.energy.types import ReadingError

_ZONE_ID = re.compile(r"^(?P<control>[A-Za-z][\w-]*?)(?P<numbers>(:\d+)+)$")
_PERMISSION = frozenset({errno.EACCES, errno.EPERM})
_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR, errno.EISDIR})
_MICRO = 1e-6
_MAX_DEPTH = 4
_NAME_BYTES = 256
_NUMBER_BYTES = 64


class ZoneError(ReadingError):
    """A zone, or a folder of the tree, is there but cannot be used.

    Attributes:
        path: What is at fault.
        hides_parts: Whether it is a folder, so that nobody knows what lies in it.
    """

    def __init__(self, gate: str, text: str, path: Path, *, hides_parts: bool = False) -> None:
        self.path = path
        self.hides_parts = hides_parts
        super().__init__(gate, text)


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
    def is_top(self) -> bool:
        """Whether it lies in no other zone."""
        return self.id.count(":") <= 1

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
        if _number(self.folder / "enabled") == 0:
            return None
        patterns = ("constraint_*_power_limit_uw", "constraint_*_max_power_uw")
        values = [_number(path) or 0 for pattern in patterns for path in self.folder.glob(pattern)]
        return max(values) * _MICRO if any(values) else None


def read_small(path: str | Path, most_bytes: int = _NUMBER_BYTES) -> bytes:
    """What a small file holds, less the space around it; a FIFO never keeps us waiting.

    Raises:
        ReadingError: It cannot be read, or holds more than `most_bytes`.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            text = os.read(fd, most_bytes + 1)
        finally:
            os.close(fd)
    except OSError as error:
        raise ReadingError(_gate(error), f"{path}: {error.strerror}") from error
    if len(text) > most_bytes:
        raise ReadingError("read_failed", f"{path}: holds more than {most_bytes} bytes")
    return text.strip()


def _gate(error: OSError) -> str:
    if error.errno in _PERMISSION:
        return "permission_lost"
    return "source_lost" if error.errno in _GONE else "read_failed"


def _number(path: Path) -> int | None:
    try:
        text = read_small(path)
    except ReadingError:
        return None
    return int(text) if text.isdigit() else None


@dataclass
class Search:
    """What a powercap tree holds.

    Attributes:
        zones: Every zone by its id, each once.
        faults: Why a zone cannot be used, by its id, for each that cannot.
        problems: What made the tree hard to read, in words.
    """

    zones: dict[str, Zone] = field(default_factory=dict)
    faults: dict[str, ZoneError] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def look_into(self, folder: Path, depth: int = _MAX_DEPTH) -> list[ZoneError]:
        """Take in the zones in `folder`; the folders that may not be listed and may hold more."""
        try:
            entries = sorted(folder.iterdir()) if depth else []
        except FileNotFoundError:
            return []
        except OSError as error:
            fault = _folder_fault(folder, error)
            self.problems.append(str(fault))
            return [fault] if fault.gate == "permission_lost" else []
        closed: list[ZoneError] = []
        for entry in entries:
            is_zone = _is_zone(entry)
            is_folder, entry_fault = _look_at(entry)
            if is_zone:
                self._take(entry, entry_fault)
            if entry_fault is not None:
                self.problems.append(str(entry_fault))
            elif is_folder and (is_zone or depth == _MAX_DEPTH):
                # A link of the class folder leads to the device; its children are listed there.
                closed += self.look_into(entry, depth - 1)
        return [] if any(map(_is_zone, entries)) else closed

    def _take(self, folder: Path, fault: ZoneError | None) -> None:
        """Take in a zone, unless it was found in order elsewhere."""
        zone_id = folder.name
        if zone_id in self.zones and zone_id not in self.faults:
            return
        name = ""
        if fault is None:
            name, fault = _examine(folder)
        self.zones[zone_id] = Zone(zone_id, name, folder)
        self.faults.pop(zone_id, None)
        if fault is not None:
            self.faults[zone_id] = fault

    def forget_dead_links(self) -> None:
        """Drop the zones where there is nothing but links that lead nowhere."""
        dead = [
            one for one in self.faults.values() if one.hides_parts and one.gate == "source_lost"
        ]
        if len(dead) == len(self.zones):
            self.zones.clear()
            self.faults.clear()


def find_zones(sys_root: Path) -> Search:
    """Look for zones below `sys_root`, under `class/powercap` and `devices/virtual/powercap`.

    Either may be missing where only part of a host's /sys is mounted; a zone that appears in both
    counts once. Where neither could be listed whole, a folder that is closed stands for a zone.
    """
    search = Search()
    closed: list[ZoneError] = []
    is_whole = False
    for top in (sys_root / "class" / "powercap", sys_root / "devices" / "virtual" / "powercap"):
        closed_here = search.look_into(top)
        is_whole |= bool(search.zones) and not closed_here
        closed += closed_here
    search.forget_dead_links()
    for fault in () if is_whole else closed:
        search.zones[fault.path.name] = Zone(fault.path.name, "", fault.path)
        search.faults[fault.path.name] = fault
    return search


def _is_zone(entry: Path) -> bool:
    return _ZONE_ID.match(entry.name) is not None


def _look_at(entry: Path) -> tuple[bool, ZoneError | None]:
    """Whether `entry` is a folder, and why that cannot be told."""
    try:
        return stat.S_ISDIR(entry.stat().st_mode), None
    except OSError as error:
        return False, _folder_fault(entry, error)


def _folder_fault(folder: Path, error: OSError) -> ZoneError:
    text = f"{folder}: {error.strerror}"
    if error.errno == errno.ENOENT and folder.is_symlink():
        text = f"{folder} points to {folder.readlink()}, which is not there"
    return ZoneError(_gate(error), text, folder, hides_parts=True)


def _examine(folder: Path) -> tuple[str, ZoneError | None]:
    """The name of a zone, and why it cannot be used, if it cannot."""
    fault, path = None, folder / "name"
    try:
        os.lstat(folder / "energy_uj")
    except FileNotFoundError:
        fault = ZoneError("source_lost", f"{folder}: has no energy_uj", folder)
    except OSError as error:
        return "", _folder_fault(folder, error)
    try:
        name = read_small(path, _NAME_BYTES).decode("utf-8", "replace")
    except ReadingError as error:
        return "", fault or ZoneError(error.gate, str(error), path)
    if not name or not name.isprintable():
        return "", fault or ZoneError("read_failed", f"{path}: holds no name", path)
    return name, fault
