"""What earlier experiments have trained already: from their CSV files, and from our own records.

A mutant of some names counts as taken where an earlier run

* trained the same repository and model, in parallel mode or not alike;
* has a value for each of the names (where a parallel row has two, `hyperparam_*` and
  `fg_hyperparam_*`, either counts);
* is not known to have mutated other names besides, with which it was another training; and
* is not known to have failed: a failed run left no data, so its mutant may be drawn again.

Whatever a row leaves open counts as taken. Values are compared exactly: earlier versions rounded
values to six decimals on the command line, but their files hold the values as drawn.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from wattest.config.program import Value
from wattest.errors import ConfigurationError
from wattest.plan.pastrun import PastRun, run_of_record, runs_of_csv


class History:
    """All earlier runs, with what their files gave cause to warn about."""

    def __init__(self, runs: Iterable[PastRun] = (), warnings: Iterable[str] = ()) -> None:
        self.runs = tuple(runs)
        self.warnings = tuple(warnings)
        self._by_training: dict[tuple[str, str, bool], list[PastRun]] = defaultdict(list)
        for run in self.runs:
            self._by_training[run.repository, run.model, run.parallel].append(run)
        self._taken: dict[tuple[object, ...], frozenset[tuple[Value, ...]]] = {}

    def __add__(self, other: History) -> History:
        return History(self.runs + other.runs, self.warnings + other.warnings)

    def taken(
        self, repository: str, model: str, *, parallel: bool, names: Sequence[str]
    ) -> frozenset[tuple[Value, ...]]:
        """Return the mutants of `names`, in their order, that stand in this history."""
        key = (repository, model, parallel, *names)
        if key not in self._taken:
            runs = self._by_training.get((repository, model, parallel), ())
            self._taken[key] = frozenset(
                itertools.chain.from_iterable(_mutants(run, names) for run in runs)
            )
        return self._taken[key]

    def lookup(
        self, repository: str, model: str, *, parallel: bool
    ) -> Callable[[tuple[str, ...]], frozenset[tuple[Value, ...]]]:
        """Return `taken` as a function of the names alone, for designs that ask for several."""
        return lambda names: self.taken(repository, model, parallel=parallel, names=names)


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
            history += _read(path)
        except ConfigurationError as error:
            faults += error.faults
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
            history += History(warnings=[f"{path}: {reason}; its experiments are not avoided"])
    if faults:
        raise ConfigurationError(faults)
    return history


def history_from_records(folder: Path) -> History:
    """Read the successful records (`*.json`) in a results folder; other JSON is passed over."""
    runs = []
    warnings = []
    for path in sorted(folder.glob("*.json")):
        if not path.is_file():
            warnings.append(f"{path}: is no file and is not avoided")
            continue
        try:
            document = json.loads(path.read_bytes())
        except OSError as error:
            warnings.append(f"{path}: cannot be read ({error.strerror}) and is not avoided")
        except (ValueError, RecursionError):
            warnings.append(f"{path}: is not JSON and is not avoided")
        else:
            run = run_of_record(document)
            runs += [] if run is None else [run]
    return History(runs, warnings)


def _read(path: Path) -> History:
    if path.is_dir():
        return history_from_records(path)
    if path.is_file():
        return History(*runs_of_csv(path.read_bytes(), str(path)))
    reason = "is no file" if path.exists() else "no such file"
    return History(warnings=[f"{path}: {reason}; its experiments are not avoided"])


def _mutants(run: PastRun, names: Sequence[str]) -> Iterable[tuple[Value, ...]]:
    if run.mutated is not None and not run.mutated <= set(names):
        return ()
    return itertools.product(*(run.hyperparameters.get(name, ()) for name in names))
