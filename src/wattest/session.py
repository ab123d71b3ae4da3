"""One session on one machine: sensors, results folder and supervision, opened and closed once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from wattest import machine
from wattest.campaign import Campaign
from wattest.console import Console, Writer
from wattest.energy import SensorConfig, Sensors, Thresholds, find_sensors
from wattest.errors import EnergyError
from wattest.foreground import Foreground
from wattest.load import BackgroundLoad
from wattest.process import Rung
from wattest.record import Context
from wattest.recorder import Published, Recorder
from wattest.results import ResultsFolder


@dataclass(frozen=True)
class SessionOptions:
    """What the command line says about this machine and this session."""

    results_folder: Path
    sys_root: Path = Path("/sys")
    proc_root: Path = Path("/proc")
    require_energy: bool = False
    allow_missing: frozenset[str] = frozenset()
    supervision: str = "guard"
    extra_owners: tuple[int, ...] = ()


class Session:
    """Everything that experiments share; open it with :meth:`open`, end it with :meth:`close`."""

    def __init__(
        self, campaign: Campaign, options: SessionOptions, console: Console, sensors: Sensors
    ) -> None:
        self.console = console
        self.results = ResultsFolder(options.results_folder)
        self._campaign = campaign
        self._options = options
        self._sensors = sensors
        self._rung = Rung(options.supervision)
        self._session_id = f"{datetime.now():%Y%m%d_%H%M%S}_{os.getpid()}"

    @classmethod
    def open(
        cls, campaign: Campaign, options: SessionOptions, writer: Writer | None, verbosity: int
    ) -> Session:
        """Prove that results can be written and sensors read, before anything runs.

        Raises:
            WattestError: one line for every reason why not.
        """
        ResultsFolder(options.results_folder).prepare()
        thresholds = Thresholds()
        sensors = find_sensors(
            SensorConfig(
                sys_root=options.sys_root,
                proc_root=options.proc_root,
                visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
                allow_missing=options.allow_missing,
                thresholds=thresholds,
            )
        )
        if options.require_energy and not sensors.promised():
            sensors.close()
            raise EnergyError(f"--require-energy: no energy can be measured: {sensors.describe()}")
        return cls(campaign, options, Console(writer, verbosity), sensors)

    def header(self) -> list[str]:
        """Return what the session's header says about the machine and its sensors."""
        host = machine.host(self._options.sys_root, self._options.proc_root)
        return [
            f"machine: {host['cpu_model']}, {host['cpu_count']} CPUs, kernel {host['kernel']};"
            f" process trees held by {self._rung.value}",
            f"sensors: {self._sensors.describe()}",
            f"results: {self.results.path}",
        ]

    def foreground(self) -> Foreground:
        """Return what runs foreground trainings."""
        return Foreground(
            self.console, self._sensors, self._rung, self._options.extra_owners,
            self._options.proc_root,
        )  # fmt: skip

    def background_load(self) -> BackgroundLoad:
        """Return what runs background loads; close it at the end."""
        return BackgroundLoad(self.console, self._rung, self._options.extra_owners)

    def recorder(self, publish: Published) -> Recorder:
        """Return what leaves the records; `publish` gets each record's headline."""
        return Recorder(self.results, self._context(), self.console, publish)

    def close(self) -> None:
        """Let go of the sensors."""
        self._sensors.close()

    def _context(self) -> Context:
        plan = self._campaign.plan
        programs = {
            training.program.name: training.program.folder
            for experiment in plan.experiments
            for training in (experiment.foreground, *experiment.backgrounds)
        }
        options = self._options
        return Context(
            session_id=self._session_id,
            experiment_name=plan.settings.experiment_name,
            settings_file=plan.settings.file,
            registry_file=self._campaign.registry.file,
            seed=plan.seed,
            plan_digest=plan.digest,
            environment=machine.environment(programs, options.sys_root, options.proc_root),
            sensors=self._sensors.hardware(),
            supervision=self._rung.value,
            thresholds=Thresholds().as_dict(),
        )
