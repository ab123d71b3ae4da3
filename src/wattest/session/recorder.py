"""Leaves exactly one record for every experiment, whatever becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from wattest.errors import RecordError, WattestError
from wattest.interrupts import interruptions_held
from wattest.machine import Journal
from wattest.plan.experiment import Experiment
from wattest.records import (
    Context,
    Headline,
    Table,
    build,
    compare,
    headline,
    read_record,
    reserve,
    result_of,
    write,
)  # fmt: skip
from wattest.records.commit import commit, counted_name
from wattest.run import CoolDown, LoadAlone, Outcome
from wattest.session.idle import IdleMachine
from wattest.session.preflight import Preflight
from wattest.session.progress import ProgressBoard
from wattest.session.running import announced
from wattest.terminal import Console, shown

_RECORDING = threading.Lock()
_recording_thread: int | None = None


@dataclass(frozen=True, repr=False)
class Recorder:
    """Prepares each experiment, and writes its record to `results` the moment it ends.

    `known` maps the test ids of finished experiments to their records; it grows with the session,
    so that the second half of a pair finds the first. `publish` gets the headline of each record.
    `begun` are the test ids of those that ran, in order. `table` is the session's CSV; None where a
    controller writes it. `journal` is where those who share the CPU's counters note their
    experiments. A session that goes on with a plan commits its records: others may go on, too.
    """

    results: Path
    context: Context
    console: Console
    board: ProgressBoard
    preflight: Preflight
    idle: IdleMachine
    folder: Path
    table: Table | None
    known: dict[str, Path]
    publish: Callable[[Headline], None]
    begun: list[str] = field(default_factory=list)
    is_continued: bool = False
    journal: Journal | None = None

    @contextmanager
    def recording(self, experiment: Experiment) -> Iterator[Outcome]:
        """Yield the outcome to be filled; on the way out write its record.

        What wattest or the disk raises inside becomes a reason in the record, not a traceback; a
        record that cannot be written becomes the outcome's trouble. An interruption that comes
        when the training has ended well does not undo it, and waits for the record.

        Threads wait for each other: the counters cannot tell two trainings of a process apart.

        Raises:
            WattestError: this thread is recording another experiment.
        """
        with _alone(), self._recorded(experiment) as outcome:
            yield outcome

    @contextmanager
    def _recorded(self, experiment: Experiment) -> Iterator[Outcome]:
        outcome, is_begun = self._prepare(experiment), False
        try:
            outcome.early_flags += self._check_order(experiment) + self.preflight.check(experiment)
            is_begun = True
            with self._noted(experiment, outcome):
                yield outcome
        except (WattestError, OSError) as error:
            outcome.trouble = str(error)
            if not is_begun:
                raise
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

    @contextmanager
    def _noted(self, experiment: Experiment, outcome: Outcome) -> Iterator[None]:
        """Let others know what runs: those who watch, and those who share the CPU's counters."""
        with ExitStack() as stack:
            stack.enter_context(announced(self.folder, self.context.plan.digest, experiment))
            if self.journal is not None:
                span = self.journal.span(outcome.files.experiment_id)
                outcome.span = stack.enter_context(span)
            yield

    def _prepare(self, experiment: Experiment) -> Outcome:
        """Wait until the machine is idle again, and reserve the files of the experiment."""
        self.board.begin()
        pause = self.preflight.pause()
        if pause is not None:
            self.console.step("cool-down", f"{_idleness(pause)} after {pause.waited_seconds:.0f} s")
        self.console.title(f"{experiment.id}  ({_values(experiment)})")
        return Outcome(
            idle=self.idle.before(experiment),
            files=reserve(self.results, experiment),
            load_alone=self._load_alone(experiment) if experiment.arm == "load" else None,
            cooldown=pause,
        )

    def _load_alone(self, experiment: Experiment) -> LoadAlone:
        """Return for how long a load is measured alone: as long as its partner took over it."""
        partner = self._duration(experiment.partner or "")
        if partner is not None:
            return LoadAlone(partner, f"as long as {experiment.partner} took")
        over = [one.id for one in self.context.plan.experiments if one.arm == "parallel"]
        known = [seconds for name in over if (seconds := self._duration(name)) is not None]
        if known:
            return LoadAlone(median(known), f"the median of {len(known)} experiments over a load")
        seconds = experiment.limits.load_seconds
        return LoadAlone(seconds, "load_seconds: no experiment over a load has ended yet")

    def _duration(self, test_id: str) -> float | None:
        """Return how long a valid experiment of this plan took; None where there is no such."""
        path = self.known.get(test_id)
        record = None if path is None else read_record(path)
        if record is None or record["plan"]["test_id"] != test_id:
            return None
        result = result_of(record)
        return result["duration_seconds"] if result["training_success"] else None

    def _check_order(self, experiment: Experiment) -> list[str]:
        """Return a flag on an experiment that runs after one which the plan has behind it."""
        places = {one.id: place for place, one in enumerate(self.context.plan.experiments)}
        before = [places[one] for one in self.begun]
        self.begun.append(experiment.id)
        if max(before, default=-1) <= places[experiment.id]:
            return []
        if before == sorted(before):
            self.console.warn("the experiments run in another order than planned; each is flagged")
        later = self.begun[before.index(max(before))]
        told = f"ran as number {len(self.begun)} of its session, after {later}"
        return [f"{told}, which the plan has behind it: position and block do not say when it ran"]

    def _leave(self, experiment: Experiment, outcome: Outcome) -> None:
        try:
            self._write(experiment, outcome)
        except (RecordError, OSError) as error:
            outcome.trouble = f"no record: {error}"

    def _write(self, experiment: Experiment, outcome: Outcome) -> None:
        """Write the record; once it is there the experiment counts, and what fails is a warning."""
        document = build(experiment, outcome, self.context)
        document["environment"]["idle"] = outcome.idle
        warnings = self._compare(experiment, document)
        write(outcome.files.record, document)
        if outcome.succeeded and self.is_continued:
            warnings += self._commit(experiment, outcome.files.record, document)
        self.known[experiment.id] = outcome.files.record
        told = headline(document)
        self.publish(told)
        try:
            if self.table is not None:
                self.table.add(document)
            outcome.files.give_back()
        except OSError as error:
            text = f"{error.filename or shown(self.folder)}: {error.strerror}"
            warnings.append(f"{text}; the record counts all the same")
        # Nobody reads a console that is gone.
        with suppress(OSError):
            self.board.end(told.duration_seconds)
            self.console.step("energy", _energy(told))
            if document.get("pair"):
                self.console.step("pair", _pair(document["pair"]))
            for warning in warnings:
                self.console.warn(warning)
            self.console.step("record", shown(outcome.files.record))

    def _commit(self, experiment: Experiment, file: Path, document: dict[str, Any]) -> list[str]:
        """Let the record count, unless another of the same experiment does; then both stay."""
        try:
            name = counted_name(self.results, self.context.plan, experiment.key)
            other = commit(file, name)
        except OSError as error:
            return [f"{error.filename}: {error.strerror}"]
        if other is None:
            return []
        text = f"{other} is the record that counts of this experiment: it was committed first"
        document["duplicate_of"] = other
        result_of(document)["quality"]["flags"].append(text)
        write(file, document)
        return [text]

    def _compare(self, experiment: Experiment, document: dict[str, Any]) -> list[str]:
        """Compare a record with that of its partner, if that has run; return why it cannot be."""
        path = self.known.get(experiment.partner or "")
        if path is None or experiment.arm == "load":
            return []
        partner = read_record(path)
        if partner is not None and partner["plan"]["test_id"] == experiment.partner:
            document["pair"] = compare(document, partner)
            return []
        text = f"not compared with {experiment.partner}: {path.name} is missing or damaged"
        document["pair"] = None
        result_of(document)["quality"]["flags"].append(text)
        return [text]


@contextmanager
def _alone() -> Iterator[None]:
    global _recording_thread
    if _recording_thread == threading.get_ident():
        raise WattestError("another experiment is being measured in this session")
    with _RECORDING:
        _recording_thread = threading.get_ident()
        try:
            yield
        finally:
            _recording_thread = None


def _idleness(pause: CoolDown) -> str:
    if pause.reached_idle:
        return "idle again"
    return "NOT idle" if pause.excess else f"idle, but not yet for {pause.hold_seconds:.0f} s,"


def _values(experiment: Experiment) -> str:
    foreground = experiment.trainings[0].hyperparameters
    values = experiment.mutated or foreground
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _interruption(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted before the experiment was done ({error or 'Ctrl-C'})"
    return f"stopped by {type(error).__name__}: {error}"


def _energy(told: Headline) -> str:
    cpu = _joules(told.cpu_energy_total_joules)
    if told.cpu_energy_estimated_joules is not None:
        cpu += f" (estimate ~{told.cpu_energy_estimated_joules:.0f} J)"
    return f"CPU {cpu}, GPU {_joules(told.gpu_energy_total_joules)}"


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
