"""A fake `power` unit of perf events: its files in a tree like /sys, and the system call itself.

The library that `build_fake_perf` made is preloaded into a child process; what that process opens
with perf_event_open(2) are files, which a `PowercapWriter` lets run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .compiled import build

PACKAGE, DRAM = "energy-pkg", "energy-ram"
_NUMBERS = {PACKAGE: 2, DRAM: 3}
_SCALE = "2.3283064365386962890625e-10"


def build_fake_perf(folder: Path) -> Path:
    """Build the library in `folder`, unless it is there; the library.

    Skips the test where there is no C compiler.
    """
    return build("fake_perf.c", folder / "fake_perf.so", "-ldl")


class PerfUnit:
    """The unit of one machine.

    Args:
        sys_root: What to pass as the root of /sys.
        stage: The folder below which all units have their counters.
        number: The type of the unit, which tells it from others in one process.
        cpus: One CPU of every package.
    """

    def __init__(
        self, sys_root: Path, stage: Path, number: int = 24, cpus: tuple[int, ...] = (0,)
    ) -> None:
        self._files = sys_root / "bus" / "event_source" / "devices" / "power"
        self._counters = stage / str(number)
        self._cpus = cpus
        (self._files / "events").mkdir(parents=True)
        (self._files / "type").write_text(f"{number}\n")
        (self._files / "cpumask").write_text(",".join(map(str, cpus)) + "\n")
        self._counters.mkdir(parents=True)

    def add_event(self, name: str = PACKAGE, unit: str = "Joules") -> list[Path]:
        """Add an event; the folder of its counter on every CPU, for a `PowercapWriter`."""
        events = self._files / "events"
        (events / name).write_text(f"event=0x{_NUMBERS[name]:02x}\n")
        (events / f"{name}.scale").write_text(f"{_SCALE}\n")
        (events / f"{name}.unit").write_text(f"{unit}\n")
        folders = [self._counters / f"{_NUMBERS[name]}-{cpu}" for cpu in self._cpus]
        for folder in folders:
            folder.mkdir()
            (folder / "energy_uj").write_text("1000000\n")
        return folders

    def refuse(self, error: int) -> None:
        """Let the system call fail with an `errno`."""
        (self._counters / "errno").write_text(f"{error}\n")


def perf_environment(library: Path, stage: Path) -> Mapping[str, str]:
    """The variables that make a child process see the units below `stage`."""
    preloaded = [str(library), os.environ.get("LD_PRELOAD", "")]
    return {"LD_PRELOAD": " ".join(filter(None, preloaded)), "WATTEST_FAKE_PERF": str(stage)}
