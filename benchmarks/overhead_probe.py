"""What overhead.py has done in a process of its own, which sees the scripted hardware.

python overhead_probe.py steady SYS_ROOT SECONDS
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

from wattest.energy import SensorConfig, Sensors, find_sensors


def steady(sensors: Sensors, seconds: float) -> dict[str, object]:
    """Sample for a while at 10 Hz, as shipped: power at 10 Hz, powercap at 1 Hz."""
    scratch = tempfile.TemporaryDirectory()
    with scratch as folder, sensors.meter().open(Path(folder) / "window") as window:
        began = time.process_time()
        window.wait((), window.opened_ns + int(seconds * 1e9))
        spent = time.process_time() - began
        cost = window.close().meter_cost
    return {
        "own_cpu_percent": 100 * spent / seconds,
        "p95_period_seconds": cost["p95_period_seconds"],
        "samples": cost["samples"],
        "longest_gap_seconds": cost["longest_gap_seconds"],
    }


def pairs(sensors: Sensors, count: int, command: list[str]) -> list[tuple[float, float]]:
    """Durations in seconds (with the meter, without it), which goes first in turns."""
    found = []
    for number in range(count):
        first_is_metered = number % 2 == 0
        seconds = {
            metered: _train(sensors if metered else None, command)
            for metered in (first_is_metered, not first_is_metered)
        }
        found.append((seconds[True], seconds[False]))
    return found


def _train(sensors: Sensors | None, command: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        window = sensors.meter().open(Path(folder) / "window") if sensors else None
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        if window is not None:
            window.wait([os.pidfd_open(process.pid)])
        code = process.wait()
        seconds = time.monotonic() - began
        if window is not None:
            window.close()
    if code:
        raise SystemExit(f"the training ended with exit code {code}")
    return seconds


def main() -> None:
    """Print the answer as JSON."""
    what, sys_root, amount = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    with find_sensors(SensorConfig(sys_root=sys_root)) as sensors:
        if what == "steady":
            print(json.dumps(steady(sensors, float(amount))))
        else:
            print(json.dumps(pairs(sensors, int(amount), sys.argv[4:])))


if __name__ == "__main__":
    main()
