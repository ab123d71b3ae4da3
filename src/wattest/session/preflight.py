"""Before each experiment: the machine is as idle as at the start, and what is needed is free."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wattest.config.settings import Settings
from wattest.energy import GpuState, Sensors, machine_cpu
from wattest.errors import GpuMemoryError
from wattest.plan.experiment import Experiment
from wattest.run import CoolDown

# Near idle: within these of the session's idle values, held for so long.
TEMPERATURE_MARGIN_CELSIUS = 5.0
POWER_MARGIN_SHARE = 0.1
CPU_LOAD_MARGIN = 0.05
HOLD_SECONDS = 10.0
# How long the idle machine is watched where nothing else has measured it: a load is a share of
# time, and the kernel counts CPU time in steps of 10 ms.
REFERENCE_SECONDS = 1.5
# Memory of a GPU above that of the session's start by more than this was left by someone.
LEFTOVER_MEMORY_MB = 256.0
_PERIOD_SECONDS = 1.0
_PROC = Path("/proc")


@dataclass(frozen=True)
class MachineState:
    """One look at the machine: busy share of all CPUs (0 to 1), and its GPUs by UUID."""

    cpu_busy_share: float
    gpus: Mapping[str, GpuState] = field(default_factory=dict)

    def excess_over(self, idle: MachineState) -> list[str]:
        """Return what is not yet near the idle state, in words."""
        found = []
        if self.cpu_busy_share > idle.cpu_busy_share + CPU_LOAD_MARGIN:
            found.append(f"CPU load {self.cpu_busy_share:.0%} (idle {idle.cpu_busy_share:.0%})")
        for uuid, gpu in self.gpus.items():
            before = idle.gpus.get(uuid, gpu)
            now, then = gpu.temperature_celsius, before.temperature_celsius
            if now is not None and then is not None and now > then + TEMPERATURE_MARGIN_CELSIUS:
                found.append(f"GPU {uuid} at {now:.0f} C (idle {then:.0f} C)")
            now, then = gpu.power_watts, before.power_watts
            if now is not None and then is not None and now > then * (1 + POWER_MARGIN_SHARE):
                found.append(f"GPU {uuid} at {now:.0f} W (idle {then:.0f} W)")
        return found


class Preflight:
    """Knows how the machine was when the session began, and compares.

    Where pauses are asked for and no idle baseline, which `remember_idle` would follow, the idle
    machine is watched for a moment now: that is what the pauses wait for. Of the CPUs it looks at
    `cpus` alone, or at all.
    """

    def __init__(
        self, settings: Settings, sensors: Sensors, cpus: frozenset[int] | None = None
    ) -> None:
        self._settings = settings
        self._cpus = cpus
        self._sensors = sensors
        self._memory_used_mb = {gpu.uuid: gpu.memory_used_mb for gpu in sensors.gpu_state()}
        self._experiments_begun = 0
        self._idle = MachineState(0.0)
        self._cpu_before = machine_cpu(_PROC, cpus)
        if settings.cooldown_seconds > 0 and settings.idle_baseline_seconds <= 0:
            time.sleep(REFERENCE_SECONDS)
            self.remember_idle()

    def remember_idle(self) -> None:
        """Take the load since the last look, and the GPUs' state now, for idle."""
        self._idle = self._look()

    def pause(self) -> CoolDown | None:
        """Cool down before every experiment but the first; return what came of it.

        The pause lasts until the machine has been near idle for a while: at least
        `cooldown_seconds`, at most `cooldown_limit_seconds`.
        """
        least_seconds = self._settings.cooldown_seconds
        limit_seconds = self._settings.cooldown_limit_seconds
        self._experiments_begun += 1
        if self._experiments_begun == 1 or least_seconds <= 0:
            return None
        began = time.monotonic()
        near_since: float | None = None
        self._look()
        while True:
            time.sleep(_PERIOD_SECONDS)
            now = time.monotonic()
            excess = self._look().excess_over(self._idle)
            near_since = None if excess else (near_since or now)
            waited = now - began
            held = near_since is not None and now - near_since >= HOLD_SECONDS
            if waited >= limit_seconds or (held and waited >= least_seconds):
                told = tuple(excess)
                return CoolDown(waited, held, told, least_seconds, limit_seconds, HOLD_SECONDS)

    def check(self, experiment: Experiment) -> list[str]:
        """Return flags on what an earlier experiment or a stranger left on the GPUs.

        Raises:
            GpuMemoryError: the programs need more GPU memory than is free, or may take.
        """
        gpus = self._sensors.gpu_state()
        require_memory(experiment, gpus)
        flags = []
        for gpu in gpus:
            before, now = self._memory_used_mb.get(gpu.uuid), gpu.memory_used_mb
            if before is not None and now is not None and now - before > LEFTOVER_MEMORY_MB:
                told = f"holds {now - before:.0f} MB more than when the session began"
                flags.append(f"GPU {gpu.uuid} {told}")
        return flags

    def _look(self) -> MachineState:
        """Look at the machine: CPU load since the last look, GPU temperature and power now."""
        now, before = machine_cpu(_PROC, self._cpus), self._cpu_before
        self._cpu_before = now
        spent = now.since(before) if now and before else None
        share = spent.busy_seconds / (spent.capacity_seconds or 1.0) if spent else 0.0
        return MachineState(share, {gpu.uuid: gpu for gpu in self._sensors.gpu_state()})


def require_memory(experiment: Experiment, gpus: Sequence[GpuState]) -> None:
    """Refuse trainings that could together take more than is free, on any GPU that they see.

    Raises:
        GpuMemoryError: so they could; in words.
    """
    limit = experiment.limits.gpu_memory_limit_mb
    together = 0
    for training in experiment.trainings:
        need = training.program.gpu_memory_mb
        if limit is not None and need is not None and need > limit:
            name = f"{training.program.name}/{training.model}"
            raise GpuMemoryError(f"{name} needs {need} MB of GPU memory, and gpu_memory_limit_mb"
                              f" is {limit}; raise the limit")  # fmt: skip
        together += limit or need or 0
    short = [
        f"GPU {gpu.index} ({gpu.uuid}) has {gpu.memory_free_mb:.0f} MB free"
        for gpu in gpus
        if gpu.memory_free_mb is not None and gpu.memory_free_mb < together
    ]
    if short:
        told, remedy = f"need {together} MB of GPU memory together", "choose smaller models"
        if limit is not None:
            told = (
                f"may take {together} MB of GPU memory together (gpu_memory_limit_mb {limit} each)"
            )
            remedy = "lower the limit"
        raise GpuMemoryError(
            f"the trainings {told}, and {', '.join(short)}; free some, or {remedy}"
        )
