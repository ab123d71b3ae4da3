"""Leaves exactly one record for every experiment, whatever becomes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wattest.artefacts import SessionArtefacts
from wattest.attempt import Outcome
from wattest.console import Console, shown
from wattest.errors import RecordError, WattestError
from wattest.pair import compare
from wattest.plan import Experiment
from wattest.preflight import Preflight
from wattest.progress import ProgressBoard
from wattest.record import Context, build, headline
from wattest.results import ResultsFolder

Published = Callable[[dict[str, Any]], None]


class Records:
    """Prepares each experiment and writes its record the moment it ends.

    `known` maps the test ids of finished experiments to their records; it grows with the session,
    so that the second half of a pair finds the first.
    """

    def __init__(
        self,
        results: ResultsFolder,
        context: Context,
        console: Console,
        board: ProgressBoard,
        preflight: Preflight,
        artefacts: SessionArtefacts,
        known: dict[str, Path],
    ) -> None:
        self._results = results
        self._context = context
        self._console = console
        self._board = board
        self._preflight = preflight
        self._artefacts = artefacts
        self._known = known

    def prepare(self, experiment: Experiment) -> Outcome:
        """Wait until the machine is idle again, and reserve the files of the experiment."""
        self._board.begin()
        cooldown = self._preflight.pause()
        if cooldown is not None:
            outcome = "idle again" if cooldown["reached_idle"] else "NOT idle"
            self._console.step("cool-down", f"{outcome} after {cooldown['waited_seconds']:.0f} s")
        self._console.title(f"{experiment.id}  ({_values(experiment)})")
        return Outcome(self._results.reserve(experiment), cooldown=cooldown)

    def check(self, experiment: Experiment, outcome: Outcome) -> None:
        """Flag what was left on the machine; raise where the experiment cannot run."""
        outcome.early_flags += self._preflight.check(experiment)

    def write(self, experiment: Experiment, outcome: Outcome) -> dict[str, Any]:
        """Write the record of an experiment and return its headline.

        Raises:
            RecordError: the record cannot be written.
        """
        document = build(experiment, outcome, self._context)
        partner = self._known.get(experiment.partner or "")
        if partner is not None:
            document["pair"] = compare(document, json.loads(partner.read_text(encoding="utf-8")))
        summary = headline(experiment, document)
        self._board.end(summary["duration_seconds"])
        path = self._results.write(outcome.files, document)
        self._known[experiment.id] = path
        self._artefacts.add(document)
        self._console.step("energy", _energy(summary))
        if document.get("pair"):
            self._console.step("pair", _pair(document["pair"]))
        self._console.step("record", shown(path))
        return summary


class Recorder:
    """The records as one test sees them; `publish` gets the headline."""

    def __init__(self, records: Records, publish: Published) -> None:
        self._records = records
        self._publish = publish

    @contextmanager
    def recording(self, experiment: Experiment) -> Iterator[Outcome]:
        """Yield the outcome to be filled; on the way out write its record.

        What wattest or the disk raises inside becomes a reason in the record, not a traceback; a
        record that cannot be written becomes the outcome's trouble.
        """
        outcome = self._records.prepare(experiment)
        try:
            self._records.check(experiment, outcome)
            yield outcome
        except (WattestError, OSError) as error:
            outcome.trouble = str(error)
        except BaseException as error:
            outcome.trouble = outcome.trouble or _interruption(error)
            raise
        finally:
            try:
                self._publish(self._records.write(experiment, outcome))
            except (RecordError, OSError) as error:
                outcome.trouble = f"no record: {error}"


def _values(experiment: Experiment) -> str:
    values = experiment.mutated or experiment.foreground.hyperparameters
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _interruption(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted before the experiment was done ({error or 'Ctrl-C'})"
    return f"stopped by {type(error).__name__}: {error}"


def _energy(summary: dict[str, Any]) -> str:
    estimated = summary["cpu_energy_estimated_joules"]
    cpu = _joules(summary["cpu_energy_total_joules"])
    if estimated is not None:
        cpu += f" (estimate ~{estimated:.0f} J)"
    return f"CPU {cpu}, GPU {_joules(summary['gpu_energy_total_joules'])}"


def _joules(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f} J"


def _pair(pair: dict[str, Any]) -> str:
    ratios = {
        "duration": pair["slowdown"],
        "CPU energy": pair["cpu_energy_ratio"],
        "GPU energy": pair["gpu_energy_ratio"],
    }
    told = [f"{name} x{value:.2f}" for name, value in ratios.items() if value is not None]
    return "with load against alone: " + ", ".join(told)
