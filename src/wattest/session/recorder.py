"""Leaves exactly one record for every experiment, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wattest.errors import RecordError, WattestError
from wattest.interrupts import interruptions_held
from wattest.plan.experiment import Experiment
from wattest.records.document import Context, build, headline
from wattest.records.folder import ResultsFolder
from wattest.records.pair import compare
from wattest.records.reading import read_record
from wattest.records.table import SessionArtefacts
from wattest.run.outcome import Outcome
from wattest.session.preflight import Preflight
from wattest.session.progress import ProgressBoard
from wattest.terminal.console import Console, shown

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
        self._settings_digest = artefacts.plan.settings_digest

    def prepare(self, experiment: Experiment) -> Outcome:
        """Wait until the machine is idle again, and reserve the files of the experiment."""
        self._board.begin()
        cooldown = self._preflight.pause()
        if cooldown is not None:
            if cooldown["reached_idle"]:
                outcome = "idle again"
            elif cooldown["excess"]:
                outcome = "NOT idle"
            else:
                outcome = f"idle, but not yet for {cooldown['hold_seconds']:.0f} s,"
            self._console.step("cool-down", f"{outcome} after {cooldown['waited_seconds']:.0f} s")
        self._console.title(f"{experiment.id}  ({_values(experiment)})")
        return Outcome(self._results.reserve(experiment), cooldown=cooldown)

    def check(self, experiment: Experiment, outcome: Outcome) -> None:
        """Flag what was left on the machine; raise where the experiment cannot run."""
        outcome.early_flags += self._preflight.check(experiment)

    def write(self, experiment: Experiment, outcome: Outcome, publish: Published) -> None:
        """Write the record of an experiment, `publish` its headline, and say what it cost.

        Once the record is there the experiment counts; what fails afterwards is a warning.

        Raises:
            RecordError: the record cannot be written.
        """
        document = build(experiment, outcome, self._context, self._settings_digest)
        warnings = self._compare(experiment, document)
        path = self._results.write(outcome.files, document)
        self._known[experiment.id] = path
        summary = headline(experiment, document)
        publish(summary)
        try:
            self._artefacts.add(document)
            self._results.give_back(outcome.files)
        except OSError as error:
            text = f"{error.filename or shown(self._artefacts.csv)}: {error.strerror}"
            warnings.append(f"{text}; the record counts all the same")
        # Nobody reads a console that is gone.
        with suppress(OSError):
            self._say(summary, document, path, warnings)

    def _compare(self, experiment: Experiment, document: dict[str, Any]) -> list[str]:
        """Compare a record with that of its partner, if that has run; return why it cannot be."""
        path = self._known.get(experiment.partner or "")
        if path is None:
            return []
        partner = read_record(path)
        if partner is not None and partner["plan"]["test_id"] == experiment.partner:
            document["pair"] = compare(document, partner)
            return []
        text = f"not compared with {experiment.partner}: {path.name} is missing or damaged"
        document["pair"] = None
        document.get("foreground_result", document)["quality"]["flags"].append(text)
        return [text]

    def _say(
        self, summary: dict[str, Any], document: dict[str, Any], path: Path, warnings: list[str]
    ) -> None:
        self._board.end(summary["duration_seconds"])
        self._console.step("energy", _energy(summary))
        if document.get("pair"):
            self._console.step("pair", _pair(document["pair"]))
        for warning in warnings:
            self._console.warn(warning)
        self._console.step("record", shown(path))


class Recorder:
    """The records as one test sees them; `publish` gets the headline."""

    def __init__(self, records: Records, publish: Published) -> None:
        self._records = records
        self._publish = publish

    @contextmanager
    def recording(self, experiment: Experiment) -> Iterator[Outcome]:
        """Yield the outcome to be filled; on the way out write its record.

        What wattest or the disk raises inside becomes a reason in the record, not a traceback; a
        record that cannot be written becomes the outcome's trouble. An interruption that comes
        when the training has ended well does not undo it, and waits for the record.
        """
        outcome = self._records.prepare(experiment)
        try:
            self._records.check(experiment, outcome)
            yield outcome
        except (WattestError, OSError) as error:
            outcome.trouble = str(error)
        except BaseException as error:
            if not (isinstance(error, KeyboardInterrupt) and outcome.succeeded):
                outcome.trouble = outcome.trouble or _interruption(error)
            raise
        finally:
            begun: list[bool] = []
            try:
                with interruptions_held():
                    begun.append(True)
                    self._leave(experiment, outcome)
            except KeyboardInterrupt:
                # One that came before anything was held is the only one: nothing interrupts now.
                if not begun:
                    self._leave(experiment, outcome)
                raise

    def _leave(self, experiment: Experiment, outcome: Outcome) -> None:
        try:
            self._records.write(experiment, outcome, self._publish)
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
