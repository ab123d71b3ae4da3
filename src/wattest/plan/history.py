"""What earlier experiments have trained already: from their CSV files, and from our own records.

A mutant of some names counts as taken where an earlier run

* trained the same repository and model, in parallel mode or not alike;
* has a value for each of the names (where a parallel row has two, `hyperparam_*` and
  `fg_hyperparam_*`, either counts);
* is not known to have mutated other names besides, with which it was another training; and
* is not known to have failed: a failed run left no data, so its mutant may be drawn again.

Whatever a row leaves open counts as taken. Values are compared exactly: earlier versions rounded
values to six decimals on the command line, but their files hold the values as drawn.

The CSV files have one row for each experiment. `hyperparam_*` holds what was mutated, sometimes
all values; parallel rows have all values of the foreground in `fg_hyperparam_*`. `mutated_param`
names what was mutated (several names separated by commas, semicolons, bars or blanks), and
`num_mutated_params` tells how many.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.config.program import Value
from wattest.errors import ConfigurationError
from wattest.files import read_regular
from wattest.names import composed

_PREFIX = "hyperparam_"
_FOREGROUND = "fg_"
_FALSE = ("false", "no", "0", "0.0")
_READ = (_PREFIX, _FOREGROUND, "repository", "model", "mode", "mutated_param", "training_success")
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

    def mutants(self, names: Sequence[str]) -> Iterable[tuple[Value, ...]]:
        """Return the mutants of `names`, in their order, that this run takes."""
        if self.mutated is not None and not self.mutated <= set(names):
            return ()
        return itertools.product(*(self.hyperparameters.get(name, ()) for name in names))


class History:
    """All earlier runs, with what their files gave cause to warn about."""

    def __init__(self, runs: Iterable[PastRun] = (), warnings: Iterable[str] = ()) -> None:
        self.runs = tuple(runs)
        self.warnings = tuple(warnings)
        self._taken: dict[tuple[object, ...], frozenset[tuple[Value, ...]]] = {}

    def __add__(self, other: History) -> History:
        return History(self.runs + other.runs, self.warnings + other.warnings)

    def taken(
        self, repository: str, model: str, parallel: bool, names: Sequence[str]
    ) -> frozenset[tuple[Value, ...]]:
        """Return the mutants of `names`, in their order, that stand in this history."""
        training = (composed(repository), composed(model), parallel)
        key = (*training, *names)
        if key not in self._taken:
            self._taken[key] = frozenset(
                mutant
                for run in self.runs
                if (composed(run.repository), composed(run.model), run.parallel) == training
                for mutant in run.mutants(names)
            )
        return self._taken[key]


def load_history(paths: Sequence[Path]) -> History:
    """Read CSV files of earlier experiments; a folder is read as a folder of our own records.

    What is missing, cannot be opened or holds odd cells is named in `History.warnings`.

    Raises:
        ConfigurationError: a file is there but is no such CSV (not UTF-8, or without the columns
            `repository` and `model`): nothing in it would be avoided. One line per file.
    """
    history = History()
    faults: list[str] = []
    for path in paths:
        try:
            is_folder = path.is_dir()
            found = history_from_records(path) if is_folder else _history_of_csv(path)
            if is_folder and not (found.runs or found.warnings):
                found = History(warnings=[f"{path}: holds no successful record (*.json)"])
            history += found
        except ConfigurationError as error:
            faults += error.faults
        except OSError as error:
            is_missing = isinstance(error, FileNotFoundError)
            reason = "no such file" if is_missing else f"cannot be read ({error.strerror})"
            history += History(warnings=[f"{path}: {reason}; its experiments are not avoided"])
    if faults:
        raise ConfigurationError(faults)
    return history


def history_from_records(folder: Path) -> History:
    """Read the successful records (`*.json`) in a results folder; other JSON is passed over."""
    runs = []
    warnings = []
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except FileNotFoundError:
        return History()
    except OSError as error:
        text = f"cannot be read ({error.strerror}); its experiments are not avoided"
        return History(warnings=[f"{folder}: {text}"])
    for path in paths:
        try:
            run = _run_of_record(json.loads(read_regular(path)))
        except OSError as error:
            warnings.append(f"{path}: cannot be read ({error.strerror}) and is not avoided")
        except (ValueError, RecursionError):
            warnings.append(f"{path}: is not JSON and is not avoided")
        else:
            runs += [] if run is None else [run]
    return History(runs, warnings)


def _run_of_record(document: Any) -> PastRun | None:
    """Return the run of one of our records, or None for a failed one or another document."""
    if not isinstance(document, dict) or "experiment_id" not in document:
        return None
    parallel = document.get("mode") == "parallel"
    if document.get("mode") == "load":
        return None
    result = document.get("foreground_result") if parallel else document
    if not isinstance(result, dict) or result.get("training_success") is not True:
        return None
    repository, model = result.get("repository"), result.get("model")
    values = result.get("hyperparameters")
    if not (isinstance(repository, str) and isinstance(model, str) and isinstance(values, dict)):
        return None
    plan = document.get("plan")
    mutated = plan.get("mutated") if isinstance(plan, dict) else None
    names = frozenset(map(str, mutated)) if isinstance(mutated, list) else None
    numbers = {name: (one,) for name, one in values.items() if type(one) in (int, float)}
    return PastRun(repository, model, parallel, numbers, names)


def _history_of_csv(path: Path) -> History:
    content, shown = read_regular(path), str(path)
    csv.field_size_limit(sys.maxsize)  # a cell may hold a whole log
    if not content.strip():
        return History(warnings=[f"{shown}: is empty"])
    odd: dict[str, list[str]] = defaultdict(list)
    runs = []
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        reader.fieldnames = _columns(reader.fieldnames or (), shown)
        for row in reader:
            run = _run_of_row(row, f"line {reader.line_num}", odd)
            runs += [] if run is None else [run]
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 (byte {error.start}); save it as UTF-8"
        raise ConfigurationError([f"{shown}: {reason}"]) from None
    except csv.Error as error:
        reason = f"is not CSV: {error} in line {reader.line_num}"
        raise ConfigurationError([f"{shown}: {reason}"]) from None
    warnings = (
        f"{shown}: {len(places)} {kind} (first: {places[0]}); they are passed over"
        for kind, places in odd.items()
    )
    return History(runs, warnings)


def _columns(header: Sequence[str], shown: str) -> list[str]:
    columns = [name.strip() for name in header]
    for name, count in Counter(columns).items():
        if count > 1 and name.startswith(_READ):
            raise ConfigurationError([f"{shown}: has the column {name!r} twice; keep one of them"])
    for needed in ("repository", "model"):
        if needed not in columns and _FOREGROUND + needed not in columns:
            found = ", ".join(columns[:4])
            text = f"has no column {needed!r}, so it is no table of experiments"
            hint = f"(its columns, separated by commas: {found}, …)"
            raise ConfigurationError([f"{shown}: {text} {hint}"])
    return columns


def _run_of_row(
    cells: Mapping[str, str | None], place: str, odd: dict[str, list[str]]
) -> PastRun | None:
    """Return the run of one row, or None for a failed, empty or odd one; note in `odd` what is."""
    if None in cells:
        odd["rows have more cells than there are columns"].append(place)
        return None
    row = {name: cell.strip() for name, cell in cells.items() if cell and cell.strip()}
    if not row or row.get("mode") == "load":
        return None
    parallel = _is_parallel(row)
    prefixes = (_FOREGROUND, "") if parallel else ("",)
    repository, model, success = (
        next((row[prefix + name] for prefix in prefixes if prefix + name in row), "")
        for name in ("repository", "model", "training_success")
    )
    if not repository or not model:
        odd["rows name no repository or no model"].append(place)
        return None
    if success.lower() in _FALSE:
        return None
    values: dict[str, tuple[Value, ...]] = {}
    for prefix, (column, text) in itertools.product(prefixes, row.items()):
        if column.startswith(prefix + _PREFIX) and text.lower() not in _NO_VALUE:
            name = column.removeprefix(prefix + _PREFIX)
            value = _number(text)
            if value is None:
                odd[f"cells of {column} are not numbers"].append(f"{text[:40]!r} in {place}")
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
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError):
        value = float(text)
        return value if math.isfinite(value) else None
    return None
