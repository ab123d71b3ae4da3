"""A fake powercap tree, and a process that lets its counters run at a known power."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from .clock import FakeTime
from .powercap_writer import Writer
from .profile import Profile

REAL_RANGE_UJ = 262_143_328_850
"""max_energy_range_uj of many Intel processors: 32 bits at 2⁻¹⁴ J."""


@dataclass(frozen=True)
class Event:
    """Something that happens to a counter, `at` seconds after the profile begins.

    Kinds: `freeze`, `thaw` (what was used meanwhile is lost), `reset` (to 0), `jump` (by
    `text` joules), `unlink`, `directory` (in its place: what a lost permission is to root), `deny`
    (mode 0), `text` (shows `text` instead), `restore` (ends the last four; nothing is lost).
    """

    kind: str
    at: float
    text: str = ""


class PowercapTree:
    """A tree like /sys, as far as powercap is concerned.

    Args:
        root: Created; what to pass as the root of /sys.
        layout: `class` for `class/powercap` with plain folders, `device` for
            `devices/virtual/powercap` with links from `class/powercap`, as the kernel has it.
    """

    def __init__(self, root: Path, layout: str = "class") -> None:
        self.root = root
        self._layout = layout
        (root / "class" / "powercap").mkdir(parents=True)

    def add_package(self, number: int = 0, **facts: Any) -> Path:
        """A package zone; `facts` as for `add_zone`."""
        name = facts.pop("name", f"package-{number}")
        return self.add_zone(f"intel-rapl:{number}", name, **facts)

    def add_dram(self, package: int = 0, part: int = 0, **facts: Any) -> Path:
        """The DRAM zone of a package."""
        return self.add_zone(f"intel-rapl:{package}:{part}", "dram", **facts)

    def add_zone(
        self,
        zone: str,
        name: str,
        *,
        energy_uj: int = 1_000_000,
        range_uj: int | str | None = REAL_RANGE_UJ,
        limit_watts: float | None = None,
    ) -> Path:
        """Any zone, its counter standing at `energy_uj`; its folder.

        Args:
            zone: Its id, e.g. `intel-rapl:0:1` or `intel-rapl-mmio:0`.
            name: What it says it measures.
            energy_uj: Its counter.
            range_uj: Its greatest value; text to put in its place; None for no such file.
            limit_watts: Its long-term power limit.
        """
        folder = self._folder(zone)
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{energy_uj}\n")
        if range_uj is not None:
            (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        if limit_watts is not None:
            limit = folder / "constraint_0_power_limit_uw"
            limit.write_text(f"{round(limit_watts * 1e6)}\n")
        return folder

    def _folder(self, zone: str) -> Path:
        listed = self.root / "class" / "powercap" / zone
        if self._layout == "class":
            return listed
        control, *numbers = zone.split(":")
        folder = Path("devices") / "virtual" / "powercap" / control
        for last in range(1, len(numbers) + 1):
            folder /= ":".join([control, *numbers[:last]])
        listed.symlink_to(Path("..") / ".." / folder)
        return self.root / folder


@dataclass
class PowercapWriter:
    """Lets the counters of a tree run in a process of its own, for as long as it is entered.

    Attributes:
        zones: Power by the folder of each zone that runs.
        events: What happens to each, if anything does.
        period: Time between two updates, in seconds.
        trigger: If given, the profiles begin when this file appears; until then the power is that
            of their first points.
        log: Where the process writes what happens; beside the first zone by default.
        is_favoured: Whether it goes before other processes, as far as we may.
    """

    zones: Mapping[Path, Profile]
    events: Mapping[Path, Sequence[Event]] = field(default_factory=dict)
    period: float = 0.01
    trigger: Path | None = None
    log: Path | None = None
    is_favoured: bool = True
    _process: subprocess.Popen[str] | None = None

    @contextmanager
    def within(self, clock: FakeTime) -> Iterator[PowercapWriter]:
        """Let them run in this process instead, in a time of its own."""
        self.log = self._log()
        writer = Writer(self.plan(), clock.now_ns)
        clock.every(writer.period_ns, writer.step)
        clock.pass_ns(0)
        try:
            yield self
        finally:
            writer.close()

    def _log(self) -> Path:
        return self.log or next(iter(self.zones)).parent.parent.parent / "writer.jsonl"

    def __enter__(self) -> PowercapWriter:
        self.log = self._log()
        program = Path(__file__).with_name("powercap_writer.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(program)], stdin=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self.plan()) + "\n")
        self._process.stdin.flush()
        self.wait_for("ready")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def happened(self) -> list[dict[str, Any]]:
        """What the process has logged so far."""
        assert self.log is not None
        if not self.log.exists():
            return []
        whole = [line for line in self.log.read_text().splitlines(True) if line.endswith("\n")]
        return [json.loads(line) for line in whole]

    def wait_for(self, what: str, seconds: float = 10.0) -> dict[str, Any]:
        """The first line of the log that says `what`, once it is there."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in self.happened():
                if line["what"] == what:
                    return line
            time.sleep(0.005)
        raise TimeoutError(f"the powercap writer did not say {what!r} within {seconds} s")

    def late_seconds(self, at_ns: int) -> float:
        """How long no counter had moved or was yet to move at a moment of CLOCK_MONOTONIC."""
        gaps = [one for one in self.happened() if one["what"] == "late"]
        return sum(
            (one["until_ns"] - one["since_ns"]) / 1e9
            for one in gaps
            if one["since_ns"] <= at_ns <= one["until_ns"]
        )

    def energy_joules(self, zone: Path, start_ns: int, end_ns: int) -> float:
        """What `zone` truly used between two moments of CLOCK_MONOTONIC."""
        epoch_ns = int(self.wait_for("started")["epoch_ns"])
        start, end = ((moment - epoch_ns) / 1e9 for moment in (start_ns, end_ns))
        return self.zones[zone].joules(start, end)

    def plan(self) -> dict[str, Any]:
        """What is to happen, as JSON has it."""
        return {
            "period": self.period,
            "log": str(self.log),
            "is_favoured": self.is_favoured,
            "trigger": str(self.trigger) if self.trigger else None,
            "zones": [
                {
                    "path": str(folder / "energy_uj"),
                    "points": profile.points,
                    "start_uj": int((folder / "energy_uj").read_text()),
                    "range_uj": _range(folder),
                    "events": [vars(event) for event in self.events.get(folder, ())],
                }
                for folder, profile in self.zones.items()
            ],
        }


def _range(folder: Path) -> int:
    """The range a counter wraps at, though it may not be readable for others."""
    file = folder / "max_energy_range_uj"
    text = file.read_text().strip() if file.is_file() else ""
    return int(text) if text.isdigit() and int(text) else REAL_RANGE_UJ
