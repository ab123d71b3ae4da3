"""Installs a fake `perf`, and starts it the way a supervisor would."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGE, DRAM = "power/energy-pkg/", "power/energy-ram/"


def install_fake_perf(folder: Path, **plan: Any) -> Path:
    """Make `folder/perf`, an executable that behaves by `plan`; the folder.

    Plan: `watts` by event; `refuses` (what it says and then ends); `stuck_after`, `blind_after`,
    `dies_after` and `stops_after` (it hangs), in seconds; `zero` (from and until when it counts
    nothing and says 0); `quiet` (from and until when it counts and prints nothing, as with a full
    disk).
    """
    folder.mkdir(parents=True)
    program = folder / "perf"
    source = Path(__file__).with_name("fake_perf.py").read_text()
    # Started by a shell: the first line of a script cannot name a path with a space in it.
    (folder / "fake_perf.py").write_text(source)
    python, script = shlex.quote(sys.executable), shlex.quote(str(folder / "fake_perf.py"))
    program.write_text(f'#!/bin/sh\nexec {python} {script} "$@"\n')
    program.chmod(0o755)
    (folder / "perf.json").write_text(json.dumps(plan))
    return folder


class ChildOfTest:
    """A `perf` that belongs to the test, as `wattest.energy.PerfChild` has it."""

    started: list[ChildOfTest] = []  # noqa: RUF012 - tests look at every child

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.command = list(command)
        with log.open("wb") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file)
        self.started.append(self)

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def interrupt(self) -> None:
        """Send it SIGINT."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """End it and reap it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(5)
