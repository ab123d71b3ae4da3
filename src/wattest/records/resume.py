"""What of a plan has already counted, and the CSV that a kill has cut short."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wattest.errors import RecordError
from wattest.files import make_folder, write_atomically
from wattest.names import slug
from wattest.plan.experiment import Plan
from wattest.records.commit import commit, counted, counted_name, is_untouched
from wattest.records.reading import read_record, result_of
from wattest.records.table import Row, columns, row_of, text_of


@dataclass(frozen=True)
class Finished:
    """An experiment that has already counted, by its record."""

    path: Path

    @cached_property
    def row(self) -> Row:
        """Its row in the CSV.

        Raises:
            RecordError: the record is gone or damaged by now.
        """
        record = read_record(self.path)
        if record is None:
            raise RecordError(f"{self.path} was deleted or damaged meanwhile; start again")
        return row_of(record)


def finished_experiments(results: Path, plan: Plan) -> dict[str, Finished]:
    """Return what of `plan` has already counted, by the keys of the experiments.

    A record counts that was made by this plan, with the same settings and the same entries of the
    registry. One that was committed, and that nobody has written to since, is known by its name
    alone; of the others, each is read once, and the oldest of an experiment is committed.
    """
    wanted = {experiment.key: experiment for experiment in plan.experiments}
    names = {key: counted_name(results, plan, key) for key in wanted}
    found = {
        key: Finished(name) for key, name in names.items() if counted(name) and is_untouched(name)
    }
    known = {one.path.stat().st_ino for one in found.values()}
    for path, record in _records(results, mention=plan.digest, known=known):
        planned, result = record["plan"], result_of(record)
        key = planned["experiment_key"]
        if key not in wanted or key in found or not result["training_success"]:
            continue
        made_by = {
            "plan_digest": plan.digest,
            "settings_digest": plan.settings_digest,
            "program_digests": wanted[key].program_digests,
        }
        if made_by.items() <= planned.items():
            found[key] = Finished(path)
            with suppress(OSError):
                commit(path, names[key])
    return found


def complete_csv(results: Path, finished: Mapping[str, Finished], plan: Plan) -> Path | None:
    """Write the CSV of the session that came last anew, where a kill kept a row out of it.

    It holds what is `finished`, and what else that session has left a record of. Returns the CSV,
    or None where nothing had to be written.

    Raises:
        RecordError: the CSV cannot be written.
    """
    if not finished:
        return None
    rows = {one.row["experiment_id"]: one.row for one in finished.values()}
    session = max(rows.values(), key=_when)["session_id"]
    for _, record in _records(results, mention=session):
        if record["plan"]["session_id"] == session:
            rows.setdefault(record["experiment_id"], row_of(record))
    file = results / "sessions" / slug(session) / "experiments.csv"
    text = text_of(columns(plan), sorted(rows.values(), key=_when))
    try:
        before = file.read_bytes().decode("utf-8", errors="replace") if file.is_file() else ""
        if set(text.splitlines(keepends=True)) <= set(before.splitlines(keepends=True)):
            return None
        make_folder(file.parent)
        write_atomically(file, text.removesuffix("\n"))
    except OSError as error:
        raise RecordError(f"{file} cannot be written: {error.strerror}") from None
    return file


def _records(
    results: Path, mention: str, known: Set[int] = frozenset()
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every record in the folder that mentions something, oldest first.

    Those whose inode is `known` are not even opened.
    """
    try:
        entries = [*os.scandir(results)]
    except FileNotFoundError:
        # Nothing was run yet.
        return
    except OSError as error:
        raise RecordError(f"{results} cannot be read: {error.strerror}") from None
    paths = sorted(
        Path(entry.path)
        for entry in entries
        if entry.name.endswith(".json")
        and not entry.name.startswith(".")
        and entry.inode() not in known
    )
    for path in paths:
        if (record := read_record(path, mention)) is not None:
            yield path, record


def _when(row: Row) -> str:
    return str(row["timestamp"])
