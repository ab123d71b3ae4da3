"""What of a plan has already counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wattest.plan.experiment import Plan
from wattest.records.reading import read_record
from wattest.records.table import Finished, row_of


def finished(results: Path, plan: Plan) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Yield (key, path, record) of every experiment of `plan` that has already counted.

    A record counts that was made by this plan, with the same settings and the same entries of the
    registry. Each is read once, and none is kept here: there may be thousands.
    """
    wanted = {experiment.key: experiment for experiment in plan.experiments}
    for path in _records(results):
        record = read_record(path, mention=plan.digest)
        if record is None:
            continue
        planned, result = record["plan"], record.get("foreground_result", record)
        experiment = wanted.get(planned["experiment_key"])
        if (
            experiment is not None
            and result["training_success"]
            and planned["plan_digest"] == plan.digest
            and planned.get("settings_digest") == plan.settings_digest
            and planned.get("program_digests") == experiment.program_digests
        ):
            del wanted[experiment.key]
            yield experiment.key, path, record


def _records(results: Path) -> Iterable[Path]:
    return sorted(path for path in results.glob("*.json") if not path.name.startswith("."))


def finished_experiments(results: Path, plan: Plan) -> dict[str, Finished]:
    """Return what of `plan` has already counted, by the keys of the experiments."""
    return {key: Finished(path, row_of(record)) for key, path, record in finished(results, plan)}
