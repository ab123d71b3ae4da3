"""The background load: started, proven alive, and stopped with proof."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from wattest.energy import GpuState
from wattest.errors import LoadError, ProcessError
from wattest.files import make_folder
from wattest.interrupts import OrderlySignals
from wattest.names import slug
from wattest.plan.experiment import Experiment, Training
from wattest.process import Command
from wattest.run.activeload import ActiveLoad
from wattest.run.command import Launcher
from wattest.run.liveness import READY_LIMIT_SECONDS
from wattest.run.outcome import Outcome
from wattest.run.running import RunningLoad, called
from wattest.run.warmup import warm_up
from wattest.run.work import LoadMarks
from wattest.terminal import Console, shown

_POLL_SECONDS = 0.05


class BackgroundLoad:
    """Starts and stops the background load of each experiment; nothing outlives `close`."""

    def __init__(
        self,
        console: Console,
        launcher: Launcher,
        signals: OrderlySignals,
        gpu_state: Callable[[], Sequence[GpuState]],
    ) -> None:
        self._console = console
        self._launcher = launcher
        self._signals = signals
        self._gpu_state = gpu_state
        self._open: list[RunningLoad] = []

    @contextmanager
    def running(self, experiment: Experiment, outcome: Outcome) -> Iterator[ActiveLoad]:
        """Run the background of `experiment`, noted in `outcome`; stop it on the way out.

        Raises:
            LoadError: it could not be started, or died in its start-up time; with its last lines.
        """
        limits, load = experiment.limits, outcome.load
        with ExitStack() as stops:
            for number, training in enumerate(experiment.backgrounds, start=1):
                folder = outcome.files.background_folder
                if len(experiment.backgrounds) > 1:
                    folder /= f"{number}_{slug(training.model)}"
                make_folder(folder)
                command = self._launcher.command(training, limits.gpu_memory_limit_mb)
                load.loops.append(one := self._start(training, command, folder))
                stops.callback(self._stop, one)
            if load.loops:
                self._prove(load, limits.startup_seconds)
            yield load

    def close(self) -> None:
        """Stop whatever is still open: the last net under the per-experiment stop."""
        while self._open:
            self._open.pop().loop.stop(grace_seconds=0)

    def _start(self, training: Training, command: Command, folder: Path) -> RunningLoad:
        try:
            loop = self._launcher.loop(command, folder)
        except ProcessError as error:
            raise LoadError(f"{called(training)}: {error}") from error
        pattern = training.program.progress
        marks = None if pattern is None else LoadMarks(folder, pattern)
        one = RunningLoad(training, command.argv, folder, loop, marks)
        self._open.append(one)
        try:
            one.pid = loop.start()
        except ProcessError as error:
            self._stop(one)
            raise LoadError(f"{called(training)}: {error}") from error
        self._console.step("load", f"{one.name}, PID {one.pid}, logs in {shown(folder)}/")
        self._console.detail("command", " ".join(command.argv))
        return one

    def _prove(self, load: ActiveLoad, startup_seconds: float) -> None:
        """Let the start-up time pass while watching; then every loop must be alive and ready."""
        began = time.monotonic()
        while True:
            _require_alive(load)
            waited = time.monotonic() - began
            late = [one for one in load.loops if not one.is_ready()]
            if waited >= startup_seconds and not late:
                break
            if waited >= max(startup_seconds, READY_LIMIT_SECONDS):
                raise LoadError(late[0].explain(f"is not ready after {waited:.0f} s"))
            left = startup_seconds - waited
            time.sleep(min(left, _POLL_SECONDS) if left > 0 else _POLL_SECONDS)
        warmth = warm_up(self._gpu_state, lambda: _require_alive(load))
        for one, status in zip(load.loops, load.statuses(), strict=True):
            one.prove(status, waited, warmth)
            used = f"alive, {status.cpu_seconds:.1f} s of CPU in its first {waited:.1f} s"
            self._console.step("load", f"{one.name} is {used}")

    def _stop(self, one: RunningLoad) -> None:
        try:
            one.stop(self._signals.patience())
        finally:
            if (report := one.stopped) is not None:
                if one in self._open:
                    self._open.remove(one)
                how = "killed" if report.sigkill_needed else "stopped"
                left = f"{len(report.survivors)} LEFT" if report.survivors else "nothing left"
                took = f"{how} in {report.duration_seconds:.2f} s, {left}"
                self._console.step("load", f"{one.name} {took}")


def _require_alive(load: ActiveLoad) -> None:
    if (trouble := load.check()) is not None:
        raise LoadError(trouble)
