"""The foreground: a training in its own process tree, under the meter, tried until it counts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from wattest.attempt import Attempt, CpuUse, Outcome, exit_faults
from wattest.console import Console, shown
from wattest.energy import (
    Measurement,
    Sensors,
    Snapshot,
    Thresholds,
    Window,
    estimate,
    foreign_gpu_processes,
    other_cpu_load,
)
from wattest.errors import EnergyError, LoadError, ProcessError, SpawnError
from wattest.load import ActiveLoad, LoadEdge
from wattest.plan import Experiment
from wattest.process import Command, Exit, Rung, Tree
from wattest.progress import ProgressBoard
from wattest.training import Metrics, command_of, last_lines, read_metrics

_PROGRESS_NS = 1_000_000_000
Progress = Callable[[float, Snapshot], None]


@dataclass
class _Run:
    """What becomes known while one attempt runs."""

    exit: Exit | None = None
    pid: int | None = None
    timed_out: bool = False
    interrupted: bool = False
    trouble: str | None = None
    measurement: Measurement | None = None
    own_cpu_seconds: float = 0.0
    own_pids: set[int] = field(default_factory=set)
    gpu_processes: dict[int, str] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    load_opened: LoadEdge | None = None
    load_closed: LoadEdge | None = None


class Foreground:
    """Runs foreground trainings, one at a time, each under the session's meter."""

    def __init__(
        self,
        console: Console,
        sensors: Sensors,
        rung: Rung,
        owners: Sequence[int] = (),
        thresholds: Thresholds | None = None,
        board: ProgressBoard | None = None,
        run_as: tuple[int, int] | None = None,
    ) -> None:
        self._console = console
        self._sensors = sensors
        self._rung = rung
        self._owners = tuple(owners)
        self._thresholds = thresholds or Thresholds()
        self._board = board
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
        for number in range(1, experiment.entry.max_retries + 2):
            attempt = self._attempt(experiment, outcome, number, load)
            self._say_end(attempt)
            if attempt.valid or not attempt.worth_repeating or outcome.trouble:
                return
            if number <= experiment.entry.max_retries:
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
        limit_mb = experiment.entry.gpu_memory_limit_mb
        command = command_of(experiment.foreground, limit_mb, self._run_as)
        files = outcome.files
        progress = self._board.watcher(experiment, files.log, load) if self._board else None
        self._console.step("command", " ".join(command.argv))
        self._console.step("in", shown(command.cwd))
        self._console.step("log", shown(files.log))
        self._console.step("traces", f"{shown(files.energy_folder)}/")
        run = _Run()
        started_at = datetime.now().isoformat(timespec="milliseconds")
        try:
            self._run(experiment, command, files.log, files.energy_folder, load, run, progress)
        except KeyboardInterrupt:
            run.interrupted = True
            raise
        finally:
            metrics = read_metrics(files.log, experiment.foreground.program.log_patterns)
            faults, flags = _judge(run, metrics, load, experiment.entry.timeout_seconds)
            cpu = _cpu_use(run, load)
            flags += _neighbour_flags(run, cpu, self._thresholds)
            attempt = Attempt(
                number=number,
                argv=command.argv,
                pid=run.pid,
                started_at=started_at,
                exit=run.exit,
                timed_out=run.timed_out,
                interrupted=run.interrupted,
                duration_seconds=_duration(run),
                measurement=run.measurement,
                estimate=_estimate(run, cpu),
                cpu=cpu,
                metrics=metrics,
                faults=tuple(faults),
                flags=tuple(flags),
                log=files.log,
                energy_folder=files.energy_folder,
                last_lines=tuple(last_lines(files.log)) if faults else (),
            )
            outcome.attempts.append(attempt)
            outcome.trouble = run.trouble
        return attempt

    def _run(
        self,
        experiment: Experiment,
        command: Command,
        log: Path,
        energy_folder: Path,
        load: ActiveLoad | None,
        run: _Run,
        progress: Progress | None,
    ) -> None:
        """Run the training between two edges; everything slow lies outside of them."""
        meter = self._sensors.meter()
        try:
            tree = Tree(command, log, rung=self._rung, owners=self._owners)
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
            own_began = time.process_time()
            window = meter.open(energy_folder)
            try:
                run.pid = tree.start()
                self._console.detail("training", f"PID {run.pid}")
                self._watch(tree, window, load, run, experiment.entry.timeout_seconds, progress)
            except SpawnError as error:
                run.trouble = f"training could not be started: {error}"
            except ProcessError as error:
                run.trouble = str(error)
            finally:
                run.measurement = window.close(run.exit.ended_ns if run.exit else None)
                run.own_cpu_seconds = time.process_time() - own_began
                self._look_at_gpus(run, load)
                if load and run.trouble is None:
                    run.load_closed = _edge_or_trouble(load, run)

    def _look_at_gpus(self, run: _Run, load: ActiveLoad | None) -> None:
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
        run: _Run,
        timeout_seconds: float,
        progress: Progress | None,
    ) -> None:
        """Sample until the training is gone, is out of time, or its load is no load any more."""
        opened_ns = time.monotonic_ns()
        deadline_ns = opened_ns + int(timeout_seconds * 1e9)
        progress_ns = opened_ns + _PROGRESS_NS
        descriptors = [tree.fileno(), *(load.filenos() if load else [])]
        while True:
            window.wait(descriptors, until_ns=min(deadline_ns, progress_ns))
            run.exit = tree.poll()
            if run.exit is not None:
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
            if now_ns >= progress_ns:
                progress_ns = now_ns + _PROGRESS_NS
                if progress is not None:
                    progress((now_ns - opened_ns) / 1e9, window.latest())

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


