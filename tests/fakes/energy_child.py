"""A process of its own that measures windows, so that it can have its own NVML.

Reads a JSON list of jobs from standard input, each with `settings` for `find_sensors`, `folder`
for the traces, `seconds` of the window, and `open_at_ns`, the monotonic time at which to open it.
Does them at once and prints a JSON list: what each found and measured, or its error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from wattest.energy import Sensors, find_sensors
from wattest.errors import WattestError


def main() -> None:
    """Measure and print."""
    jobs = json.loads(sys.stdin.read())
    # It plays many machines at once; as far as it may, it waits for nothing else on this one.
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    with ThreadPoolExecutor(len(jobs)) as pool:
        print(json.dumps(list(pool.map(do, jobs))))


def do(job: dict) -> dict:
    """One job."""
    settings = job["settings"]
    for name in ("sys_root", "proc_root"):
        settings[name] = Path(settings[name])
    settings["allow_missing"] = frozenset(settings.get("allow_missing", ()))
    visible = settings.pop("visible_devices", None)
    settings["environment"] = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    try:
        with find_sensors(**settings) as sensors:
            return measure(sensors, job)
    except WattestError as error:
        return {"error": str(error), "kind": type(error).__name__}


def measure(sensors: Sensors, job: dict) -> dict:
    """One window."""
    sensors.learn_periods()
    if job["idle_seconds"]:
        sensors.measure_idle(job["idle_seconds"])
    about = {
        "findings": [asdict(finding) for finding in sensors.findings],
        "promised": sensors.promised(),
        "describe": sensors.describe(),
        "hardware": sensors.hardware(),
        "state": [asdict(state) for state in sensors.gpu_state()],
        "processes": sensors.gpu_processes(),
        "note": sensors.note(),
    }
    time.sleep(max(0, job["open_at_ns"] - time.monotonic_ns()) / 1e9)
    window = sensors.open_window(Path(job["folder"]))
    window.wait((), window.opened_ns + int(job["seconds"] * 1e9))
    latest = window.latest()
    measurement = window.close()
    return {
        **about,
        "opened_ns": measurement.opened_ns,
        "closed_ns": measurement.closed_ns,
        "metrics": measurement.energy_metrics(),
        "provenance": measurement.provenance(),
        "faults": [asdict(fault) for fault in measurement.faults],
        "flags": [asdict(flag) for flag in measurement.flags],
        "cost": dict(measurement.meter_cost),
        "latest": asdict(latest),
    }


if __name__ == "__main__":
    main()
