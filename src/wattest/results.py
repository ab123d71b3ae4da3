"""The results folder: where one experiment's files lie, written whole or not at all.

What lies there may also be foreign, damaged or no file at all: `read_record` takes nothing else
than a record that all its readers can use.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from wattest.energy import METRICS
from wattest.errors import RecordError
from wattest.identity import slug
from wattest.jsonfile import schema_faults
from wattest.ownership import sudo_user
from wattest.plan import Experiment

_WRITTEN_WITHIN_SECONDS = 60.0

_NUMBER = (int, float)
_NUMBER_OR_NULL = (int, float, type(None))
_OBJECT_OR_NULL = (dict, type(None))
# What the readers of a record rely on. Its whole schema would take them milliseconds a record.
_RECORD = {"experiment_id": str, "timestamp": str, "mode": str, "plan": dict, "environment": dict}
_PLAN = {"session_id": str, "test_id": str, "experiment_key": str, "plan_digest": str,
         "root_seed": int, "mutated": list}  # fmt: skip
_TRAINING = {"repository": str, "model": str, "hyperparameters": dict, "energy_metrics": dict,
             "performance_metrics": dict, "duration_seconds": _NUMBER_OR_NULL,
             "training_success": bool, "retries": int, "error_message": str, "quality": dict,
             "energy_provenance": _OBJECT_OR_NULL, "energy_estimate": _OBJECT_OR_NULL,
             "attempts": list}  # fmt: skip
_ENERGY = {**dict.fromkeys(METRICS, _NUMBER_OR_NULL), "attribution": str}
_QUALITY = {"verdict": str, "reasons": list, "flags": list}
_LOAD = {"repo": str, "model": str}


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
        give_back(self.log)
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


def read_regular(path: Path) -> bytes:
    """Return the content of a regular file; nothing else is waited for.

    Raises:
        OSError: there is none, it cannot be read, or it is a pipe, a device or a folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        return file.read()


def read_record(path: Path, mention: str = "") -> dict[str, Any] | None:
    """Return the record at `path`; None for what is none, is damaged, or lacks `mention`."""
    try:
        content = read_regular(path)
        data = _DECODER.decode(content.decode("utf-8")) if mention.encode() in content else None
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and _is_whole(data) else None


def _is_whole(record: dict[str, Any]) -> bool:
    """Tell whether a record has what its readers rely on, in the types that they rely on."""
    if not _fits(record, _RECORD) or not _fits(record["plan"], _PLAN):
        return False
    parallel = record["mode"] == "parallel"
    result: Any = record.get("foreground_result") if parallel else record
    if not _fits(result, _TRAINING) or parallel is not ("foreground_result" in record):
        return False
    further = record.get("further_backgrounds", [])
    loads = [record.get("background_info"), *(further if isinstance(further, list) else [None])]
    return (
        _fits(result["energy_metrics"], _ENERGY)
        and _fits(result["quality"], _QUALITY)
        and _all_are(result["hyperparameters"].values(), _NUMBER)
        and _all_are(result["performance_metrics"].values(), _NUMBER_OR_NULL)
        and _all_are([*result["quality"]["flags"], *record["plan"]["mutated"]], str)
        and isinstance(record.get("pair"), _OBJECT_OR_NULL)
        and (not parallel or all(_fits(load, _LOAD) for load in loads))
        and (not parallel or _all_are([load.get("window") for load in loads], _OBJECT_OR_NULL))
    )


def _fits(value: Any, types: Mapping[str, Any]) -> bool:
    return isinstance(value, dict) and all(
        key in value and isinstance(value[key], kind) for key, kind in types.items()
    )


def _all_are(values: Iterable[object], kind: Any) -> bool:
    return all(isinstance(value, kind) for value in values)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def give_back(path: Path) -> None:
    """Under sudo, give `path` to the user who called sudo; otherwise do nothing."""
    if owner := sudo_user():
        os.chown(path, *owner, follow_symlinks=False)
