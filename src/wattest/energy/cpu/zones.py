"""The powercap tree: which zones there are, and which of them cannot be used.

Layout and names: Documentation/power/powercap/powercap.rst of the Linux kernel, and
drivers/powercap/intel_rapl_common.c (`package-N`, `package-N-die-M`, `core`, `uncore`, `dram`,
`psys`). AMD processors appear under the same names.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

from wattest.energy.types import ReadingError

_ZONE_ID = re.compile(r"^[A-Za-z][\w-]*(:\d+)+$")
_PERMISSION = frozenset({errno.EACCES, errno.EPERM})
_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR, errno.EISDIR})
_NAME_BYTES = 256
_NUMBER_BYTES = 64


class ZoneError(ReadingError):
    """A zone is there but cannot be used, or a folder, which then `hides_parts`."""

    def __init__(self, gate: str, text: str, path: Path, *, hides_parts: bool = False) -> None:
        self.path = path
        self.hides_parts = hides_parts
        super().__init__(gate, text)


@dataclass(frozen=True)
class Zone:
    """One zone of the powercap tree.

    Attributes:
        folder: Where its files are; it bears its id, e.g. `intel-rapl:0:1`.
        name: What it measures: `package-0`, `dram`, `core` …; empty if that cannot be read.
        fault: Why it cannot be used; None if it can.
        domain: `cpu_pkg` or `cpu_ram`; empty for what is not added up, for a stated reason.
        label: `package-0` or `package-0/dram`; unique among the zones of a machine.
    """

    folder: Path
    name: str = ""
    fault: ReadingError | None = None
    domain: str = ""
    label: str = ""
    reason: str = ""

    @property
    def id(self) -> str:
        """`intel-rapl:0` or `intel-rapl:0:1`."""
        return self.folder.name

    @property
    def control_type(self) -> str:
        """The part of its id that names the interface, e.g. `intel-rapl-mmio`."""
        return self.id.partition(":")[0]

    @property
    def is_top(self) -> bool:
        """Whether it lies in no other zone."""
        return self.id.count(":") <= 1

    def max_range(self) -> int | None:
        """The greatest value of its counter in microjoules; None if that cannot be read."""
        return _number(self.folder / "max_energy_range_uj") or None

    def limit_watts(self) -> float | None:
        """The highest power limit that is stated for it; None if there is none or it is off."""
        if _number(self.folder / "enabled") == 0:
            return None
        patterns = ("constraint_*_power_limit_uw", "constraint_*_max_power_uw")
        values = [_number(path) or 0 for pattern in patterns for path in self.folder.glob(pattern)]
        return max(values) * 1e-6 if any(values) else None


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
        raise ReadingError(gate_of(error), f"{path}: {error.strerror}") from error
    if len(text) > most_bytes:
        raise ReadingError("read_failed", f"{path}: holds more than {most_bytes} bytes")
    return text.strip()


def gate_of(error: OSError) -> str:
    """Which gate refuses a counter that fails so."""
    if error.errno in _PERMISSION:
        return "permission_lost"
    return "source_lost" if error.errno in _GONE else "read_failed"


def _number(path: Path) -> int | None:
    try:
        text = read_small(path)
    except ReadingError:
        return None
    return int(text) if text.isdigit() else None


def find_zones(sys_root: Path) -> tuple[list[Zone], list[str]]:
    """The zones, and what made the tree hard to read.

    It stands under `class/powercap` and `devices/virtual/powercap`. Either may be missing where
    only part of a host's /sys is mounted; of a zone that appears in both, the one in order counts.
    Where neither could be listed whole, a folder that is closed stands for a zone. Where there are
    only links that lead nowhere, there is no zone.
    """
    zones: dict[str, Zone] = {}
    closed: list[ZoneError] = []
    problems: list[str] = []
    is_whole = False
    for top in (sys_root / "class" / "powercap", sys_root / "devices" / "virtual" / "powercap"):
        found, faults = _look_into(top)
        for zone in found:
            if zone.id not in zones or zones[zone.id].fault is not None:
                zones[zone.id] = zone
        problems += [str(fault) for fault in faults]
        closed_here = [fault for fault in faults if fault.gate == "permission_lost"]
        is_whole |= bool(zones) and not closed_here
        closed += closed_here
    dead = [str(zone.fault) for zone in zones.values() if _leads_nowhere(zone)]
    if len(dead) == len(zones):
        zones.clear()
    hidden = [] if is_whole else [Zone(fault.path, fault=fault) for fault in closed]
    return [*zones.values(), *hidden], dead + problems


def _look_into(top: Path) -> tuple[list[Zone], list[ZoneError]]:
    """The zones below a folder, and why other folders below it cannot be listed.

    The kernel links every zone into the class folder; those links are not followed any further.
    """
    errors: list[OSError] = []
    zones = [
        _examine(Path(folder, name))
        for folder, folders, others in os.walk(top, onerror=errors.append)
        for name in sorted(filter(_ZONE_ID.match, folders + others))
    ]
    faults = []
    for error in errors:
        path = Path(error.filename)
        is_of_zone = any(map(_ZONE_ID.match, path.relative_to(top).parts))
        if error.errno != errno.ENOENT and not is_of_zone:
            faults.append(_folder_fault(path, error))
    return zones, faults


def _leads_nowhere(zone: Zone) -> bool:
    fault = zone.fault
    return isinstance(fault, ZoneError) and fault.hides_parts and fault.gate == "source_lost"


def _folder_fault(folder: Path, error: OSError) -> ZoneError:
    text = f"{folder}: {error.strerror}"
    if error.errno == errno.ENOENT and folder.is_symlink():
        text = f"{folder} points to {folder.readlink()}, which is not there"
    return ZoneError(gate_of(error), text, folder, hides_parts=True)


def _examine(folder: Path) -> Zone:
    """A zone by its folder: its name, and why it cannot be used, if it cannot."""
    path, fault = folder / "name", None
    try:
        folder.stat()
        (folder / "energy_uj").lstat()
    except OSError as error:
        if error.errno != errno.ENOENT or not folder.exists():
            return Zone(folder, fault=_folder_fault(folder, error))
        fault = ZoneError("source_lost", f"{folder}: has no energy_uj", folder)
    try:
        name = read_small(path, _NAME_BYTES).decode("utf-8", "replace")
    except ReadingError as error:
        return Zone(folder, fault=fault or ZoneError(error.gate, str(error), path))
    if not name or not name.isprintable():
        return Zone(folder, fault=fault or ZoneError("read_failed", f"{path}: holds no name", path))
    return Zone(folder, name, fault)
