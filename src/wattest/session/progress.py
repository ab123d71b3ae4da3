"""The live line: what runs, how far it is, what it draws now, and how long it will take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wattest.energy import Snapshot
from wattest.plan.experiment import Experiment
from wattest.run.activeload import ActiveLoad
from wattest.run.foreground import Progress
from wattest.run.log import end_of
from wattest.terminal import Console

_TAIL_BYTES = 8192


class ProgressBoard:
    """Knows how many experiments there are and how long they took; shows one line on a terminal.

    One of several workers does not know how many of them are its own, and forecasts none but the
    present one.
    """

    def __init__(self, console: Console, *, is_one_of_several: bool = False) -> None:
        self._console = console
        self._counts = not is_one_of_several
        self.total = 1
        self._begun = 0
        self._durations: list[float] = []

    def begin(self) -> None:
        """Count one more experiment as begun."""
        self._begun += 1

    def end(self, duration_seconds: float | None) -> None:
        """Take the duration of a finished experiment for the forecast, and clear the line."""
        if duration_seconds is not None:
            self._durations.append(duration_seconds)
        self._console.clear_live()

    def watcher(self, experiment: Experiment, log: Path, load: ActiveLoad) -> Progress | None:
        """Return what shows the line for one attempt; None where there is no terminal."""
        if not self._console.is_live:
            return None
        epochs = _Epochs()

        def show(elapsed_seconds: float, snapshot: Snapshot) -> None:
            done, of = read_epoch(log, experiment)
            left = epochs.left(elapsed_seconds, done, of)
            rest, run = self._campaign_left(elapsed_seconds, left), load.current_run()
            parts = [
                f"[{self._begun}/{self.total}]" if self._counts else None,
                experiment.id,
                None if done is None else f"epoch {done}/{of}" if of else f"epoch {done}",
                clock(elapsed_seconds),
                _with(snapshot.cpu_watts, "CPU {:.0f} W"),
                _with(snapshot.gpu_watts, "GPU {:.0f} W"),
                _with(snapshot.gpu_temperature_celsius, "{:.0f} C"),
                _with(run, "load run {}"),
                None if left is None else f"left {clock(left)}",
                None if rest is None or not self._counts else f"all {clock(rest)}",
            ]
            self._console.live("  ".join(part for part in parts if part is not None))

        return show

    def _campaign_left(self, elapsed_seconds: float, left: float | None) -> float | None:
        """Forecast the rest: the mean of what is done, and what is left of the current one."""
        known = [*self._durations, *([elapsed_seconds + left] if left is not None else [])]
        if not known:
            return None
        mean = sum(known) / len(known)
        current = left if left is not None else max(0.0, mean - elapsed_seconds)
        return current + mean * max(0, self.total - self._begun)


def read_epoch(log: Path, experiment: Experiment) -> tuple[int | None, int | None]:
    """Return (epoch, epochs) from the end of the log by the registry's `progress` pattern.

    The number of epochs is that of the hyper-parameter where the pattern does not tell.
    """
    pattern = experiment.foreground.program.progress
    if pattern is None:
        return None, None
    found = [match.groups() for match in pattern.finditer(end_of(log, _TAIL_BYTES))]
    numbers = [int(group) for group in found[-1] if group and group.isdecimal()] if found else []
    if len(numbers) > 1:
        return numbers[0], numbers[1]
    epochs = experiment.foreground.hyperparameters.get("epochs")
    if not numbers or epochs is None:
        return next(iter(numbers), None), None
    return numbers[0], int(epochs)


def clock(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclass
class _Epochs:
    """When the latest epoch ended, from which the rest of a training is forecast."""

    done: int | None = None
    ended_seconds: float = 0.0

    def left(self, elapsed_seconds: float, done: int | None, of: int | None) -> float | None:
        if done != self.done:
            self.done, self.ended_seconds = done, elapsed_seconds
        if not done or not of:
            return None
        rest = self.ended_seconds * (of - done) / done
        return max(0.0, rest - (elapsed_seconds - self.ended_seconds))


def _with(value: float | None, form: str) -> str | None:
    return None if value is None else form.format(value)
