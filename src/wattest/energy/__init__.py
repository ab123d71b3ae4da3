"""Energy of a window of time, from hardware counters, with everything that speaks against it.

`find_sensors` looks once per session; `Sensors.open_window` opens windows; `Window.wait` is the
loop that waits for a training and samples meanwhile; `Window.close` yields a frozen `Measurement`.
This package knows nothing of trainings, settings or tests.
"""

from wattest.energy.cpu.part import MachinePart, cpu_findings
from wattest.energy.design import design_values
from wattest.energy.gates import foreign_gpu_processes, other_cpu_load
from wattest.energy.gpu.board import GpuState
from wattest.energy.gpu.search import VisibleGpu, visible_devices
from wattest.energy.machine import MachineCpu, estimate, machine_cpu
from wattest.energy.measurement import DOMAINS, METRICS, Measurement, Snapshot
from wattest.energy.sensors import Sensors, find_sensors
from wattest.energy.types import DomainResult, Finding, Part, Reason
from wattest.energy.window import Window

__all__ = [
    "DOMAINS", "METRICS", "DomainResult", "Finding", "GpuState", "MachineCpu", "MachinePart",
    "Measurement", "Part", "Reason", "Sensors", "Snapshot", "VisibleGpu", "Window", "cpu_findings",
    "design_values", "estimate", "find_sensors", "foreign_gpu_processes", "machine_cpu",
    "other_cpu_load", "visible_devices",
]  # fmt: skip
