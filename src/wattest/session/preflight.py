"""Before each experiment: the machine is as idle as at the start, and what is needed is free."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wattest.config.settings import Settings
from wattest.energy import GpuState, Sensors
from wattest.errors import GpuMemoryError
from wattest.plan.experiment import Experiment
from wattest.session.idle import REFERENCE_SECONDS, MachineState, Watcher, cool_down

# Memory of a GPU above that of the session's start by more than this was left by someone.
LEFTOVER_MEMORY_MB = 256.0


class Preflight:
    """Knows how the machine was when the session began, and compares.

    Where pauses are asked for and no idle baseline, which `remember_idle` would follow, the idle
    machine is watched for a moment now: that is what the pauses wait for.
    """

    def __init__(self, settings: Settings, sensors: Sensors, proc_root: Path) -> None:
        self._settings = settings
        self._sensors = sensors
        self._watcher = Watcher(sensors.gpu_state, proc_root)
        self._memory_used_mb = {gpu.uuid: gpu.memory_used_mb for gpu in sensors.gpu_state()}
        self._experiments_begun = 0
        self._idle = MachineState(0.0)
        if settings.cooldown_seconds > 0 and settings.idle_baseline_seconds <= 0:
            self._idle = self._watcher.watch(REFERENCE_SECONDS)

    def remember_idle(self) -> None:
        """Take the load since the last look, and the GPUs' state now, for idle."""
        self._idle = self._watcher.look()

    def pause(self) -> dict[str, Any] | None:
        """Cool down before every experiment but the first; return what came of it."""
        self._experiments_begun += 1
        if self._experiments_begun == 1 or self._settings.cooldown_seconds <= 0:
            return None
        return cool_down(
            self._watcher,
            self._idle,
            self._settings.cooldown_seconds,
            self._settings.cooldown_limit_seconds,
        )

    def check(self, experiment: Experiment) -> list[str]:
        """Return flags on what an earlier experiment or a stranger left on the GPUs.

        Raises:
            GpuMemoryError: the programs need more GPU memory than is free, or may take.
        """
        gpus = self._sensors.gpu_state()
        _require_memory(experiment, gpus)
        flags = []
        for gpu in gpus:
            before = self._memory_used_mb.get(gpu.uuid)
            if gpu.memory_used_mb is None or before is None:
                continue
            extra = gpu.memory_used_mb - before
            if extra > LEFTOVER_MEMORY_MB:
                flags.append(
                    f"GPU {gpu.uuid} holds {extra:.0f} MB more than when the session began"
                )
        return flags


def _require_memory(experiment: Experiment, gpus: Sequence[GpuState]) -> None:
    limit = experiment.limits.gpu_memory_limit_mb
    trainings = experiment.trainings
    for training in trainings:
        need = training.program.gpu_memory_mb
        if limit is not None and need is not None and need > limit:
            name = f"{training.program.name}/{training.model}"
            raise GpuMemoryError(f"{name} needs {need} MB of GPU memory, and gpu_memory_limit_mb"
                              f" is {limit}; raise the limit")  # fmt: skip
    needed = sum(training.program.gpu_memory_mb or 0 for training in trainings)
    free = next((gpu.memory_free_mb for gpu in gpus), None)
    if free is not None and needed > free:
        raise GpuMemoryError(f"the trainings need {needed} MB of GPU memory together, {free:.0f} MB"
                          " are free; free some, or choose smaller models")  # fmt: skip
