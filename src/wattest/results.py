"""The results folder: where one experiment's files lie, written whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from wattest.errors import RecordError
from wattest.identity import slug
from wattest.jsonfile import schema_faults
from wattest.plan import Experiment

_WRITTEN_WITHIN_SECONDS = 60.0


@dataclass(frozen=True)
class ExperimentFiles:
    """Where one experiment leaves its record, log, energy traces and background logs."""

    experiment_id: str
    started_at: datetime
    record: Path
    log: Path
    energy_folder: Path
    background_folder: Path

    def set_aside(self, attempt: int) -> tuple[Path, Path]:
        """Rename log and energy folder of a failed attempt, so that the next one has the names."""
        log = self.log.with_name(f"{self.log.stem}.attempt_{attempt}.log")
        energy = self.energy_folder.with_name(f"{self.energy_folder.name}.attempt_{attempt}")
        self.log.replace(log)
        self.log.touch()
        if self.energy_folder.exists():
            self.energy_folder.replace(energy)
        return log, energy


class ResultsFolder:
    """One folder of records; whatever root writes in it under sudo belongs to the invoking user."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Create the folder and prove that a file can be written in it.

        Raises:
            RecordError: it cannot; the message says why and what to do.
        """
        try:
            missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            for folder in missing:
                give_back(folder)
            with tempfile.TemporaryFile(dir=self.path) as probe:
                probe.write(b"\0" * 4096)
                probe.flush()
                os.fsync(probe.fileno())
            self._remove_unfinished()
        except OSError as error:
            remedy = "mend that, or choose another with --results-dir"
            raise RecordError(
                f"results folder {self.path} cannot be written: {error.strerror}; {remedy}"
            ) from None

    def reserve(self, experiment: Experiment) -> ExperimentFiles:
        """Return the files of a new experiment under an id that no other experiment has.

        The id is ``{YYYYmmdd_HHMMSS}_{repo}_{model}[_parallel]``, with ``_2`` and so on appended
        where it is taken. The log is created on the spot, which reserves the id.
        """
        now = datetime.now()
        foreground = experiment.foreground
        base = f"{now:%Y%m%d_%H%M%S}_{slug(foreground.program.name)}_{slug(foreground.model)}"
        base += "_parallel" if experiment.mode == "parallel" else ""
        for number in range(1, 10_000):
            name = base if number == 1 else f"{base}_{number}"
            files = ExperimentFiles(
                name,
                now,
                self.path / f"{name}.json",
                self.path / f"training_{name}_foreground.log",
                self.path / f"energy_{name}_foreground",
                self.path / f"background_logs_{name}",
            )
            try:
                files.log.touch(exist_ok=False)
            except FileExistsError:
                continue
            except OSError as error:
                raise RecordError(f"{files.log} cannot be created: {error.strerror}") from None
            return files
        raise RecordError(f"{self.path} holds too many experiments named {base}")

    def write(self, files: ExperimentFiles, document: Mapping[str, Any]) -> Path:
        """Write the record of an experiment, valid against its schema, atomically.

        Raises:
            RecordError: the document breaks the schema, or the disk does not take it.
        """
        faults = schema_faults(document, "result", files.record.name)
        if faults:
            raise RecordError("the record breaks its own schema:\n" + "\n".join(map(str, faults)))
        try:
            write_atomically(files.record, json.dumps(document, indent=2, ensure_ascii=False))
        except OSError as error:
            raise RecordError(f"{files.record} cannot be written: {error.strerror}") from None
        self._give_back_all(files)
        return files.record

    def _remove_unfinished(self) -> None:
        """Remove what a session that was killed in the middle of a write has left."""
        patterns = (".*.tmp", "plans/.*.tmp", "sessions/*/.*.tmp")
        for rest in itertools.chain.from_iterable(map(self.path.glob, patterns)):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - rest.stat().st_mtime > _WRITTEN_WITHIN_SECONDS:
                    rest.unlink()

    def _give_back_all(self, files: ExperimentFiles) -> None:
        for path in self.path.glob(f"*{files.experiment_id}*"):
            give_back(path)
            if path.is_dir():
                for inner in path.rglob("*"):
                    give_back(inner)


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that a reader finds all of it or the old content, also after a crash."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def give_back(path: Path) -> None:
    """Under sudo, give `path` to the user who called sudo; otherwise do nothing."""
    user, group = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if os.geteuid() != 0 or user is None or group is None:
        return
    if user.isdecimal() and group.isdecimal():
        os.chown(path, int(user), int(group), follow_symlinks=False)
