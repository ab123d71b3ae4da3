"""What can be measured on this machine: looked for once per session, then opened for windows."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from wattest.energy import design
from wattest.energy.cpu.part import MachinePart, find_cpu
from wattest.energy.cpu.recording import CpuRecording
from wattest.energy.cpu.search import CpuSensors
from wattest.energy.gpu.board import GpuState
from wattest.energy.gpu.recording import GpuRecording
from wattest.energy.gpu.search import find_gpus
from wattest.energy.gpu.sensors import GpuSensors
from wattest.energy.measurement import Measurement
from wattest.energy.probe import probe
from wattest.energy.recording import Recording
from wattest.energy.traces import TraceFolder
from wattest.energy.types import NS, Finding
from wattest.energy.window import Window
from wattest.errors import SensorPermissionError


def find_sensors(
    sys_root: Path = Path("/sys"),
    proc_root: Path = Path("/proc"),
    allow_missing: frozenset[str] = frozenset(),
    environment: Mapping[str, str] = os.environ,
    part: MachinePart | None = None,
) -> Sensors:
    """Look for every sensor, and see that those which are promised can be read.

    Args:
        sys_root: Root of /sys; another one where a host's tree is mounted elsewhere.
        proc_root: Root of /proc.
        allow_missing: `cpu` and `gpu` where a sensor that exists may go unread, knowingly.
        environment: Whose `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER` choose the GPUs.
        part: What of the machine is the caller's; None for all of it.

    Raises:
        SensorPermissionError: Sensors exist but cannot be read; one line each, with the remedy.
    """
    part = part or MachinePart()
    cpu = find_cpu(sys_root, proc_root, part)
    sensors = Sensors(cpu, gpus := find_gpus(proc_root, environment), proc_root, part)
    refusals = [
        finding.refusal
        for finding in sensors.findings
        if finding.status == "unreadable" and finding.domain not in allow_missing
    ]
    if refusals:
        sensors.close()
        raise SensorPermissionError("\n".join(refusals))
    probe([*cpu.counters, *gpus.counters], design.SEARCH_SECONDS, design.SEARCH_SECONDS)
    cpu.learn()
    gpus.learn()
    return sensors


class Sensors:
    """What can be measured on this machine, for one session; close it at the end."""

    def __init__(
        self, cpu: CpuSensors, gpus: GpuSensors, proc_root: Path, part: MachinePart
    ) -> None:
        self.part = part
        self._cpu = cpu
        self._gpus = gpus
        self._proc_root = proc_root
        self._idle_watts: dict[str, float] = {}

    def __enter__(self) -> Sensors:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the hardware; may be called twice."""
        self._cpu.closing.close()
        self._gpus.nvml.close()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every sensor that was looked for, with what is known of it by now."""
        return (*self._cpu.findings(), *self._gpus.findings())

    def promised(self) -> tuple[str, ...]:
        """Names of the sensors that every window must deliver."""
        return tuple(finding.name for finding in self.findings if finding.status == "measured")

    def describe(self) -> str:
        """One line for the header of a session."""
        return f"CPU {self._describe('cpu')}; GPU {self._describe('gpu')}"

    def _describe(self, domain: str) -> str:
        own = [finding for finding in self.findings if finding.domain == domain]
        measured = [finding for finding in own if finding.status == "measured"]
        if not measured:
            reasons = (finding.statement for finding in own if finding.statement)
            return f"not measured ({next(reasons, 'nothing found')})"
        names = (f"{one.details.get('name', '')} {one.name}".strip() for one in measured)
        sources = dict.fromkeys(str(finding.source) for finding in measured)
        return f"{', '.join(names)} by {', '.join(sources)}"

    def note(self) -> str:
        """What the header of a session should add; empty if nothing."""
        return self._gpus.unseen_note()

    def learn_periods(self) -> None:
        """Watch the counters whose update period the search did not tell, for 2 s at most.

        The first window does it, if nobody did before.
        """
        counters = [*self._cpu.counters, *self._gpus.counters]
        probe(counters, design.PROBE_SECONDS, design.PROBE_SLOW_SECONDS)

    def open_window(self, folder: Path) -> Window:
        """Open a window whose traces go to `folder`; the last act is to read every source.

        The folder is created; if it exists, it must be empty.

        Raises:
            EnergyError: The folder cannot be used.
        """
        self.learn_periods()
        return Window(folder, self._record, self._why_absent, self._proc_root, self.part.cpus)

    def _record(self, traces: TraceFolder) -> list[Recording]:
        """Begin the recordings of a window, the slowest to read first."""
        recordings: list[Recording] = []
        if self._gpus.gpus:
            recordings.append(GpuRecording(self._gpus, self._idle_watts, traces))
        if self._cpu.counters:
            recordings.append(CpuRecording(self._cpu, self._idle_watts, traces))
        return recordings

    def _why_absent(self, domain: str) -> str:
        own = [one for one in self.findings if domain.startswith(one.domain)]
        reasons = [f"{one.name}: {one.statement}" for one in own if one.status != "measured"]
        return "; ".join(reasons) or "no source"

    def measure_idle(
        self, seconds: float, folder: Path | None = None, *, is_baseline: bool = True
    ) -> dict[str, float]:
        """Measure the machine while it is idle, as the baseline of later windows if so wanted.

        The caller knows that it is idle, and which idle it is (with or without CUDA contexts).
        Traces go to `folder`, or nowhere.

        Returns:
            Watts by the name of the sensor, for every sensor that gave a number.
        """
        with (
            tempfile.TemporaryDirectory(prefix="wattest-idle-") as scratch,
            self.open_window(folder or Path(scratch) / "idle") as window,
        ):
            window.wait((), window.opened_ns + int(seconds * NS))
            measurement = window.close()
        watts = _watts_by_name(measurement)
        if self.part.shares_cpu:
            # Who knows what others do: the machine may be anything but idle.
            watts = {gpu.uuid: watts[gpu.uuid] for gpu in self._gpus.gpus if gpu.uuid in watts}
        if not is_baseline:
            return watts
        self._idle_watts.update(watts)
        return dict(self._idle_watts)

    def gpu_processes(self) -> dict[int, str]:
        """UUID of the GPU by PID of every compute process; never to be called in the loop.

        GPUs of which that cannot be known at all are left out: `note` says so.

        Raises:
            EnergyError: A GPU does not tell.
        """
        return self._gpus.processes()

    def gpu_state(self) -> tuple[GpuState, ...]:
        """Memory, temperature, power and utilisation of each GPU now."""
        return tuple(gpu.state(gpu.watts()) for gpu in self._gpus.gpus)

    def hardware(self) -> dict[str, object]:
        """What a paper will ask for of the GPUs; empty without any."""
        return self._gpus.hardware()


def _watts_by_name(measurement: Measurement) -> dict[str, float]:
    seconds = (measurement.closed_ns - measurement.opened_ns) / NS
    return {
        part.name: part.joules / seconds
        for result in measurement.results
        for part in result.parts
        if part.joules is not None and seconds > 0
    }
