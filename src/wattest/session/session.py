"""One session on one machine: opened before anything runs, begun with what was selected, closed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from wattest.energy import Sensors, design_values, find_sensors
from wattest.errors import EnergyError, ProcessError, RecordError, WattestError
from wattest.interrupts import OrderlySignals
from wattest.machine import facts
from wattest.machine.governor import Governor
from wattest.machine.lease import Leases, counters_of
from wattest.plan import store
from wattest.plan.experiment import Experiment
from wattest.plan.load import Campaign
from wattest.process import Rung, probe, sweep
from wattest.records.document import Context
from wattest.records.folder import ResultsFolder
from wattest.records.table import Finished, SessionArtefacts
from wattest.run.background import BackgroundLoad
from wattest.run.foreground import Foreground
from wattest.run.judge import LOAD_THRESHOLDS
from wattest.session.preflight import Preflight
from wattest.session.progress import ProgressBoard
from wattest.session.recorder import Published, Recorder, Records
from wattest.terminal.console import Console, Writer


@dataclass(frozen=True)
class SessionOptions:
    """What the command line says about this machine and this session.

    `wait_seconds` is how long to wait for another session's counters; `run_as` (uid, gid) is who
    the trainings run as, None for the one who runs pytest.
    """

    results_folder: Path
    sys_root: Path = Path("/sys")
    proc_root: Path = Path("/proc")
    require_energy: bool = False
    allow_missing: frozenset[str] = frozenset()
    supervision: str | None = None
    extra_owners: tuple[int, ...] = ()
    wait_seconds: float = 0.0
    run_as: tuple[int, int] | None = None


class Session:
    """Everything that experiments share; open it with :meth:`open`, end it with :meth:`close`."""

    def __init__(
        self,
        campaign: Campaign,
        options: SessionOptions,
        console: Console,
        sensors: Sensors,
        rung: Rung,
    ) -> None:
        self.console = console
        self.results = ResultsFolder(options.results_folder)
        self.board = ProgressBoard(console)
        self._campaign = campaign
        self._options = options
        self._sensors = sensors
        self._rung = rung
        self._session_id = f"{datetime.now():%Y%m%d_%H%M%S}_{os.getpid()}"
        self._closing = contextlib.ExitStack()
        self._closing.callback(sensors.close)
        self._signals = OrderlySignals()
        self._records: Records | None = None
        self._leases: Leases | None = None

    @classmethod
    def open(
        cls, campaign: Campaign, options: SessionOptions, writer: Writer | None, verbosity: int
    ) -> Session:
        """Prove that results can be written and sensors read, before anything runs.

        Raises:
            WattestError: one line for every reason why not.
        """
        rung = choose_rung(options.supervision)
        ResultsFolder(options.results_folder).prepare()
        sensors = find_sensors(options.sys_root, options.proc_root, options.allow_missing)
        if options.require_energy and not sensors.promised():
            sensors.close()
            raise EnergyError(f"--require-energy: no energy can be measured: {sensors.describe()}")
        width = shutil.get_terminal_size().columns
        return cls(campaign, options, Console(writer, verbosity, width), sensors, rung)

    def header(self) -> list[str]:
        """Return what the session's header says about the machine and its sensors."""
        host = facts.host(self._options.sys_root, self._options.proc_root)
        return [
            f"machine: {host['cpu_model']}, {host['cpu_count']} CPUs, kernel {host['kernel']};"
            f" process trees held by {self._rung.value}",
            f"sensors: {self._sensors.describe()}",
            f"results: {self.results.path}",
        ]

    def begin(self, selected: Sequence[Experiment], finished: Mapping[str, Finished]) -> None:
        """Take the counters, write the plan, set the governor, look at the idle machine.

        `finished` is what earlier sessions finished, by the keys of the experiments.

        Raises:
            WattestError: the counters are taken, or a file cannot be written.
        """
        plan = self._campaign.plan
        self._signals.install()
        self._closing.callback(self._signals.restore)
        for swept in sweep():
            self.console.warn(f"a dead session had left {swept}; ended it")
        self.take_counters()
        governor = Governor(plan.settings.governor, self._options.sys_root)
        self._closing.callback(governor.close)
        if governor.state.status in ("denied", "unavailable"):
            self.console.warn(f"governor {governor.state.requested!r}: {governor.state.reason}")
        self.board.total = len(selected)
        preflight = Preflight(plan.settings, self._sensors, self._options.proc_root)
        idle = self._measure_idle(preflight)
        environment = {
            **facts.environment(self._programs(), self._options.sys_root, self._options.proc_root),
            "gpus": self._sensors.hardware(),
            "supervision": self._rung.value,
            "governor": asdict(governor.state),
            "idle": idle,
        }
        artefacts = SessionArtefacts(self.results.path, self._session_id, plan)
        try:
            store.store(self.results.path, plan)
            artefacts.open(environment, finished.values())
        except OSError as error:
            where = error.filename or self.results.path
            raise RecordError(f"{where} cannot be written: {error.strerror}") from None
        ids = {experiment.key: experiment.id for experiment in plan.experiments}
        known = {ids[key]: one.path for key, one in finished.items()}
        context = self._context(environment)
        self._records = Records(
            self.results, context, self.console, self.board, preflight, artefacts, known
        )

    def take_counters(self) -> None:
        """Take the counters for this session, unless it has them; wait for them if so asked.

        Raises:
            LeaseError: another session holds them.
        """
        if self._leases is None:
            counters = counters_of(self._sensors.findings, self._options.sys_root)
            self._leases = Leases.take(counters, self._options.wait_seconds, self.console.warn)
            self._closing.callback(self._leases.close)

    def foreground(self) -> Foreground:
        """Return what runs foreground trainings."""
        return Foreground(
            self.console,
            self._sensors,
            self._rung,
            self._options.extra_owners,
            progress_of=self.board.watcher,
            run_as=self._options.run_as,
        )

    def background_load(self) -> BackgroundLoad:
        """Return what runs background loads; close it at the end."""
        options = self._options
        return BackgroundLoad(
            self.console,
            self._rung,
            options.extra_owners,
            options.run_as,
            self._signals,
            self._sensors.gpu_state,
        )

    def recorder(self, publish: Published) -> Recorder:
        """Return what leaves the records; `publish` gets each record's headline."""
        if self._records is None:
            raise WattestError("the session has not begun: nothing was selected")
        return Recorder(self._records, publish)

    def close(self) -> None:
        """Restore the governor, let go of the counters and of the sensors."""
        self._closing.close()

    def _measure_idle(self, preflight: Preflight) -> dict[str, Any] | None:
        seconds = self._campaign.plan.settings.idle_baseline_seconds
        if seconds <= 0:
            return None
        self.console.step("idle", f"measuring the idle machine for {seconds:g} s")
        folder = self.results.path / "sessions" / self._session_id / "idle"
        watts = self._sensors.measure_idle(seconds, folder)
        preflight.remember_idle()
        return {"seconds": seconds, "watts": watts, "note": "no CUDA context of ours was open"}

    def _programs(self) -> dict[str, Path]:
        return {
            training.program.name: training.program.folder
            for experiment in self._campaign.plan.experiments
            for training in experiment.trainings
        }

    def _context(self, environment: Mapping[str, Any]) -> Context:
        plan = self._campaign.plan
        return Context(
            session_id=self._session_id,
            experiment_name=plan.settings.experiment_name,
            settings_file=plan.settings.file,
            registry_file=self._campaign.registry.file,
            seed=plan.seed,
            plan_digest=plan.digest,
            order=plan.order,
            positions={one.id: at for at, one in enumerate(plan.experiments, start=1)},
            environment=environment,
            thresholds={**design_values(), **LOAD_THRESHOLDS},
        )


def choose_rung(name: str | None) -> Rung:
    """Return the rung called `name`, or the strongest that is advised where None.

    Raises:
        ProcessError: this machine does not grant it; the message says why.
    """
    mechanisms = probe()
    if name is None:
        return mechanisms.default
    rung = Rung(name)
    if not mechanisms.is_available(rung):
        raise ProcessError(f"--supervision {name}: {mechanisms.reason_against(rung)}")
    return rung