def _edge_or_trouble(load: ActiveLoad, run: _Run) -> LoadEdge | None:
    try:
        return load.edge()
    except LoadError as error:
        run.trouble = str(error)
        return None


def _judge(
    run: _Run, metrics: Metrics, load: ActiveLoad | None, timeout_seconds: float
) -> tuple[list[str], list[str]]:
    faults: list[str] = []
    flags: list[str] = []
    if run.trouble:
        faults.append(run.trouble)
    if run.interrupted:
        faults.append("interrupted before the training was done")
    elif run.timed_out:
        faults.append(f"timed out after {timeout_seconds:g} s (timeout_seconds)")
    elif run.exit is not None:
        faults += exit_faults(run.exit, metrics)
    if run.measurement is not None:
        faults += [reason.text for reason in run.measurement.faults]
        flags += [reason.text for reason in run.measurement.flags]
    if load and run.load_opened and run.load_closed:
        load_faults, load_flags = load.judge(run.load_opened, run.load_closed)
        faults += load_faults
        flags += load_flags
    if run.exit is not None and run.exit.leftovers_killed:
        flags.append(f"{run.exit.leftovers_killed} processes outlived the training and were killed")
    if metrics.found:
        flags += metrics.problems
    return faults, flags


def _neighbour_flags(run: _Run, cpu: CpuUse | None, thresholds: Thresholds) -> list[str]:
    """Flag what else was on the machine: foreign GPU processes, and other CPU load."""
    own = run.own_pids | ({run.pid} if run.pid is not None else set())
    reasons = [foreign_gpu_processes(run.gpu_processes, own)]
    if cpu is not None:
        reasons.append(
            other_cpu_load(
                cpu.machine_busy_seconds, cpu.ours_seconds, cpu.machine_total_seconds, thresholds
            )
        )
    return [*run.unseen, *(reason.text for reason in reasons if reason is not None)]


def _cpu_use(run: _Run, load: ActiveLoad | None) -> CpuUse | None:
    machine = run.measurement.machine_cpu if run.measurement else None
    if machine is None:
        return None
    background = 0.0
    if load and run.load_opened and run.load_closed:
        background = load.cpu_seconds(run.load_opened, run.load_closed)
    end = run.exit
    return CpuUse(
        machine_busy_seconds=machine.busy_seconds,
        machine_total_seconds=machine.capacity_seconds,
        foreground_seconds=end.user_cpu_seconds + end.system_cpu_seconds if end else 0.0,
        background_seconds=background,
        harness_seconds=run.own_cpu_seconds,
    )


def _duration(run: _Run) -> float | None:
    if run.exit is not None:
        return (run.exit.ended_ns - run.exit.started_ns) / 1e9
    return run.measurement.duration_seconds if run.measurement else None


def _estimate(run: _Run, cpu: CpuUse | None) -> dict[str, object] | None:
    """Estimate the CPU's energy where no counter could be read (and only there)."""
    if cpu is None or run.measurement is None:
        return None
    if run.measurement.energy_metrics()["cpu_energy_total_joules"] is not None:
        return None
    return estimate(
        run.measurement.duration_seconds,
        os.cpu_count() or 1,
        cpu.machine_busy_seconds,
        cpu.foreground_seconds if run.exit else None,
    )
