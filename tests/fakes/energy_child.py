"""A process of its own that measures windows, so that it can have its own NVML.

Reads a JSON list of jobs from standard input, each with `settings` for `find_sensors`, `folder`
for the traces, `seconds` of the window, and `open_at_ns`, the monotonic time at which to open it.
Does them at once and prints a JSON list: what each found and measured, or its error. Jobs that
have a `script` or a `writer` live each in a time of its own, one after the other.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

from fakes.clock import FakeTime
from fakes.powercap_writer import Writer
from wattest.energy import Sensors, find_sensors
from wattest.errors import WattestError

_EARLIER_NS = 5_000_000_000


def main() -> None:
    """Measure and print."""
    jobs = json.loads(sys.stdin.read())
    if any(job["script"] or job["writer"] for job in jobs):
        print(json.dumps([do_in_its_time(job) for job in jobs]))
        return
    with ThreadPoolExecutor(len(jobs)) as pool:
        print(json.dumps(list(pool.map(lambda job: do(job, time), jobs))))


def do_in_its_time(job: dict) -> dict:
    """One job, in a time of its own that begins some seconds before it."""
    clock = FakeTime(job["open_at_ns"] - _EARLIER_NS)
    if job["script"]:
        os.environ["WATTEST_FAKE_NVML"] = job["script"]
        library = ctypes.CDLL("libnvidia-ml.so.1")
        clock.share(ctypes.c_longlong.in_dll(library, "fake_clock_ns"))
    if job["writer"]:
        writer = Writer(job["writer"], clock.now_ns)
        clock.every(writer.period_ns, writer.step)
        clock.pass_ns(0)
    with clock.everywhere():
        return do(job, clock)


def do(job: dict, clock: FakeTime | ModuleType) -> dict:
    """One job."""
    settings = job["settings"]
    for name in ("sys_root", "proc_root"):
        settings[name] = Path(settings[name])
    settings["allow_missing"] = frozenset(settings.get("allow_missing", ()))
    visible = settings.pop("visible_devices", None)
    settings["environment"] = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    try:
        with find_sensors(**settings) as sensors:
            return measure(sensors, job, clock)
    except WattestError as error:
        return {"error": str(error), "kind": type(error).__name__}


def measure(sensors: Sensors, job: dict, clock: FakeTime | ModuleType) -> dict:
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
    clock.sleep(max(0, job["open_at_ns"] - clock.monotonic_ns()) / 1e9)
    if job["writer"]:
        Path(job["writer"]["trigger"]).touch()
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
