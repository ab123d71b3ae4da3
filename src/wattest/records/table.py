"""The CSV of a session: one row for each experiment, also for those that failed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wattest.files import write_atomically
from wattest.plan.experiment import Plan

Row = Mapping[str, Any]

# Names of the energy columns as earlier campaigns' files have them.
_ENERGY = {
    "energy_cpu_pkg_joules": "cpu_energy_pkg_joules",
    "energy_cpu_ram_joules": "cpu_energy_ram_joules",
    "energy_cpu_total_joules": "cpu_energy_total_joules",
    "energy_gpu_avg_watts": "gpu_power_avg_watts",
    "energy_gpu_max_watts": "gpu_power_max_watts",
    "energy_gpu_min_watts": "gpu_power_min_watts",
    "energy_gpu_total_joules": "gpu_energy_total_joules",
    "energy_gpu_temp_avg_celsius": "gpu_temp_avg_celsius",
    "energy_gpu_temp_max_celsius": "gpu_temp_max_celsius",
    "energy_gpu_util_avg_percent": "gpu_util_avg_percent",
    "energy_gpu_util_max_percent": "gpu_util_max_percent",
}
_HEAD = ("experiment_id", "timestamp", "repository", "model", "mode", "training_success",
         "duration_seconds", "retries")  # fmt: skip
_TAIL = (
    "num_mutated_params", "mutated_param", "error_message", "bg_repository", "bg_model",
    "bg_alive_share", "test_id", "position", "block", "repetition", "partner",
    "pair_slowdown", "pair_cpu_energy_ratio", "pair_gpu_energy_ratio",
    "estimated_cpu_joules", "attribution", "flags", "session_id", "root_seed", "plan_digest",
)  # fmt: skip
_PAIR = ("slowdown", "cpu_energy_ratio", "gpu_energy_ratio")


class Table:
    """The CSV of a session; with every experiment it gains a row, and is written anew as a whole.

    It begins with the rows of what earlier sessions have finished.
    """

    def __init__(self, file: Path, plan: Plan, rows: Iterable[Row]) -> None:
        self.file = file
        self._columns = columns(plan)
        self._rows = list(rows)
        self._write()

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the row of a record.

        Raises:
            OSError: the disk does not take it; the CSV is as it was, and the row comes with the
                next.
        """
        self._rows.append(row_of(record))
        self._write()

    def _write(self) -> None:
        write_atomically(self.file, text_of(self._columns, self._rows).removesuffix("\n"))


def text_of(names: Sequence[str], rows: Iterable[Row]) -> str:
    """Return a CSV with these columns."""
    output = io.StringIO(newline="")
    writer = csv.DictWriter(output, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return output.getvalue()


def columns(plan: Plan) -> list[str]:
    """Return the columns of a plan's CSV: the same for every session with the same programs."""
    programs = [experiment.foreground.program for experiment in plan.experiments]
    parameters = {f"hyperparam_{name}" for program in programs for name in program.hyperparameters}
    metrics = {f"perf_{name}" for program in programs for name in program.log_patterns}
    return [*_HEAD, *sorted(parameters), *sorted(metrics), *_ENERGY, *_TAIL]


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Return the columns of these rows, in the order of a CSV."""
    names = {name for row in rows for name in row}
    groups = ("hyperparam_", "perf_")
    found = [sorted(name for name in names if name.startswith(group)) for group in groups]
    return [*_HEAD, *found[0], *found[1], *_ENERGY, *_TAIL]


def row_of(record: Mapping[str, Any]) -> Row:
    """Return the row of a record; what is unknown is an empty field."""
    result = record.get("foreground_result", record)
    info = record.get("background_info")
    loads = [] if info is None else [info, *record.get("further_backgrounds", ())]
    planned = record["plan"]
    pair = record.get("pair") or {}
    estimate = result.get("energy_estimate") or {}
    return {
        **{name: record.get(name, result.get(name)) for name in _HEAD},
        **{f"hyperparam_{name}": value for name, value in result["hyperparameters"].items()},
        **{f"perf_{name}": value for name, value in result["performance_metrics"].items()},
        **{name: result["energy_metrics"].get(key) for name, key in _ENERGY.items()},
        "num_mutated_params": len(planned["mutated"]),
        "mutated_param": ",".join(planned["mutated"]),
        "error_message": " ".join(result["error_message"].split()),
        "bg_repository": "+".join(load["repo"] for load in loads),
        "bg_model": "+".join(load["model"] for load in loads),
        "bg_alive_share": _least_share(loads),
        **{name: planned.get(name) for name in _TAIL if name in planned},
        **{f"pair_{name}": pair.get(name) for name in _PAIR},
        "estimated_cpu_joules": estimate.get("machine_joules"),
        "attribution": result["energy_metrics"]["attribution"],
        "flags": "; ".join(result["quality"]["flags"]),
    }


def _least_share(loads: Sequence[Mapping[str, Any]]) -> float | None:
    """Return how much of the window the load that was alive the least was alive."""
    shares = [(load.get("window") or {}).get("alive_share") for load in loads]
    return min((share for share in shares if share is not None), default=None)
