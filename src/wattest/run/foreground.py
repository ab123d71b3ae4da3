"""The foreground: a training in its own process tree, under the meter, tried until it counts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from wattest.energy import Sensors, Snapshot, Window
from wattest.errors import EnergyError, LoadError, ProcessError, SpawnError
from wattest.files import make_folder, sudo_user
from wattest.interrupts import interruptions_held
from wattest.plan.experiment import Experiment
from wattest.process import Command, Rung, Tree
from wattest.run.command import command_of
from wattest.run.judge import LOOK_SECONDS, ActiveLoad, LoadEdge
from wattest.run.log import last_lines, read_metrics
from wattest.run.outcome import Attempt, ExperimentFiles, Outcome
from wattest.run.verdict import (
    Run,
    cpu_use,
    duration_seconds,
    estimated_energy,
    judge,
    neighbour_flags,
)
from wattest.terminal.console import Console, shown

_PROGRESS_NS = 1_000_000_000
_LOOK_NS = int(LOOK_SECONDS * 1e9)
# The supervisor ends what is out of time so much later, should a driver or a terminal hold us up.
_HELD_UP_SECONDS = 1.0
Progress = Callable[[float, Snapshot], None]
ProgressOf = Callable[[Experiment, Path, ActiveLoad | None], Progress | None]


def no_progress(experiment: Experiment, log: Path, load: ActiveLoad | None) -> None:
    """Show no progress."""


class Foreground:
    """Runs foreground trainings, one at a time, each under the session's meter."""

    def __init__(
        self,
        console: Console,
        sensors: Sensors,
        rung: Rung,
        owners: Sequence[int] = (),
        progress_of: ProgressOf = no_progress,
        run_as: tuple[int, int] | None = None,
    ) -> None:
        self._console = console
        self._sensors = sensors
        self._rung = rung
        self._owners = tuple(owners)
        self._progress_of = progress_of
        self._run_as = run_as

    def train(
        self,
        experiment: Experiment,
        outcome: Outcome,
        load: ActiveLoad | None = None,
    ) -> None:
        """Train until an attempt counts or the retries are used up; add every attempt to `outcome`.

        An interruption leaves the interrupted attempt in `outcome` and goes on its way.
        """
        for number in range(1, experiment.limits.max_retries + 2):
            attempt = self._attempt(experiment, outcome, number, load)
            self._say_end(attempt)
            if attempt.valid or not attempt.worth_repeating or outcome.trouble:
                return
            if number <= experiment.limits.max_retries:
                self._console.warn(f"attempt {number} failed: {attempt.faults[0]}; trying again")
                log, energy = outcome.files.set_aside(number)
                outcome.attempts[-1] = replace(attempt, log=log, energy_folder=energy)

    def _attempt(
        self,
        experiment: Experiment,
        outcome: Outcome,
        number: int,
        load: ActiveLoad | None,
    ) -> Attempt:
        limit_mb = experiment.limits.gpu_memory_limit_mb
        command = command_of(experiment.foreground, limit_mb, self._run_as)
        files = outcome.files
        progress = self._progress_of(experiment, files.log, load)
        self._console.step("command", " ".join(command.argv))
        self._console.step("in", shown(command.cwd))
        self._console.step("log", shown(files.log))
        self._console.step("traces", f"{shown(files.energy_folder)}/")
        run = Run()
        started_at = datetime.now().isoformat(timespec="milliseconds")
        try:
            self._run(experiment, command, files.log, files.energy_folder, load, run, progress)
        except KeyboardInterrupt:
            # One that comes after the training's end takes nothing from it.
            run.interrupted = run.exit is None
            raise
        finally:
            with interruptions_held():
                attempt = self._judged(experiment, files, number, command, started_at, run, load)
                outcome.attempts.append(attempt)
                outcome.trouble = run.trouble
        return attempt

    def _judged(
        self,
        experiment: Experiment,
        files: ExperimentFiles,
        number: int,
        command: Command,
        started_at: str,
        run: Run,
        load: ActiveLoad | None,
    ) -> Attempt:
        metrics = read_metrics(files.log, experiment.foreground.program.log_patterns)
        faults, flags = judge(run, metrics, load, experiment.limits.timeout_seconds)
        cpu = cpu_use(run, load)
        flags += neighbour_flags(run, cpu)
        return Attempt(
            number=number,
            argv=command.argv,
            pid=run.pid,
            started_at=started_at,
            exit=run.exit,
            timed_out=run.timed_out,
            interrupted=run.interrupted,
            duration_seconds=duration_seconds(run),
            measurement=run.measurement,
            estimate=estimated_energy(run, cpu),
            cpu=cpu,
            metrics=metrics,
            faults=tuple(faults),
            flags=tuple(flags),
            log=files.log,
            energy_folder=files.energy_folder,
            last_lines=tuple(last_lines(files.log)) if faults else (),
        )

    def _run(
        self,
        experiment: Experiment,
        command: Command,
        log: Path,
        energy_folder: Path,
        load: ActiveLoad | None,
        run: Run,
        progress: Progress | None,
    ) -> None:
        """Run the training between two edges; everything slow lies outside of them."""
        owner = command.run_as or sudo_user()
        try:
            tree = Tree(command, log, rung=self._rung, owners=self._owners, log_owner=owner)
        except ProcessError as error:
            run.trouble = str(error)
            return
        with tree:
            try:
                run.load_opened = load.edge() if load else None
            except LoadError as error:
                run.trouble = str(error)
                return
            self._look_at_gpus(run, load)
            make_folder(energy_folder)
            own_began = time.process_time()
            window = self._sensors.open_window(energy_folder)
            try:
                timeout_seconds = experiment.limits.timeout_seconds
                run.pid = tree.start(timeout_seconds + _HELD_UP_SECONDS)
                self._console.detail("training", f"PID {run.pid}")
                self._watch(tree, window, load, run, timeout_seconds, progress)
            except SpawnError as error:
                run.trouble = f"training could not be started: {error}"
            except ProcessError as error:
                run.trouble = str(error)
            finally:
                with interruptions_held():
                    run.measurement = window.close(run.exit.ended_ns if run.exit else None)
                    run.own_cpu_seconds = time.process_time() - own_began
                    self._look_at_gpus(run, load)
                    if load:
                        run.load_closed = _edge_or_trouble(load, run)

    def _look_at_gpus(self, run: Run, load: ActiveLoad | None) -> None:
        """Note who is on the GPUs at an edge, outside of the window."""
        if run.trouble is None:
            run.own_pids |= {os.getpid(), *(load.pids() if load else ())}
            try:
                run.gpu_processes |= self._sensors.gpu_processes()
            except EnergyError as error:
                run.unseen.append(f"who is on the GPUs is not known: {error}")

    def _watch(
        self,
        tree: Tree,
        window: Window,
        load: ActiveLoad | None,
        run: Run,
        timeout_seconds: float,
        progress: Progress | None,
    ) -> None:
        """Sample until the training is gone, is out of time, or its load is no load any more."""
        opened_ns = time.monotonic_ns()
        deadline_ns = opened_ns + int(timeout_seconds * 1e9)
        progress_ns = opened_ns + _PROGRESS_NS
        look_ns = opened_ns + _LOOK_NS
        looked = run.load_opened
        loads = load.filenos() if load else []
        while True:
            # Polled before each wait: news that came with an earlier answer wakes nobody.
            run.exit = tree.poll()
            if run.exit is not None:
                run.timed_out = run.exit.ended_ns >= deadline_ns
                return
            if load is not None and (trouble := load.check()) is not None:
                run.trouble = trouble
                tree.stop()
                return
            now_ns = time.monotonic_ns()
            if now_ns >= deadline_ns:
                run.timed_out = True
                tree.stop()
                run.exit = tree.poll()
                return
            if load is not None and run.load_opened and looked and now_ns >= look_ns:
                look_ns = now_ns + _LOOK_NS
                now = _edge_or_trouble(load, run)
                if now is not None:
                    run.trouble = load.falls_short(run.load_opened, looked, now)
                    looked = now
                if run.trouble is not None:
                    tree.stop()
                    return
            if now_ns >= progress_ns:
                progress_ns = now_ns + _PROGRESS_NS
                if progress is not None:
                    progress((now_ns - opened_ns) / 1e9, window.latest())
            window.wait([*tree.filenos(), *loads], until_ns=min(deadline_ns, progress_ns))

    def _say_end(self, attempt: Attempt) -> None:
        if attempt.exit is None:
            how = "was not started" if attempt.pid is None else "was stopped"
        elif attempt.exit.signal is not None:
            how = f"ended by signal {attempt.exit.signal}"
        else:
            how = f"ended with exit code {attempt.exit.exit_code}"
        took = (
            "" if attempt.duration_seconds is None else f" after {attempt.duration_seconds:.2f} s"
        )
        self._console.step("training", f"{how}{took}")
        for flag in attempt.flags:
            self._console.warn(flag)


def _edge_or_trouble(load: ActiveLoad, run: Run) -> LoadEdge | None:
    try:
        return load.edge()
    except LoadError as error:
        run.trouble = run.trouble or str(error)
        return None
