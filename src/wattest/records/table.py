"""The CSV of a session: one row for each experiment, also for those that failed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from wattest.files import write_atomically
from wattest.plan.experiment import Plan
from wattest.records.reading import loads_of, result_of

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
# What later versions have added, behind all that earlier ones had.
_ADDED = (
    "is_parallel", "arm", "verdict", "reasons", "configuration_key", "energy_total_joules",
    "cpu_energy_source", "gpu_energy_source", "gpu_uuids", "gpu_driver", "host", "harness_commit",
    "repo_commit", "fg_cpu_seconds", "bg_cpu_seconds", "bg_work", "cpu_idle_watts",
    "gpu_idle_watts", "cpu_edge_uncertainty_joules", "gpu_edge_uncertainty_joules",
    "gpu_throttled_seconds", "pair_experiment_id",
)  # fmt: skip


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
    loads = [load.program for experiment in plan.experiments for load in experiment.backgrounds]
    metrics = {name for program in programs for name in program.log_patterns}
    return _columns(
        {f"hyperparam_{name}" for program in programs for name in program.hyperparameters}
        | {f"bg_hyperparam_{name}" for program in loads for name in program.hyperparameters}
        | {f"{group}_{name}" for name in metrics for group in ("perf", "pair_diff")}
    )


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Return the columns of these rows, in the order of a CSV."""
    return _columns({name for row in rows for name in row})


def _columns(names: Set[str]) -> list[str]:
    groups = ("hyperparam_", "perf_", "bg_hyperparam_", "pair_diff_")
    values, metrics, *added = (sorted(one for one in names if one.startswith(g)) for g in groups)
    return [*_HEAD, *values, *metrics, *_ENERGY, *_TAIL, *_ADDED, *added[0], *added[1]]


def row_of(record: Mapping[str, Any]) -> Row:
    """Return the row of a record; what is unknown is an empty field."""
    result = result_of(record)
    loads = loads_of(record)
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
        "error_message": _in_one_line([result["error_message"]]),
        "bg_repository": "+".join(load["repo"] for load in loads),
        "bg_model": "+".join(load["model"] for load in loads),
        "bg_alive_share": _least_share(loads),
        **{name: planned.get(name) for name in _TAIL if name in planned},
        **{f"pair_{name}": pair.get(name) for name in _PAIR},
        "estimated_cpu_joules": estimate.get("machine_joules"),
        "attribution": result["energy_metrics"]["attribution"],
        "flags": _in_one_line(result["quality"]["flags"]),
        **_added(record, result, loads),
    }


def _added(
    record: Mapping[str, Any], result: Mapping[str, Any], loads: Sequence[Mapping[str, Any]]
) -> Row:
    """Return what later versions have added; records of earlier ones lack some of it."""
    planned, pair, quality = record["plan"], record.get("pair") or {}, result["quality"]
    energy, use = result["energy_metrics"], result.get("cpu_use") or {}
    environment, domains = record["environment"], _at(result, "energy_provenance", "domains")
    totals = energy["cpu_energy_total_joules"], energy["gpu_energy_total_joules"]
    others = {pair.get(f"{half}_experiment_id") for half in ("loaded", "alone")}
    return {
        "is_parallel": record["mode"] == "parallel",
        "arm": planned.get("arm", "parallel" if record["mode"] == "parallel" else "alone"),
        "verdict": quality["verdict"],
        "reasons": _in_one_line(map(str, quality["reasons"])),
        "configuration_key": planned.get("configuration_key"),
        "energy_total_joules": None if None in totals else sum(totals),
        "cpu_energy_source": _at(domains, "cpu_pkg", "source"),
        "gpu_energy_source": _at(domains, "gpu", "source"),
        "gpu_uuids": "; ".join(_at(domains, "gpu", "uuids") or ()),
        "gpu_driver": _at(environment, "gpus", "driver_version"),
        "host": _at(environment, "host", "hostname"),
        "harness_commit": _at(environment, "code", "harness", "commit"),
        "repo_commit": _at(environment, "code", "programs", result["repository"], "commit"),
        "fg_cpu_seconds": use.get("foreground_seconds"),
        "bg_cpu_seconds": use.get("background_seconds") if loads else None,
        "bg_work": _at(loads[0], "window", "work", "amount") if len(loads) == 1 else None,
        **_idle(_at(environment, "idle", "watts") or {}),
        "cpu_edge_uncertainty_joules": _at(domains, "cpu_pkg", "edge_uncertainty_joules"),
        "gpu_edge_uncertainty_joules": _at(domains, "gpu", "edge_uncertainty_joules"),
        "gpu_throttled_seconds": _throttled(_at(domains, "gpu", "gpus") or ()),
        "pair_experiment_id": next(iter(others - {record["experiment_id"], None}), None),
        **{
            f"bg_hyperparam_{name}": value
            for load in reversed(loads)
            for name, value in (load.get("hyperparameters") or {}).items()
        },
        **{f"pair_diff_{name}": v for name, v in (pair.get("metric_differences") or {}).items()},
    }


def _in_one_line(texts: Iterable[str]) -> str:
    return "; ".join(" ".join(text.split()) for text in texts)


def _at(told: Any, *keys: str) -> Any:
    """Return what a document holds at a place; None where it has none."""
    for key in keys:
        told = told.get(key) if isinstance(told, Mapping) else None
    return told


def _idle(watts: Mapping[str, float]) -> Row:
    """Return the idle power of all CPUs and all GPUs; the sensors of GPUs are named by UUID."""
    parts = {"gpu": [], "cpu": []}  # type: dict[str, list[float | None]]
    for name, value in watts.items():
        parts["gpu" if name.startswith(("GPU-", "MIG-")) else "cpu"].append(value)
    return {f"{part}_idle_watts": _sum(values) for part, values in parts.items()}


def _throttled(gpus: Iterable[Mapping[str, Any]]) -> float | None:
    return _sum(value for gpu in gpus for value in (gpu.get("throttled_seconds") or {}).values())


def _sum(values: Iterable[float | None]) -> float | None:
    """Return the sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _least_share(loads: Sequence[Mapping[str, Any]]) -> float | None:
    """Return how much of the window the load that was alive the least was alive."""
    shares = [(load.get("window") or {}).get("alive_share") for load in loads]
    return min((share for share in shares if share is not None), default=None)
