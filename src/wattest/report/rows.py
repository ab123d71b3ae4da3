"""The rows of the session CSV for every record in a folder, also as a table of pandas."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wattest.errors import ExtraError
from wattest.records.table import columns_of, row_of
from wattest.report.reading import collecting_no_garbage, read_runs

if TYPE_CHECKING:
    from pandas import DataFrame

_TIMES = ("timestamp",)
_TIME = r"^((?:19|20|21)\d\d-\d\d-\d\dT[\d:.]+)"
# Texts of which every row may have another one.
_TEXTS = ("experiment_id", "error_message", "flags", "reasons", "test_id", "partner",
          "pair_experiment_id")  # fmt: skip
_NUMBER_ENDINGS = ("_joules", "_watts", "_percent", "_celsius", "_seconds", "_ratio", "_share",
                   "_slowdown", "_work")  # fmt: skip


def read_rows(*folders: str | Path) -> list[dict[str, Any]]:
    """Return the rows; see `wattest.read_rows`."""
    with collecting_no_garbage():
        reading = read_runs([Path(folder) for folder in folders])
        rows = [row_of(run.record) for run in reading.runs]
    for one in reading.damage:
        sys.stderr.write(f"warning: {one.path}: {one.text}\n")
    names = columns_of(rows)
    return [{name: row.get(name) for name in names} for row in rows]


def read_results(*folders: str | Path) -> DataFrame:
    """Return the rows as a table; see `wattest.read_results`."""
    try:
        import pandas as pd
    except ImportError:
        raise ExtraError("a table of results needs pandas", "pandas") from None
    rows = read_rows(*folders)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    table = {name: pd.Series(one, dtype=_type(name, one)) for name, one in columns.items()}
    for name in _TIMES:
        told = table[name].str.extract(_TIME, expand=False)
        table[name] = pd.to_datetime(told, format="ISO8601", errors="coerce").dt.as_unit("ns")
    return pd.DataFrame(table)


def _type(name: str, values: Sequence[Any]) -> str:
    """Return the type of a column, by its name where no row knows it."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        fits = all(value is None or abs(value) < 2**63 for value in values)
        return "Int64" if fits else "object"
    if kinds and kinds <= {int, float}:
        return "Float64"
    is_number = name.startswith(("perf_", "hyperparam_")) or name.endswith(_NUMBER_ENDINGS)
    if not kinds and is_number:
        return "Float64"
    if kinds - {str}:
        return "object"
    return "string" if name in _TEXTS or name in _TIMES else "category"
