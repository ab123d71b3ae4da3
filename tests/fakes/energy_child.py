"""A process of its own that measures one window, so that it can have its own NVML.

Reads a JSON document from standard input: `settings` of the `SensorConfig`, `folder` for the
traces, `seconds` of the window, and `open_at_ns`, the monotonic time at which to open it. Prints
one JSON document: what was found and measured, or the error.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from wattest.energy import SensorConfig, Sensors, find_sensors
from wattest.errors import WattestError


def main() -> None:
    """Measure and print."""
    given = json.loads(sys.stdin.read())
    settings = given["settings"]
    for name in ("sys_root", "proc_root"):
        settings[name] = Path(settings[name])
    settings["allow_missing"] = frozenset(settings.get("allow_missing", ()))
    try:
        with find_sensors(SensorConfig(**settings)) as sensors:
            print(json.dumps(measure(sensors, given)))
    except WattestError as error:
        print(json.dumps({"error": str(error), "kind": type(error).__name__}))


def measure(sensors: Sensors, given: dict) -> dict:
    """One window."""
    time.sleep(max(0, given["open_at_ns"] - time.monotonic_ns()) / 1e9)
    about = {
        "findings": [asdict(finding) for finding in sensors.findings],
        "promised": sensors.promised(),
        "describe": sensors.describe(),
        "hardware": sensors.hardware(),
        "state": [asdict(state) for state in sensors.gpu_state()],
    }
    window = sensors.meter().open(Path(given["folder"]))
    window.wait((), window.opened_ns + int(given["seconds"] * 1e9))
    latest = window.latest()
    measurement = window.close()
    return {
        **about,
        "opened_ns": measurement.opened_ns,
        "closed_ns": measurement.closed_ns,
        "metrics": measurement.energy_metrics(),
        "provenance": measurement.provenance(),
        "faults": [fault.as_dict() for fault in measurement.faults],
        "flags": [flag.as_dict() for flag in measurement.flags],
        "cost": dict(measurement.meter_cost),
        "latest": asdict(latest),
    }


if __name__ == "__main__":
    main()
