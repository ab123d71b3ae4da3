"""Earlier trainings as their files tell of them: rows of CSV files, and our own records.

The CSV files have one row for each experiment. `hyperparam_*` holds what was mutated, sometimes
all values; parallel rows have all values of the foreground in `fg_hyperparam_*`. `mutated_param`
names what was mutated (several names separated by commas, semicolons, bars or blanks), and
`num_mutated_params` tells how many.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wattest.config.program import Value
from wattest.errors import ConfigurationError

_PREFIX = "hyperparam_"
_FOREGROUND = "fg_"
_FALSE = ("false", "no", "0")
_NO_VALUE = ("nan", "none", "null", "na", "n/a")
_PARALLEL_ID = re.compile(r"_parallel(_\d+)?$")
_SEPARATORS = re.compile(r"[\s,;|+&]+")


@dataclass(frozen=True)
class PastRun:
    """One earlier training: its hyper-parameters, and which of them were mutated if that is known.

    Each name has the one value that was recorded, or the two that contradict each other.
    """

    repository: str
    model: str
    parallel: bool
    hyperparameters: Mapping[str, tuple[Value, ...]]
    mutated: frozenset[str] | None


def run_of_record(document: Any) -> PastRun | None:
    """Return the run of one of our records, or None for a failed one or another document."""
    if not isinstance(document, dict) or "experiment_id" not in document:
        return None
    parallel = document.get("mode") == "parallel"
    result = document.get("foreground_result") if parallel else document
    if not isinstance(result, dict) or result.get("training_success") is not True:
        return None
    repository, model = result.get("repository"), result.get("model")
    values = result.get("hyperparameters")
    if not (isinstance(repository, str) and isinstance(model, str) and isinstance(values, dict)):
        return None
    plan = document.get("plan")
    mutated = plan.get("mutated") if isinstance(plan, dict) else None
    return PastRun(
        repository=repository,
        model=model,
        parallel=parallel,
        hyperparameters={
            name: (value,)
            for name, value in values.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        },
        mutated=frozenset(map(str, mutated)) if isinstance(mutated, list) else None,
    )


def runs_of_csv(content: bytes, shown: str) -> tuple[list[PastRun], list[str]]:
    """Return the runs in a CSV file, and warnings that call the file `shown`.

    Raises:
        ConfigurationError: the content is no CSV file with the columns `repository` and `model`.
    """
    if not content.strip():
        return [], [f"{shown}: is empty"]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _fault(shown, f"is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    oddities = _Oddities(shown)
    runs = []
    try:
        columns = _columns(next(reader), shown)
        for cells in reader:
            run = _row(cells, columns, reader.line_num, oddities)
            runs += [] if run is None else [run]
    except csv.Error as error:
        raise _fault(shown, f"is not CSV: {error} in line {reader.line_num}") from None
    return runs, oddities.warnings()


def _columns(header: Sequence[str], shown: str) -> list[str]:
    columns = [name.strip() for name in header]
    for needed in ("repository", "model"):
        if needed not in columns and _FOREGROUND + needed not in columns:
            found = ", ".join(columns[:4])
            text = f"has no column {needed!r}, so it is no table of experiments"
            raise _fault(shown, f"{text} (its columns, separated by commas: {found}, …)")
    return columns


def _row(
    cells: Sequence[str], columns: Sequence[str], line: int, oddities: _Oddities
) -> PastRun | None:
    """Return the run of one row, or None for a failed, empty or unreadable one."""
    if len(cells) > len(columns):
        oddities.add("rows have more cells than there are columns", f"line {line}")
        return None
    pairs = zip(columns, map(str.strip, cells), strict=False)
    row = {name: cell for name, cell in pairs if cell}
    if not row:
        return None
    parallel = _is_parallel(row)
    order = (_FOREGROUND, "") if parallel else ("",)
    repository, model, success = (
        next((row[prefix + name] for prefix in order if prefix + name in row), "")
        for name in ("repository", "model", "training_success")
    )
    if not repository or not model:
        oddities.add("rows name no repository or no model", f"line {line}")
        return None
    if success.lower() in _FALSE:
        return None
    values: dict[str, tuple[Value, ...]] = {}
    for prefix, (column, text) in itertools.product(order, row.items()):
        if column.startswith(prefix + _PREFIX) and text.lower() not in _NO_VALUE:
            name = column.removeprefix(prefix + _PREFIX)
            value = _number(text)
            if value is None:
                oddities.add(f"cells of {column} are not numbers", f"{text!r} in line {line}")
            elif value not in values.get(name, ()):
                values[name] = (*values.get(name, ()), value)
    return PastRun(repository, model, parallel, values, _mutated_names(row))


def _is_parallel(row: Mapping[str, str]) -> bool:
    """Tell the mode of a row; files of older campaigns name only ``parallel`` in `mode`."""
    if "mode" in row:
        return row["mode"].lower().startswith("parallel")
    by_name = _PARALLEL_ID.search(row.get("experiment_id", "")) is not None
    return by_name or _FOREGROUND + "repository" in row


def _mutated_names(row: Mapping[str, str]) -> frozenset[str] | None:
    """Return which names a row says were mutated; None where it does not say, or not of all."""
    listed = row.get("mutated_param", "").strip("[](){}")
    names = frozenset(name.strip("'\"") for name in _SEPARATORS.split(listed) if name.strip("'\""))
    if "all" in names:
        return None
    count = _number(row.get("num_mutated_params", ""))
    return names if count == len(names) or (count is None and names) else None


def _number(text: str) -> Value | None:
    """Return the number that `text` is, exactly; None for anything else."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


class _Oddities:
    """Counts what is odd in one file, and keeps the first place of each kind."""

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._found: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, place: str) -> None:
        self._found[kind].append(place)

    def warnings(self) -> list[str]:
        return [
            f"{self._shown}: {len(places)} {kind} (first: {places[0]}); they are passed over"
            for kind, places in self._found.items()
        ]


def _fault(shown: str, text: str) -> ConfigurationError:
    return ConfigurationError([f"{shown}: {text}"])
