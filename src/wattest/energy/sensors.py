"""Looking for sensors, once per session: what can be measured here, what cannot, and why."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from wattest.energy import design
from wattest.energy.cpu.perf_search import PerfLauncher
from wattest.energy.cpu.search import find_cpu
from wattest.energy.gpu.boards import NvidiaGpus
from wattest.energy.gpu.nvml import ask, load_nvml
from wattest.energy.gpu.search import search_gpus
from wattest.energy.gpu.state import GpuState
from wattest.energy.measurement import Measurement
from wattest.energy.meter import Meter
from wattest.energy.probe import probe
from wattest.energy.types import NS, Finding, SourceKind
from wattest.energy.window import Rig
from wattest.errors import SensorPermissionError


@dataclass(frozen=True)
class SensorConfig:
    """Where to look, and how.

    Attributes:
        sys_root: Root of /sys; another one where a host's tree is mounted elsewhere.
        proc_root: Root of /proc.
        visible_devices: Value of `CUDA_VISIBLE_DEVICES`; None if it is not set.
        device_order: Value of `CUDA_DEVICE_ORDER`; None if it is not set.
        allow_missing: `cpu` and `gpu` where a sensor that exists may go unread, knowingly.
        perf_launcher: Starts `perf stat` under supervision; None leaves perf out.
    """

    sys_root: Path = Path("/sys")
    proc_root: Path = Path("/proc")
    visible_devices: str | None = None
    device_order: str | None = None
    allow_missing: frozenset[str] = frozenset()
    perf_launcher: PerfLauncher | None = None

    @classmethod
    def of_environment(
        cls,
        sys_root: Path,
        allow_missing: frozenset[str],
        perf_launcher: PerfLauncher,
        proc_root: Path = Path("/proc"),
    ) -> SensorConfig:
        """Return a configuration for the GPUs that this process's environment chooses."""
        return cls(
            sys_root,
            proc_root,
            os.environ.get("CUDA_VISIBLE_DEVICES"),
            os.environ.get("CUDA_DEVICE_ORDER"),
            allow_missing,
            perf_launcher=perf_launcher,
        )


def find_sensors(config: SensorConfig) -> Sensors:
    """Look for every sensor and infer how often its counter moves (takes up to half a second).

    Raises:
        SensorPermissionError: Sensors exist but cannot be read; one line each, with the remedy.
    """
    idle_watts: dict[str, float] = {}
    cpu = find_cpu(config, idle_watts)
    findings, faults = list(cpu.findings), list(cpu.faults)
    kinds: list[SourceKind] = []
    nvml = load_nvml()
    gpus = search_gpus(
        nvml, config.proc_root, config.visible_devices, config.device_order, config.allow_missing
    )
    faults += gpus.faults
    if faults:
        ask(nvml, nvml.nvmlShutdown)
        raise SensorPermissionError("\n".join(faults))
    nvidia = None
    if gpus.gpus:
        nvidia = NvidiaGpus(nvml, gpus, idle_watts)
        kinds.append(nvidia)
    else:
        ask(nvml, nvml.nvmlShutdown)
        findings += gpus.findings
    if cpu.kind is not None:
        kinds.append(cpu.kind)
    counters = {label: read for kind in kinds for label, read in kind.counters().items()}
    probed = probe(counters, design.PROBE_SECONDS, design.PROBE_SLOW_SECONDS)
    for kind in kinds:
        kind.learn(probed)
    findings += [finding for kind in kinds for finding in kind.findings()]
    return Sensors(config, kinds, nvidia, findings, idle_watts)


class Sensors:
    """What can be measured on this machine, for one session.

    Attributes:
        findings: Every sensor that was looked for.
    """

    def __init__(
        self,
        config: SensorConfig,
        kinds: list[SourceKind],
        nvidia: NvidiaGpus | None,
        findings: list[Finding],
        idle_watts: dict[str, float],
    ) -> None:
        self.findings = tuple(sorted(findings, key=lambda finding: finding.domain))
        self._config = config
        self._kinds = kinds
        self._nvidia = nvidia
        self._idle_watts = idle_watts

    def __enter__(self) -> Sensors:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the hardware; may be called twice."""
        for kind in self._kinds:
            kind.close()

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
            reasons = dict.fromkeys(finding.reason for finding in own if finding.reason)
            return f"not measured ({next(iter(reasons), 'nothing found')})"
        sources = ", ".join(dict.fromkeys(str(finding.source) for finding in measured))
        names = ", ".join(_name(finding) for finding in measured)
        return f"{names} by {sources}"

    def meter(self) -> Meter:
        """The meter over all of them."""
        absences = {}
        for domain, family in (("cpu_pkg", "cpu"), ("cpu_ram", "cpu"), ("gpu", "gpu")):
            own = [one for one in self.findings if one.domain == family]
            reasons = [f"{one.name}: {one.reason}" for one in own if one.status != "measured"]
            absences[domain] = "; ".join(reasons) or "no source"
        config = self._config
        rig = Rig(self._kinds, absences, config.proc_root)
        return Meter(rig)

    def measure_idle(self, seconds: float, folder: Path | None = None) -> dict[str, float]:
        """Measure the machine while it is idle, as the baseline of later windows.

        The caller knows that it is idle, and which idle it is (with or without CUDA contexts).

        Args:
            seconds: For how long.
            folder: Where the traces go; nowhere if None.

        Returns:
            Watts by the name of the sensor, for every sensor that gave a number.
        """
        with tempfile.TemporaryDirectory(prefix="wattest-idle-") as scratch:
            window = self.meter().open(folder or Path(scratch) / "idle")
            window.wait((), window.opened_ns + int(seconds * NS))
            measurement = window.close()
        self._idle_watts.update(_watts_by_name(measurement))
        return dict(self._idle_watts)

    def gpu_processes(self) -> dict[int, str]:
        """UUID of the GPU by PID of every compute process; never to be called in the loop.

        Raises:
            EnergyError: A GPU does not tell.
        """
        return self._nvidia.processes() if self._nvidia else {}

    def gpu_state(self) -> tuple[GpuState, ...]:
        """Memory, temperature, power and utilisation of each GPU now."""
        return self._nvidia.states() if self._nvidia else ()

    def hardware(self) -> dict[str, object]:
        """What a paper will ask for of the GPUs; empty without any."""
        return self._nvidia.hardware() if self._nvidia else {}


def _name(finding: Finding) -> str:
    model = finding.details.get("name")
    return f"{model} {finding.name}" if model else finding.name


def _watts_by_name(measurement: Measurement) -> dict[str, float]:
    seconds = (measurement.closed_ns - measurement.opened_ns) / NS
    found: dict[str, float] = {}
    for result in measurement.results:
        parts: Callable[[str], object] = result.details.get
        for part in (*_list(parts("zones")), *_list(parts("gpus"))):
            name, joules = part.get("label", part.get("uuid")), part.get("joules")
            if isinstance(joules, float) and seconds > 0:
                found[str(name)] = joules / seconds
    return found


def _list(value: object) -> list[dict[str, object]]:
    return value if isinstance(value, list) else []
