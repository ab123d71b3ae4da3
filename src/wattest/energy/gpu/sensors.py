"""The GPUs that are read on this machine."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from wattest.energy.counter import Counter
from wattest.energy.gpu.board import Gpu
from wattest.energy.gpu.nvml import FUNCTION_NOT_FOUND, NOT_SUPPORTED, Nvml, NvmlError
from wattest.energy.types import Finding
from wattest.errors import EnergyError

_FIRST_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO in the kernel's proc_ns.h
_HOST_PIDS = "in this container NVML tells the host's PIDs (docker run --pid=host)"


@dataclass
class GpuSensors:
    """The GPUs that are read, if any are.

    Attributes:
        nvml: The library, initialised as long as there are any.
        absences: Findings of those that are not read, with reasons.
        refusals: Why the energy of the visible GPUs cannot be added up; empty if it can.
        notes: What the reader should know, e.g. of CUDA's order of devices.
        unseen: Why nobody can know who is on some GPUs, by UUID; it stays so for the session.
    """

    nvml: Nvml
    gpus: list[Gpu] = field(default_factory=list)
    absences: list[Finding] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unseen: dict[str, str] = field(default_factory=dict)

    def leave_out(self, finding: Finding) -> None:
        """Take a visible GPU that is not read: without it, the others are not to be added up."""
        self.absences.append(finding)
        self.refusals.append(finding.refusal or f"{finding.name}: {finding.reason}")

    @property
    def refusal(self) -> str:
        """Why the energy of the GPUs cannot be added up; empty if it can."""
        return "; ".join(self.refusals)

    @property
    def counters(self) -> list[Counter]:
        """All energy counters."""
        return [gpu.counter for gpu in self.gpus if gpu.counter is not None]

    def learn(self) -> None:
        """Take what the probe has shown: a counter that stands at 0 is none."""
        self.gpus = [
            replace(gpu, counter=None) if gpu.counter and gpu.counter.stands_at_zero else gpu
            for gpu in self.gpus
        ]

    def findings(self) -> tuple[Finding, ...]:
        """Every GPU, measured or not."""
        return (*map(self._finding, self.gpus), *self.absences)

    def _finding(self, gpu: Gpu) -> Finding:
        counter = gpu.counter
        details: dict[str, object] = {
            "uuid": gpu.uuid,
            "name": gpu.name,
            "index": gpu.index,
            "pci_bus_id": gpu.pci_bus_id,
            "power_source": gpu.power_source,
            "limit_watts": gpu.limit_watts,
            "update_period_seconds": counter.period_seconds if counter else None,
            "resolution_joules": counter.resolution_joules if counter else None,
        }
        if counter is None and gpu.read_power is None:
            reason = "its energy counter stands at 0, and it has no power reading"
            return Finding("gpu", gpu.uuid, "unavailable", reason, details=details)
        if self.refusals:
            reason = f"measured alone but not added up, because of {self.refusal}"
            return Finding("gpu", gpu.uuid, "rejected", reason, None, gpu.source, details)
        note = counter.probe_note if counter else "no energy counter: sampled power is integrated"
        reason = "; ".join(filter(None, [*self.notes, note]))
        return Finding("gpu", gpu.uuid, "measured", reason, None, gpu.source, details)

    def learn_of_processes(self, proc_root: Path) -> None:
        """See whether the GPUs tell who is on them, and whose PIDs those would be."""
        try:
            namespace = (proc_root / "self" / "ns" / "pid").readlink()
            is_apart = str(namespace) != _FIRST_PID_NAMESPACE
        except OSError:
            is_apart = False
        for gpu in self.gpus:
            try:
                self.nvml.processes(gpu.handle)
            except NvmlError as error:
                if error.code in (NOT_SUPPORTED, FUNCTION_NOT_FOUND):
                    self.unseen[gpu.uuid] = f"{gpu.uuid} does not tell its processes: {error}"
            if is_apart:
                self.unseen[gpu.uuid] = _HOST_PIDS

    def unseen_note(self) -> str:
        """Why it is not known who is on GPUs; empty if it is."""
        reasons = "; ".join(dict.fromkeys(self.unseen.values()))
        return f"who is on the GPUs is not known: {reasons}" if reasons else ""

    def processes(self) -> dict[int, str]:
        """UUID of the GPU by PID of every compute process; a PID on several appears once.

        Raises:
            EnergyError: A GPU does not tell, which can.
        """
        found: dict[int, str] = {}
        for gpu in self.gpus:
            if gpu.uuid in self.unseen:
                continue
            try:
                found.update(dict.fromkeys(self.nvml.processes(gpu.handle), gpu.uuid))
            except NvmlError as error:
                raise EnergyError(f"{gpu.uuid}: does not tell its processes: {error}") from error
        return found

    def hardware(self) -> dict[str, object]:
        """What a paper will ask for, ready for JSON; empty without GPUs."""
        if not self.gpus:
            return {}
        cuda = self.nvml.ask("SystemGetCudaDriverVersion")
        return {
            "driver_version": self.nvml.ask("SystemGetDriverVersion"),
            "nvml_version": self.nvml.ask("SystemGetNVMLVersion"),
            "cuda_driver_version": f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
            "processes_not_known": self.unseen_note() or None,
            "gpus": [gpu.hardware() for gpu in self.gpus],
        }
