"""Leaves exactly one record for every experiment, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wattest.attempt import Outcome
from wattest.console import Console
from wattest.errors import WattestError
from wattest.plan import Experiment
from wattest.record import Context, build, headline
from wattest.results import ResultsFolder

Published = Callable[[dict[str, Any]], None]


class Recorder:
    """Writes the record of an experiment the moment it ends, then hands its headline on."""

    def __init__(
        self, results: ResultsFolder, context: Context, console: Console, publish: Published
    ) -> None:
        self._results = results
        self._context = context
        self._console = console
        self._publish = publish

    @contextmanager
    def recording(self, experiment: Experiment) -> Iterator[Outcome]:
        """Yield the outcome to be filled; on the way out write its record.

        What wattest itself raises inside becomes a reason in the record, not a traceback.

        Raises:
            RecordError: the record cannot be written.
        """
        outcome = Outcome(self._results.reserve(experiment))
        self._console.title(f"{experiment.id}  ({_values(experiment)})")
        try:
            yield outcome
        except WattestError as error:
            outcome.trouble = str(error)
        except BaseException as error:
            outcome.trouble = outcome.trouble or _interruption(error)
            raise
        finally:
            self._write(experiment, outcome)

    def _write(self, experiment: Experiment, outcome: Outcome) -> None:
        document = build(experiment, outcome, self._context)
        summary = headline(experiment, document)
        self._publish(summary)
        path = self._results.write(outcome.files, document)
        self._console.step("energy", _energy(summary))
        self._console.step("record", str(path))


def _values(experiment: Experiment) -> str:
    values = experiment.mutated or experiment.foreground.hyperparameters
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _interruption(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted before the experiment was done"
    return f"stopped by {type(error).__name__}: {error}"


def _energy(summary: dict[str, Any]) -> str:
    estimated = summary["cpu_energy_estimated_joules"]
    cpu = _joules(summary["cpu_energy_total_joules"])
    if estimated is not None:
        cpu += f" (estimate ~{estimated:.0f} J)"
    return f"CPU {cpu}, GPU {_joules(summary['gpu_energy_total_joules'])}"


def _joules(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f} J"
