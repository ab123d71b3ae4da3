"""The background load: started, proven alive, and stopped with proof."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from wattest.energy import GpuState
from wattest.errors import LoadError, ProcessError
from wattest.files import make_folder, sudo_user
from wattest.interrupts import OrderlySignals
from wattest.names import slug
from wattest.plan.experiment import Experiment, Training
from wattest.process import Loop, Rung
from wattest.run.command import command_of
from wattest.run.judge import LEAST_JUDGED_SECONDS, MINIMUM_DUTY, READY_LIMIT_SECONDS, ActiveLoad
from wattest.run.log import begin_of, end_of
from wattest.run.running import RunningLoad, called, explain_failure, name_of, newest_log
from wattest.run.warmup import warm_up
from wattest.terminal.console import Console, shown

_POLL_SECONDS = 0.05
_LINE_END = re.compile(r"\r\n|\r")


class _Files(Protocol):
    @property
    def background_folder(self) -> Path:
        """Where the loads' logs go."""


class LoadHost(Protocol):
    """What a load needs of the outcome of its experiment."""

    load: ActiveLoad | None

    @property
    def files(self) -> _Files:
        """Where the experiment leaves its files."""


class BackgroundLoad:
    """Starts and stops the background load of each experiment; nothing outlives `close`."""

    def __init__(
        self,
        console: Console,
        rung: Rung,
        owners: Sequence[int] = (),
        run_as: tuple[int, int] | None = None,
        signals: OrderlySignals | None = None,
        gpu_state: Callable[[], Sequence[GpuState]] = tuple,
    ) -> None:
        self._console = console
        self._rung = rung
        self._owners = tuple(owners)
        self._run_as = run_as
        self._signals = signals or OrderlySignals()
        self._gpu_state = gpu_state
        self._open: list[Loop] = []

    @contextmanager
    def running(self, experiment: Experiment, outcome: LoadHost) -> Iterator[ActiveLoad | None]:
        """Run the background of `experiment`, noted in `outcome`; stop it on the way out.

        Yields None for an experiment without a background.

        Raises:
            LoadError: it could not be started, or died in its start-up time; with its last lines.
        """
        if not experiment.backgrounds:
            yield None
            return
        folder = outcome.files.background_folder
        running: list[RunningLoad] = []
        load = outcome.load = ActiveLoad(running)
        with ExitStack() as stops:
            for number, training in enumerate(experiment.backgrounds, start=1):
                own = folder
                if len(experiment.backgrounds) > 1:
                    own = folder / f"{number}_{slug(training.model)}"
                limit = experiment.limits.gpu_memory_limit_mb
                running.append(self._start(training, own, limit))
                stops.callback(self._stop, running[-1])
            self._prove(experiment, running, load)
            yield load

    def close(self) -> None:
        """Stop whatever is still open: the last net under the per-experiment stop."""
        while self._open:
            self._open.pop().stop(grace_seconds=0)

    def _start(self, training: Training, folder: Path, limit_mb: int | None) -> RunningLoad:
        make_folder(folder)
        owner = self._run_as or sudo_user()
        command = command_of(training, limit_mb, self._run_as)
        try:
            loop = Loop(command, folder, rung=self._rung, owners=self._owners, log_owner=owner)
        except ProcessError as error:
            raise LoadError(f"{called(training)}: {error}") from error
        self._open.append(loop)
        one = RunningLoad(training, command.argv, folder, loop)
        try:
            one.pid = loop.start()
        except ProcessError as error:
            self._stop(one)
            raise LoadError(f"{called(training)}: {error}") from error
        self._console.step("load", f"{name_of(training)}, PID {one.pid}, logs in {shown(folder)}/")
        self._console.detail("command", " ".join(command.argv))
        return one

    def _prove(self, experiment: Experiment, running: list[RunningLoad], load: ActiveLoad) -> None:
        """Let the start-up time pass while watching; then every loop must be alive and ready."""
        began = time.monotonic()
        startup_seconds = experiment.limits.startup_seconds
        patterns = {
            one: asked.ready_pattern
            for one, asked in zip(running, experiment.backgrounds, strict=True)
        }
        late = list(running)
        while True:
            _require_alive(load)
            waited = time.monotonic() - began
            # Ready once is ready for good: what a load says later must not hide it.
            late = [one for one in late if not _is_ready(one, patterns[one])]
            if waited >= startup_seconds and not late:
                break
            if waited >= max(startup_seconds, READY_LIMIT_SECONDS):
                raise LoadError(explain_failure(late[0], f"is not ready after {waited:.0f} s"))
            left = startup_seconds - waited
            time.sleep(min(left, _POLL_SECONDS) if left > 0 else _POLL_SECONDS)
        warmth = warm_up(self._gpu_state, lambda: _require_alive(load))
        for one, status in zip(running, load.edge().statuses, strict=True):
            share = status.alive_ns / max(status.now_ns - status.started_ns, 1)
            failing = status.failures and not status.runs_completed
            if share < MINIMUM_DUTY and (failing or waited >= LEAST_JUDGED_SECONDS):
                text = f"was alive for only {share:.1%} of its start-up time"
                raise LoadError(explain_failure(one, text))
            one.proof = {
                "waited_seconds": waited,
                "alive_share": min(1.0, share),
                "cpu_seconds": status.cpu_seconds,
                "run": status.current_run,
                "gpu_warm_up": warmth,
                "ready_pattern_matched": patterns[one] is not None or None,
            }
            used = f"alive, {status.cpu_seconds:.1f} s of CPU in its first {waited:.1f} s"
            self._console.step("load", f"{name_of(one.training)} is {used}")

    def _stop(self, one: RunningLoad) -> None:
        try:
            one.last_status = one.loop.status()
        except ProcessError:
            one.last_status = None
        try:
            with self._signals.patience() as grace_seconds:
                one.stop = one.loop.stop(grace_seconds)
        except KeyboardInterrupt:
            one.stop = one.loop.stop(grace_seconds=0)
            raise
        finally:
            self._say_stop(one)

    def _say_stop(self, one: RunningLoad) -> None:
        if one.stop is None:
            return
        if one.loop in self._open:
            self._open.remove(one.loop)
        how = "killed" if one.stop.sigkill_needed else "stopped"
        left = f", {len(one.stop.survivors)} LEFT" if one.stop.survivors else ", nothing left"
        self._console.step(
            "load", f"{name_of(one.training)} {how} in {one.stop.duration_seconds:.2f} s{left}"
        )


def _require_alive(load: ActiveLoad) -> None:
    if (trouble := load.check()) is not None:
        raise LoadError(trouble)


def _is_ready(one: RunningLoad, pattern: re.Pattern[str] | None) -> bool:
    """Tell whether begin or end of the newest log match; without a pattern it is ready at once."""
    if pattern is None:
        return True
    log = newest_log(one.folder)
    if log is None:
        return False
    return any(pattern.search(_LINE_END.sub("\n", text)) for text in (begin_of(log), end_of(log)))
