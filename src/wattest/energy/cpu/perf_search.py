"""`perf stat` as a child of somebody else: its command line, and whether it counts energy here."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wattest.energy import design
from wattest.energy.cpu.perf_log import IntervalLog
from wattest.energy.types import NS

EVENTS = {"power/energy-pkg/": "cpu_pkg", "power/energy-ram/": "cpu_ram"}
"""The events of perf's `power` unit that are added up, and their domains."""

FIRST_INTERVAL_SECONDS = 1.5
LOG_NAME = "cpu_perf.log"


class PerfChild(Protocol):
    """A `perf stat` that its launcher supervises."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""

    def interrupt(self) -> None:
        """Send it SIGINT; nothing happens if it has ended."""

    def close(self) -> None:
        """End it and reap it; may be called twice."""


PerfLauncher = Callable[[Sequence[str], Path], PerfChild]
"""Starts a command with its output and errors going to a new file."""


def perf_command(perf: str, events: Sequence[str], interval_seconds: float) -> list[str]:
    """The command line; `env` keeps numbers free of the user's locale."""
    interval = str(max(10, round(interval_seconds * 1000)))
    selection = ",".join(events)
    return ["env", "LC_ALL=C", perf, "stat", "-a", "-I", interval, "-x", ",", "-e", selection]


@dataclass(frozen=True)
class PerfSearch:
    """Whether perf can count energy here.

    Attributes:
        perf: The program; empty if there is none.
        events: Those of `EVENTS` that it counts.
        reason: Why it counts none; empty if it does.
        is_forbidden: Whether only a permission is missing.
    """

    perf: str
    events: tuple[str, ...]
    reason: str
    is_forbidden: bool = False


def search_perf(launcher: PerfLauncher | None) -> PerfSearch:
    """Let perf count for one interval, with all events, else with each alone."""
    perf = shutil.which("perf")
    if perf is None or launcher is None:
        reason = "perf is not installed" if perf is None else "perf is not used here"
        return PerfSearch("", (), reason)
    search = _try_events(perf, tuple(EVENTS), launcher)
    if search.events or search.is_forbidden or "Cannot find PMU" in search.reason:
        return search
    package, *_ = EVENTS
    return _try_events(perf, (package,), launcher)


def _try_events(
    perf: str,
    events: tuple[str, ...],
    launcher: PerfLauncher,
) -> PerfSearch:
    command = perf_command(perf, events, design.PERF_INTERVAL_SECONDS)
    with tempfile.TemporaryDirectory(prefix="wattest-perf-") as folder:
        log = IntervalLog(Path(folder) / LOG_NAME, events)
        child = launcher(command, log.path)
        try:
            await_perf(child, log, FIRST_INTERVAL_SECONDS, lambda: log.has_interval)
        finally:
            child.close()
        log.read()
    counted = tuple(event for event, one in log.sums.items() if one.intervals)
    if counted:
        return PerfSearch(perf, counted, "")
    said = " ".join(log.others) or "it printed nothing"
    is_forbidden = "paranoid" in said or "ermission" in said
    return PerfSearch(perf, (), f"perf counts no energy: {said[:200]}", is_forbidden)


def await_perf(
    child: PerfChild,
    log: IntervalLog,
    seconds: float,
    is_done: Callable[[], bool],
) -> None:
    """Read the log until `is_done`, perf has ended, or `seconds` have passed."""
    deadline_ns = time.monotonic_ns() + int(seconds * NS)
    while True:
        has_ended = child.poll() is not None
        log.read()
        if has_ended or is_done() or time.monotonic_ns() >= deadline_ns:
            return
        time.sleep(0.002)
