"""One run of one tool around one piece of work; started by peers.py with that tool's own Python.

    python peer_runner.py TOOL HERTZ SECONDS

The work is a process of its own that keeps one core busy. Prints two lines of JSON: when the work
has begun (its PID), and at the end what the tool said. Needs nothing but the tool itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

JOULES_PER_KWH = 3.6e6
_WORK = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: sum(range(2000))"  # noqa: E501

Joules = dict[str, "float | None"]
"""`cpu` and `gpu`, and `cpu_domains`: how many domains (package, DRAM) are in `cpu`."""


class Work:
    """The work: begun inside of the tool's window, and waited for."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.began_ns = self.ended_ns = 0
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start it, and say so."""
        argv = [sys.executable, "-I", "-S", "-c", _WORK, str(self._seconds)]
        self.began_ns = time.monotonic_ns()
        self.process = subprocess.Popen(argv)
        print(json.dumps({"work_pid": self.process.pid}), flush=True)

    def end(self) -> None:
        """Wait for its end."""
        assert self.process is not None
        self.process.wait()
        self.ended_ns = time.monotonic_ns()

    def __call__(self) -> None:
        """Do all of it."""
        self.begin()
        self.end()


def wattest(hertz: float, work: Work) -> Joules:
    """Ours, every source at the same rate."""
    from wattest.energy import design, find_sensors

    design.CPU_PERIOD_SECONDS = design.GPU_POWER_PERIOD_SECONDS = 1 / hertz
    with (
        tempfile.TemporaryDirectory() as folder,
        find_sensors() as sensors,
        sensors.open_window(Path(folder) / "window") as window,
    ):
        work.begin()
        assert work.process is not None
        window.wait([os.pidfd_open(work.process.pid)])
        work.end()
        measurement = window.close(work.ended_ns)
    metrics = measurement.energy_metrics()
    return {
        "cpu": metrics["cpu_energy_total_joules"],
        "cpu_domains": 2.0,
        "gpu": metrics["gpu_energy_total_joules"],
    }


def codecarbon(hertz: float, work: Work) -> Joules:
    """CodeCarbon, offline, with DRAM."""
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(
        country_iso_code="DEU",
        measure_power_secs=1 / hertz,
        save_to_file=False,
        log_level="error",
        allow_multiple_runs=True,
        rapl_include_dram=True,
    )
    tracker.start()
    work()
    tracker.stop()
    data = tracker.final_emissions_data
    return {
        "cpu": data.cpu_energy * JOULES_PER_KWH,
        "cpu_domains": 2.0,
        "gpu": data.gpu_energy * JOULES_PER_KWH,
    }


def zeus(hertz: float, work: Work) -> Joules:
    """Zeus's energy window: counters at both edges, at no rate."""
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor()
    monitor.begin_window("work", sync_execution=False)
    work()
    found = monitor.end_window("work", sync_execution=False)
    cpu = found.cpu_energy
    both = None if cpu is None else sum(cpu.values()) + sum((found.dram_energy or {}).values())
    gpu = sum(found.gpu_energy.values()) if found.gpu_energy else None
    return {"cpu": both, "cpu_domains": 2.0 if found.dram_energy else 1.0, "gpu": gpu}


def zeus_power(hertz: float, work: Work) -> Joules:
    """Zeus's power sampling, GPUs only."""
    from zeus.monitor import PowerMonitor

    monitor = PowerMonitor(update_period=1 / hertz)
    began = time.time()
    work()
    found = monitor.get_energy(began, time.time())
    return {"cpu": None, "cpu_domains": None, "gpu": sum(found.values()) if found else None}


def carbontracker(hertz: float, work: Work) -> Joules:
    """carbontracker, the work as its one epoch."""
    from carbontracker.tracker import CarbonTracker

    tracker = CarbonTracker(
        epochs=1, epochs_before_pred=0, update_interval=1 / hertz, verbose=0, ignore_errors=False
    )
    tracker.epoch_start()
    work()
    inner = tracker.tracker
    tracker.epoch_end()
    joules = {
        part.name: float(sum(part.energy_usage(inner.epoch_times))) * JOULES_PER_KWH
        for part in inner.components
    }
    tracker.stop()
    return {"cpu": joules.get("cpu"), "cpu_domains": 2.0, "gpu": joules.get("gpu")}


def perun(hertz: float, work: Work) -> Joules:
    """Perun around a function; its result is read back from its JSON report."""
    from perun import perun as decorate

    with tempfile.TemporaryDirectory() as folder:
        options = {"sampling_period": 1 / hertz, "data_out": folder, "format": "json"}
        decorate(configuration_file="", **options)(work.__call__)()
        reports = list(Path(folder).rglob("*.json"))
        document = json.loads(reports[0].read_text()) if reports else {}
    metrics = document.get("metrics", {})
    joules = {
        name: float(metrics[f"{name}_energy"]["sum"]) if f"{name}_energy" in metrics else None
        for name in ("cpu", "dram", "gpu")
    }
    parts = [joules[name] for name in ("cpu", "dram") if joules[name] is not None]
    cpu = sum(part for part in parts if part is not None) if parts else None
    return {"cpu": cpu, "cpu_domains": float(len(parts)), "gpu": joules["gpu"]}


TOOLS = {
    "wattest": ("wattest.energy", wattest),
    "codecarbon": ("codecarbon", codecarbon),
    "zeus": ("zeus.monitor", zeus),
    "zeus-power": ("zeus.monitor", zeus_power),
    "perun": ("perun", perun),
    "carbontracker": ("carbontracker.tracker", carbontracker),
}


def main() -> None:
    """Run, and say what came out."""
    tool, hertz, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    module, measure = TOOLS[tool]
    before = time.monotonic_ns()
    __import__(module)
    imported = time.monotonic_ns()
    work = Work(seconds)
    joules = measure(hertz, work)
    done = time.monotonic_ns()
    spent = (done - imported) - (work.ended_ns - work.began_ns)
    answer = {
        "import_seconds": (imported - before) / 1e9,
        "fixed_seconds": spent / 1e9,
        "began_ns": work.began_ns,
        "ended_ns": work.ended_ns,
        "joules": joules,
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
