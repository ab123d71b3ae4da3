"""The idle machine: measured once a session, or anew before the first experiment of each block.

Where a GPU is measured, once more with a CUDA context open, which uses power of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wattest.config.settings import Settings
from wattest.energy import Sensors
from wattest.errors import EnergyError
from wattest.plan.experiment import Experiment
from wattest.session.cudacontext import cuda_context
from wattest.session.preflight import Preflight
from wattest.terminal import Console


class IdleMachine:
    """Measures the idle machine when it is due, and tells what was measured last.

    Args:
        settings: Say for how long, and how often.
        sensors: What measures.
        folder: Where the traces of each measurement go, in a folder of its own.
        console: Says that it is measured.
        preflight: Remembers the state of the machine, to which later pauses wait to return.
    """

    def __init__(
        self,
        settings: Settings,
        sensors: Sensors,
        folder: Path,
        console: Console,
        preflight: Preflight,
    ) -> None:
        self._seconds = settings.idle_baseline_seconds
        self._is_per_block = settings.idle == "block"
        self._sensors = sensors
        self._folder = folder
        self._console = console
        self._preflight = preflight
        self._block: int | None = None
        self._told: dict[str, Any] | None = None

    def begin(self) -> None:
        """Measure it at the start of a session, where it is measured once."""
        if not self._is_per_block:
            self._measure("idle")

    def before(self, experiment: Experiment) -> dict[str, Any] | None:
        """Return what is known of idle for this experiment, measured now where it is due."""
        if self._is_per_block and experiment.block != self._block:
            self._block, self._told = experiment.block, None
            try:
                self._measure(f"idle_{experiment.block}")
            except EnergyError as error:
                self._console.warn(f"the idle machine was not measured: {error}")
        return self._told

    def _measure(self, name: str) -> None:
        if self._seconds <= 0:
            return
        self._console.step("idle", f"measuring the idle machine for {self._seconds:g} s")
        watts = self._sensors.measure_idle(self._seconds, self._folder / name)
        self._preflight.remember_idle()
        self._told = {
            "seconds": self._seconds,
            "watts": watts,
            "block": self._block,
            "cuda_context": False,
            "note": "no CUDA context of ours was open",
        }
        if any(one.domain == "gpu" and one.status == "measured" for one in self._sensors.findings):
            self._told |= self._with_context(f"{name}_cuda")

    def _with_context(self, name: str) -> dict[str, Any]:
        """Return what the idle machine uses while a CUDA context is open, or why it is unknown."""
        self._console.step("idle", f"measuring it for {self._seconds:g} s with a CUDA context")
        try:
            with cuda_context(self._seconds) as problem:
                if not problem:
                    folder = self._folder / name
                    watts = self._sensors.measure_idle(self._seconds, folder, is_baseline=False)
                    return {"watts_with_cuda_context": watts}
        except (EnergyError, OSError) as error:
            problem = str(error)
        note = f"no CUDA context of ours was open; with one it was not measured: {problem}"
        self._console.warn(note)
        return {"note": note}
