"""What a session leaves for the analysis: its plan, its environment, and one CSV of everything."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.errors import RecordError
from wattest.files import give_back, write_atomically
from wattest.names import slug
from wattest.plan import store
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


@dataclass(frozen=True)
class Finished:
    """An experiment that has already counted: its record, and its row in the CSV."""

    path: Path
    row: Row


class SessionArtefacts:
    """The folder ``results/sessions/{session_id}``; its CSV gains a row with every experiment."""

    def __init__(self, results: Path, session_id: str, plan: Plan) -> None:
        self.folder = results / "sessions" / session_id
        self.csv = self.folder / "experiments.csv"
        self.plan = plan
        self._columns = columns(plan)
        self._owed = b""

    def open(self, environment: Mapping[str, Any], finished: Iterable[Finished] = ()) -> None:
        """Write plan, environment and CSV head; `finished` is what earlier sessions have left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        plan = json.dumps(store.document(self.plan), indent=1, ensure_ascii=False)
        write_atomically(self.folder / "plan.json", plan)
        facts = json.dumps(environment, indent=2, ensure_ascii=False)
        write_atomically(self.folder / "environment.json", facts)
        write_atomically(self.csv, _text(self._columns, _rows(finished)).removesuffix("\n"))
        for path in (self.folder.parent, self.folder, *self.folder.rglob("*")):
            give_back(path)

    def add(self, record: Mapping[str, Any]) -> None:
        """Append the row of one experiment, and rows that could not be written before.

        Raises:
            OSError: the disk does not take them; the CSV is as it was, and they stay owed.
        """
        self._owed += _text(self._columns, [row_of(record)], head=False).encode()
        descriptor = os.open(self.csv, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            _append(descriptor, self._owed)
        finally:
            os.close(descriptor)
        self._owed = b""


def complete_csv(results: Path, finished: Mapping[str, Finished], plan: Plan) -> Path | None:
    """Add what is `finished` to the CSV of the session that came last, where a kill kept it out.

    Returns the CSV, or None where nothing had to be written.

    Raises:
        RecordError: the CSV cannot be written.
    """
    rows = sorted(_rows(finished.values()), key=lambda row: str(row["timestamp"]))
    if not rows:
        return None
    folder = results / "sessions" / slug(rows[-1]["session_id"])
    file, names = folder / "experiments.csv", columns(plan)
    before = _read_text(file)
    kept = _whole_rows(before, names)
    there = {row["experiment_id"] for row in kept}
    after = _text(names, [*kept, *(row for row in rows if row["experiment_id"] not in there)])
    if after == before:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, after.removesuffix("\n"))
        for path in (folder.parent, folder, file):
            give_back(path)
    except OSError as error:
        raise RecordError(f"{file} cannot be written: {error.strerror}") from None
    return file


def _append(descriptor: int, content: bytes) -> None:
    """Append all of `content`, or nothing: a full disk takes a part and says nothing."""
    before = os.fstat(descriptor).st_size
    try:
        rest = content
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, before)
        raise


def _rows(finished: Iterable[Finished]) -> list[Row]:
    return [one.row for one in finished]


def _read_text(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            return lines.read()
    except (OSError, ValueError):
        return ""


def _whole_rows(text: str, names: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV with these columns; a line that was cut short is none."""
    whole = text[: text.rfind("\n") + 1]
    try:
        head, *lines = csv.reader(io.StringIO(whole, newline=""), strict=True)
    except (csv.Error, ValueError):
        return []
    if head != list(names):
        return []
    return [dict(zip(names, cells, strict=True)) for cells in lines if len(cells) == len(names)]


def _text(names: Sequence[str], rows: Iterable[Row], head: bool = True) -> str:
    output = io.StringIO(newline="")
    writer = csv.DictWriter(output, names, extrasaction="ignore", lineterminator="\n")
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


_PAIR = ("slowdown", "cpu_energy_ratio", "gpu_energy_ratio")
