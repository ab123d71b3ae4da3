"""Starts `energy_child.py`, and gives what it printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wattest

NOWHERE = Path("/nonexistent")


@dataclass
class EnergyChild:
    """A child process that measures one window; `result` waits for it.

    Attributes:
        folder: Where its traces are.
    """

    folder: Path
    _process: subprocess.Popen[str]

    def result(self, seconds: float = 60.0) -> dict[str, Any]:
        """What it printed, once it has ended."""
        try:
            out, errors = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        if self._process.returncode:
            raise AssertionError(f"the energy child failed:\n{errors}")
        printed: dict[str, Any] = json.loads(out)
        return printed


def start_energy_child(
    folder: Path,
    seconds: float,
    *,
    environment: Mapping[str, str] | None = None,
    open_at_ns: int = 0,
    **settings: Any,
) -> EnergyChild:
    """Let a child measure `seconds` from `open_at_ns` on, with the given sensor settings.

    /sys and /proc are empty unless `sys_root` and `proc_root` are among the settings.
    """
    source = str(Path(wattest.__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("energy_child.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source, **(environment or {})},
    )
    roots = {"sys_root": str(NOWHERE), "proc_root": str(NOWHERE)}
    given = {
        "settings": {**roots, **settings},
        "folder": str(folder),
        "seconds": seconds,
        "open_at_ns": open_at_ns or time.monotonic_ns(),
    }
    assert process.stdin is not None
    process.stdin.write(json.dumps(given))
    process.stdin.close()
    process.stdin = None
    return EnergyChild(folder, process)
