"""The live line: what runs, how far it is, what it draws now, and how long it will take."""

from __future__ import annotations

from dataclasses import dataclass

from wattest.energy import Snapshot
from wattest.plan.experiment import Experiment
from wattest.run.activeload import ActiveLoad
from wattest.run.foreground import Progress
from wattest.run.marks import MarkReader
from wattest.terminal import Console


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

    def watcher(self, experiment: Experiment, load: ActiveLoad) -> Progress | None:
        """Return what shows the line for one attempt; None where there is no terminal."""
        if not self._console.is_live:
            return None
        epochs = _Epochs()

        def show(elapsed_seconds: float, snapshot: Snapshot, marks: MarkReader | None) -> None:
            done, of = read_epoch(marks, experiment)
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


def read_epoch(marks: MarkReader | None, experiment: Experiment) -> tuple[int | None, int | None]:
    """Return (epoch, epochs) by what the log has told so far.

    The number of epochs is that of the hyper-parameter where the log does not tell.
    """
    if marks is None or not marks.marks:
        return None, None
    epochs = marks.of or experiment.foreground.hyperparameters.get("epochs")
    return int(marks.marks[-1].epoch), None if epochs is None else int(epochs)


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
