"""What a session leaves for the analysis: its plan, its environment, and one CSV of everything."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wattest.plan import Plan
from wattest.planfile import document
from wattest.results import give_back, write_atomically

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


class SessionArtefacts:
    """The folder ``results/sessions/{session_id}``; its CSV gains a row with every experiment."""

    def __init__(self, results: Path, session_id: str, plan: Plan) -> None:
        self.folder = results / "sessions" / session_id
        self.csv = self.folder / "experiments.csv"
        self._plan = plan
        self._columns = columns(plan)

    def open(self, environment: Mapping[str, Any], finished: Sequence[Path] = ()) -> None:
        """Write plan, environment and CSV head; `finished` are records of earlier sessions."""
        self.folder.mkdir(parents=True, exist_ok=True)
        plan = json.dumps(document(self._plan), indent=1, ensure_ascii=False)
        write_atomically(self.folder / "plan.json", plan)
        facts = json.dumps(environment, indent=2, ensure_ascii=False)
        write_atomically(self.folder / "environment.json", facts)
        records = [json.loads(path.read_text(encoding="utf-8")) for path in finished]
        rows = [row_of(record) for record in records]
        write_atomically(self.csv, self._text(rows, head=True).rstrip("\n"))
        for path in (self.folder.parent, self.folder, *self.folder.iterdir()):
            give_back(path)

    def add(self, record: Mapping[str, Any]) -> None:
        """Append the row of one experiment in a single write."""
        line = self._text([row_of(record)]).encode()
        descriptor = os.open(self.csv, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _text(self, rows: Sequence[Mapping[str, Any]], head: bool = False) -> str:
        output = io.StringIO()
        writer = csv.DictWriter(output, self._columns, extrasaction="ignore", lineterminator="\n")
        if head:
            writer.writeheader()
        writer.writerows(rows)
        return output.getvalue()


def columns(plan: Plan) -> list[str]:
    """Return the columns of a plan's CSV: the same for every session with the same programs."""
    programs = [experiment.foreground.program for experiment in plan.experiments]
    parameters = sorted({name for program in programs for name in program.hyperparameters})
    metrics = sorted({name for program in programs for name in program.log_patterns})
    return [
        *_HEAD,
        *(f"hyperparam_{name}" for name in parameters),
        *(f"perf_{name}" for name in metrics),
        *_ENERGY,
        *_TAIL,
    ]


def row_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a record; what is unknown is an empty field."""
    result = record.get("foreground_result", record)
    load = record.get("background_info", {})
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
        "bg_repository": load.get("repo"),
        "bg_model": load.get("model"),
        "bg_alive_share": (load.get("window") or {}).get("alive_share"),
        **{name: planned.get(name) for name in _TAIL if name in planned},
        **{f"pair_{name}": pair.get(name) for name in _PAIR},
        "estimated_cpu_joules": estimate.get("machine_joules"),
        "attribution": result["energy_metrics"]["attribution"],
        "flags": "; ".join(result["quality"]["flags"]),
    }


_PAIR = ("slowdown", "cpu_energy_ratio", "gpu_energy_ratio")
