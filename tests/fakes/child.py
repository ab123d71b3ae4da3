"""Starts `energy_child.py`, and gives what it printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wattest

NOWHERE = "/nonexistent"


@dataclass(frozen=True)
class Job:
    """One window to measure.

    Attributes:
        folder: For its traces.
        seconds: How long it is.
        open_at_ns: Monotonic time at which it opens; at once by default.
        settings: Those of its `find_sensors`, as JSON has them, and `visible_devices`; /sys and
            /proc are empty unless `sys_root` and `proc_root` are among them.
        idle_seconds: For how long an idle baseline is measured before.
        script: That of its own fake NVML; `writer` is the plan of its own counters. With either
            it lives in a time of its own, in which `open_at_ns` is the time 0 of them.
    """

    folder: Path
    seconds: float
    open_at_ns: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    idle_seconds: float = 0.0
    script: Path | None = None
    writer: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """As the child reads it."""
        return {
            "folder": str(self.folder),
            "seconds": self.seconds,
            "idle_seconds": self.idle_seconds,
            "script": self.script and str(self.script),
            "writer": self.writer,
            "open_at_ns": self.open_at_ns or time.monotonic_ns(),
            "settings": {"sys_root": NOWHERE, "proc_root": NOWHERE, **self.settings},
        }


@dataclass
class EnergyChild:
    """A child process that measures windows; `results` waits for it."""

    _process: subprocess.Popen[str]

    def results(self, seconds: float = 60.0) -> list[dict[str, Any]]:
        """What it printed for each job, once it has ended."""
        try:
            out, errors = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        if self._process.returncode:
            raise AssertionError(f"the energy child failed:\n{errors}")
        printed: list[dict[str, Any]] = json.loads(out)
        return printed


def start_energy_child(
    jobs: Sequence[Job], environment: Mapping[str, str] | None = None
) -> EnergyChild:
    """Let a child do all jobs at once, with these variables in its environment."""
    source = str(Path(wattest.__file__).parent.parent)
    tests = str(Path(__file__).parents[1])
    search = os.pathsep.join(filter(None, (source, tests, os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("energy_child.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": search, **(environment or {})},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps([job.as_json() for job in jobs]))
    process.stdin.close()
    process.stdin = None
    return EnergyChild(process)
