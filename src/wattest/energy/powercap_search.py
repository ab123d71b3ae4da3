"""The zones of this machine: reading one, and which of them can be read and added up."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wattest.energy.base import NS, Clock, CounterSpec, ReadingError
from wattest.energy.probe import Probed
from wattest.energy.thresholds import Thresholds
from wattest.energy.zones import Zone, classify, find_zones

_MICRO = 1e-6
_PERMISSION = frozenset({errno.EACCES, errno.EPERM})
_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR, errno.EISDIR})
_COMPARISONS = 3


def read_microjoules(path: str) -> int:
    """Read one counter.

    Raises:
        ReadingError: It cannot be read, or holds something other than digits.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            text = os.read(fd, 64).strip()
        finally:
            os.close(fd)
    except OSError as error:
        raise ReadingError(_gate(error), f"{path}: {error.strerror}") from error
    if not text.isdigit():
        shown = text.decode("ascii", "backslashreplace")
        raise ReadingError("read_failed", f"{path}: holds {shown!r} instead of a number")
    return int(text)


def _gate(error: OSError) -> str:
    if error.errno in _PERMISSION:
        return "permission_lost"
    return "source_lost" if error.errno in _GONE else "read_failed"


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

    def spec(self, thresholds: Thresholds) -> CounterSpec:
        """The counter as a track needs it."""
        own = (self.limit_watts or 0.0) * thresholds.wrap_power_limit_ratio
        wrap_watts = max(thresholds.wrap_power_watts, own)
        longest = self.probed.longest_seconds if self.probed else None
        return CounterSpec(
            label=self.zone.label,
            domain=self.zone.domain,
            joules_per_count=_MICRO,
            wraps=True,
            max_range=self.max_range,
            period_seconds=self.probed.period_seconds if self.probed else None,
            step_seconds=thresholds.probe_seconds if longest is None else longest,
            wrap_watts=wrap_watts,
            jump_watts=max(thresholds.jump_power_watts, wrap_watts),
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
        unreadable: Zones that should be added up but cannot be read, with the error.
        problems: What made the tree hard to read.
    """

    members: tuple[Member, ...]
    rejected: tuple[Zone, ...]
    unreadable: tuple[tuple[Zone, ReadingError], ...]
    problems: tuple[str, ...]


def search_powercap(sys_root: Path, clock: Clock, retry_seconds: float) -> PowercapSearch:
    """Find the zones below `sys_root`, and read each once to see whether that is allowed."""
    search = find_zones(sys_root)
    values: dict[str, tuple[int, ...]] = {}
    errors: dict[str, ReadingError] = {}
    for zone in search.zones:
        try:
            values[zone.id] = (_read_patiently(zone, clock, retry_seconds),)
        except ReadingError as error:
            errors[zone.id] = error
    for _ in range(_COMPARISONS):
        _compare(search.zones, values)
    zones = classify(search.zones, values)
    counted = [zone for zone in zones if zone.domain]
    return PowercapSearch(
        members=tuple(
            Member(zone, _range_of(zone, values[zone.id]), zone.limit_watts())
            for zone in counted
            if zone.id not in errors
        ),
        rejected=tuple(zone for zone in zones if not zone.domain),
        unreadable=tuple((zone, errors[zone.id]) for zone in counted if zone.id in errors),
        problems=search.problems,
    )


def _read_patiently(zone: Zone, clock: Clock, retry_seconds: float) -> int:
    deadline_ns = clock.monotonic_ns() + int(retry_seconds * NS)
    while True:
        try:
            return read_microjoules(str(zone.energy_path))
        except ReadingError as error:
            if error.gate == "permission_lost" or clock.monotonic_ns() >= deadline_ns:
                raise
            clock.sleep(0.005)


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
