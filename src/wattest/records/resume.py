"""What of a plan has already counted, and the CSV that a kill has cut short."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.errors import RecordError
from wattest.files import make_folder, write_atomically
from wattest.names import slug
from wattest.plan.experiment import Plan
from wattest.records.reading import read_record
from wattest.records.table import Row, columns, row_of, text_of


@dataclass(frozen=True)
class Finished:
    """An experiment that has already counted: its record, and its row in the CSV."""

    path: Path
    row: Row


def finished_experiments(results: Path, plan: Plan) -> dict[str, Finished]:
    """Return what of `plan` has already counted, by the keys of the experiments.

    A record counts that was made by this plan, with the same settings and the same entries of the
    registry. Each is read once, and none is kept here: there may be thousands.
    """
    wanted = {experiment.key: experiment for experiment in plan.experiments}
    found: dict[str, Finished] = {}
    for path, record in _records(results, mention=plan.digest):
        planned, result = record["plan"], record.get("foreground_result", record)
        key = planned["experiment_key"]
        if key not in wanted or key in found or not result["training_success"]:
            continue
        made_by = {
            "plan_digest": plan.digest,
            "settings_digest": plan.settings_digest,
            "program_digests": wanted[key].program_digests,
        }
        if made_by.items() <= planned.items():
            found[key] = Finished(path, row_of(record))
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


def _records(results: Path, mention: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every record in the folder that mentions something, oldest first."""
    for path in sorted(results.glob("*.json")):
        if not path.name.startswith(".") and (record := read_record(path, mention)) is not None:
            yield path, record


def _when(row: Row) -> str:
    return str(row["timestamp"])
