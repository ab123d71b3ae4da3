"""What overhead.py has done in a process of its own, which sees the scripted hardware.

python overhead_probe.py steady SYS_ROOT SECONDS
python overhead_probe.py marks SYS_ROOT SECONDS LINES
python overhead_probe.py pairs SYS_ROOT COUNT COMMAND …
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from wattest.energy import Sensors, Window, find_sensors
from wattest.patterns import compile_pattern
from wattest.run.activeload import ActiveLoad
from wattest.run.foreground import _watch
from wattest.run.marks import MarkReader
from wattest.run.outcome import Attempt

_EPOCH = compile_pattern(r"Epoch (\d+)/(\d+) train_loss")
_WRITER = """\
import sys, time
lines = int(sys.argv[1])
for i in range(1, 100000):
    for step in range(1, lines):
        time.sleep(1 / lines)
        print(f"Epoch {i}/99999 step {step}/{lines} loss 0.1234", flush=True)
    time.sleep(1 / lines)
    print(f"Epoch {i}/99999 train_loss 0.1234", flush=True)
"""


def steady(sensors: Sensors, seconds: float) -> dict[str, object]:
    """Sample for a while as shipped: power at 10 Hz, powercap every 0.4 s."""
    scratch = tempfile.TemporaryDirectory()
    with scratch as folder, sensors.open_window(Path(folder) / "window") as window:
        began = time.process_time()
        window.wait((), window.opened_ns + int(seconds * 1e9))
        return _told(window, time.process_time() - began, seconds)


def marks(sensors: Sensors, seconds: float, lines: str) -> dict[str, object]:
    """Sample while a log is followed that grows by so many lines a second, one of them a mark."""
    scratch = tempfile.TemporaryDirectory()
    with scratch as name, (Path(name) / "log").open("wb") as log:
        command = [sys.executable, "-I", "-S", "-c", _WRITER, lines]
        writer = subprocess.Popen(command, stdout=log)
        try:
            with sensors.open_window(Path(name) / "window") as window:
                attempt = Attempt(1, (), seconds, Path(log.name), Path(name), "")
                attempt.marks = MarkReader(attempt.log, _EPOCH)
                began = time.process_time()
                _watch(Endless(), window, attempt, ActiveLoad(), None)  # type: ignore[arg-type]
                told = _told(window, time.process_time() - began, seconds)
        finally:
            writer.kill()
            writer.wait()
    return {**told, "marks": sum(mark.alone for mark in attempt.marks.marks)}


class Endless:
    """A process tree that never ends."""

    def poll(self) -> None:
        """It goes on."""

    def stop(self) -> None:
        """Time is over."""

    def filenos(self) -> tuple[int, ...]:
        """Nothing wakes its watcher."""
        return ()


def _told(window: Window, spent: float, seconds: float) -> dict[str, object]:
    cost = window.close().meter_cost
    return {
        "own_cpu_percent": 100 * spent / seconds,
        "p95_period_seconds": cost["p95_period_seconds"],
        "samples": cost["samples"],
        "longest_gap_seconds": cost["longest_gap_seconds"],
    }


def pairs(sensors: Sensors, count: int, command: list[str]) -> list[dict[str, list[float]]]:
    """Wall and CPU seconds of each pair, `metered` and `plain`, which goes first in turns."""
    found = []
    for number in range(count):
        names = ("metered", "plain") if number % 2 == 0 else ("plain", "metered")
        found.append({name: _train(sensors if name == "metered" else None, command)
                      for name in names})  # fmt: skip
    return found


def _train(sensors: Sensors | None, command: list[str]) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        window = sensors.open_window(Path(folder) / "window") if sensors else None
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        if window is not None:
            pidfd = os.pidfd_open(process.pid)
            window.wait([pidfd])
            os.close(pidfd)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if window is not None:
            window.close()
    if process.returncode:
        raise SystemExit(f"the training ended with exit code {process.returncode}")
    return [seconds, usage.ru_utime + usage.ru_stime]


def main() -> None:
    """Print the answer as JSON."""
    what, sys_root, amount = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    with find_sensors(sys_root) as sensors:
        if what == "steady":
            print(json.dumps(steady(sensors, float(amount))))
        elif what == "marks":
            print(json.dumps(marks(sensors, float(amount), sys.argv[4])))
        else:
            print(json.dumps(pairs(sensors, int(amount), sys.argv[4:])))


if __name__ == "__main__":
    main()
