"""The results folder: where one experiment's files lie, written whole or not at all.

What lies there may also be foreign, damaged or no file at all: `read_record` takes nothing else
than a record that all its readers can use.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from wattest.config.schema import schema_faults
from wattest.errors import RecordError
from wattest.files import give_back, write_atomically
from wattest.names import slug
from wattest.plan.experiment import Experiment
from wattest.run.outcome import ExperimentFiles

_WRITTEN_WITHIN_SECONDS = 60.0


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
                give_back(files.log)
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
        return files.record

    def _remove_unfinished(self) -> None:
        """Remove what a session that was killed in the middle of a write has left."""
        patterns = (".*.tmp", "plans/.*.tmp", "sessions/*/.*.tmp")
        for rest in itertools.chain.from_iterable(map(self.path.glob, patterns)):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - rest.stat().st_mtime > _WRITTEN_WITHIN_SECONDS:
                    rest.unlink()

    def give_back(self, files: ExperimentFiles) -> None:
        """Under sudo, give all files of an experiment to the user who called sudo."""
        for path in self.path.glob(f"*{files.experiment_id}*"):
            give_back(path)
            if path.is_dir():
                for inner in path.rglob("*"):
                    give_back(inner)
