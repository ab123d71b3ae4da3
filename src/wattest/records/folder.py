"""The results folder: proven writable, ids reserved in it, records written whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from wattest.config.schema import schema_faults
from wattest.errors import RecordError
from wattest.files import json_text, make_folder, obstacle, open_new, write_atomically
from wattest.names import slug
from wattest.plan.experiment import Experiment
from wattest.run.outcome import ExperimentFiles

_WRITTEN_WITHIN_SECONDS = 60.0


def prepare(results: Path) -> None:
    """Create the folder and prove that a file can be written in it.

    Raises:
        RecordError: it cannot; the message says why and what to do.
    """
    remedy = "mend that, or choose another with --results-dir"
    if reason := obstacle(results):
        raise RecordError(f"results folder {results} cannot be written: {reason}; {remedy}")
    try:
        make_folder(results)
        with tempfile.TemporaryFile(dir=results) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
        # What a session that was killed in the middle of a write has left.
        patterns = (".*.tmp", "plans/.*.tmp", "sessions/*/.*.tmp", "sessions/*/*/.*.tmp")
        for rest in itertools.chain.from_iterable(map(results.glob, patterns)):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - rest.stat().st_mtime > _WRITTEN_WITHIN_SECONDS:
                    rest.unlink()
    except OSError as error:
        raise RecordError(
            f"results folder {results} cannot be written: {error.strerror}; {remedy}"
        ) from None


def reserve(results: Path, experiment: Experiment) -> ExperimentFiles:
    """Return the files of a new experiment under an id that no other experiment has.

    The id is ``{YYYYmmdd_HHMMSS}_{repo}_{model}[_parallel]``, with ``_2`` and so on appended
    where it is taken. The log is created on the spot, which reserves the id.

    Raises:
        RecordError: the log cannot be created.
    """
    now = datetime.now()
    foreground = experiment.foreground
    base = f"{now:%Y%m%d_%H%M%S}_{slug(foreground.program.name)}_{slug(foreground.model)}"
    base += "_parallel" if experiment.mode == "parallel" else ""
    for number in range(1, 10_000):
        name = base if number == 1 else f"{base}_{number}"
        files = ExperimentFiles(
            experiment_id=name,
            started_at=now,
            record=results / f"{name}.json",
            log=results / f"training_{name}_foreground.log",
            energy_folder=results / f"energy_{name}_foreground",
            background_folder=results / f"background_logs_{name}",
        )
        try:
            os.close(open_new(files.log))
        except FileExistsError:
            continue
        except OSError as error:
            raise RecordError(f"{files.log} cannot be created: {error.strerror}") from None
        return files
    raise RecordError(f"{results} holds too many experiments named {base}")


def write(file: Path, record: Mapping[str, Any]) -> None:
    """Write a record, valid against its schema, atomically.

    Raises:
        RecordError: the document breaks the schema, or the disk does not take it.
    """
    faults = schema_faults(record, "result", file.name)
    if faults:
        raise RecordError("the record breaks its own schema:\n" + "\n".join(map(str, faults)))
    try:
        write_atomically(file, json_text(record))
    except OSError as error:
        raise RecordError(f"{file} cannot be written: {error.strerror}") from None
