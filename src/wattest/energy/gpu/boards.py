"""NVIDIA GPUs through NVML as one kind of source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from wattest.energy.gpu.board import Gpu, GpuReader
from wattest.energy.gpu.nvml import Nvml, ask
from wattest.energy.gpu.recording import GpuRecording
from wattest.energy.gpu.search import GpuSearch
from wattest.energy.gpu.state import GpuState, gpu_processes, hardware_of, state_of
from wattest.energy.probe import Probed
from wattest.energy.traces import TraceFolder
from wattest.energy.types import Finding


class NvidiaGpus:
    """The visible GPUs of this machine.

    Args:
        nvml: The module, initialised; closing shuts it down.
        search: What it offers.
        idle_watts: Idle baselines by UUID, shared with the session.
    """

    def __init__(
        self,
        nvml: Nvml,
        search: GpuSearch,
        idle_watts: Mapping[str, float],
    ) -> None:
        self._nvml = nvml
        self._search = search
        self._gpus = search.gpus
        self._idle_watts = idle_watts
        self._is_open = True

    def counters(self) -> Mapping[str, Callable[[], int]]:
        """How to read each energy counter in millijoules, by UUID."""
        return {
            gpu.uuid: GpuReader(self._nvml, gpu).millijoules
            for gpu in self._gpus
            if gpu.has_counter
        }

    def learn(self, probed: Mapping[str, Probed]) -> None:
        """Take what the probe found; a counter that stands at 0 is none."""
        self._gpus = tuple(
            replace(gpu, probed=seen, has_counter=gpu.has_counter and not _stands_at_zero(seen))
            for gpu in self._gpus
            for seen in (probed.get(gpu.uuid),)
        )

    def findings(self) -> tuple[Finding, ...]:
        """Every GPU, measured or not."""
        return (*(_finding(gpu, self._search) for gpu in self._gpus), *self._search.findings)

    def record(self, traces: TraceFolder) -> GpuRecording:
        """Begin a window."""
        return GpuRecording(
            [GpuReader(self._nvml, gpu) for gpu in self._gpus],
            self._search.refusal,
            self._search.notes,
            self._idle_watts,
            traces,
        )

    def processes(self) -> dict[int, str]:
        """UUID of the GPU by PID of every compute process.

        Raises:
            EnergyError: A GPU does not tell.
        """
        return gpu_processes(self._nvml, self._gpus)

    def states(self) -> tuple[GpuState, ...]:
        """Memory, temperature, power and utilisation of each GPU now."""
        return tuple(state_of(GpuReader(self._nvml, gpu)) for gpu in self._gpus)

    def hardware(self) -> dict[str, object]:
        """What a paper will ask for, ready for JSON."""
        return hardware_of(self._nvml, self._gpus)

    def close(self) -> None:
        """Shut NVML down; may be called twice."""
        if self._is_open:
            self._is_open = False
            ask(self._nvml, self._nvml.nvmlShutdown)


def _stands_at_zero(probed: Probed | None) -> bool:
    return probed is not None and probed.first == 0 and probed.last == 0


def _finding(gpu: Gpu, search: GpuSearch) -> Finding:
    probed = gpu.probed
    details: dict[str, object] = {
        "uuid": gpu.uuid,
        "name": gpu.name,
        "index": gpu.index,
        "power_source": gpu.power_source,
        "limit_watts": gpu.limit_watts,
        "update_period_seconds": probed.period_seconds if probed else None,
        "resolution_joules": probed.step_counts / 1e3 if probed and probed.step_counts else None,
    }
    if not gpu.has_counter and not gpu.has_power:
        reason = "its energy counter stands at 0, and it has no power reading"
        return Finding("gpu", gpu.uuid, "unavailable", reason, details=details)
    notes = list(search.notes)
    if search.refusal:
        reason = f"measured alone but not added up, because of {search.refusal}"
        return Finding("gpu", gpu.uuid, "rejected", reason, None, gpu.source, details)
    if not gpu.has_counter:
        notes.append("no energy counter: sampled power is integrated")
    elif probed and probed.step_counts is None:
        notes.append(f"its counter did not move in the probe of {probed.seconds:.1f} s")
    return Finding("gpu", gpu.uuid, "measured", "; ".join(notes), None, gpu.source, details)
