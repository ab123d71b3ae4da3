"""The record: the JSON document of one experiment, and what the load did to a pair of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import wattest
from wattest.energy import METRICS, design_values
from wattest.plan.experiment import Experiment, Plan
from wattest.run.liveness import LOAD_THRESHOLDS
from wattest.run.outcome import Attempt, Outcome

RECORD_VERSION = 2
"""Counts what was added to records; those without one are of the first version."""
SUCCESS = "Training completed successfully"
LOAD_SUCCESS = "The load alone was measured"
_COMBINED = (
    "Energy metrics include both foreground and background training: the counters are"
    " machine-wide and cannot tell them apart"
)
_MACHINE_WIDE = (
    "Energy metrics are machine-wide: they include whatever else ran on the measured CPUs and GPUs"
)
_LOAD_ALONE = (
    "Energy metrics are those of the background load without a foreground, and machine-wide: no"
    " training was measured"
)
_ATTRIBUTIONS = {
    "parallel": ("combined", _COMBINED),
    "alone": ("machine", _MACHINE_WIDE),
    "load": ("load", _LOAD_ALONE),
}


@dataclass(frozen=True)
class Context:
    """What is the same in all records of one session; `software` is that of each program."""

    session_id: str
    plan: Plan
    registry_file: str
    environment: Mapping[str, Any]
    software: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)


def build(experiment: Experiment, outcome: Outcome, context: Context) -> dict[str, Any]:
    """Return the document of an experiment: flat, or with `foreground_result` in parallel mode."""
    document: dict[str, Any] = {
        "record_version": RECORD_VERSION,
        "experiment_id": outcome.files.experiment_id,
        "timestamp": outcome.files.started_at.isoformat(timespec="microseconds"),
        "mode": experiment.mode,
    }
    result = _result(experiment, outcome)
    document |= {"foreground_result": result} if experiment.mode == "parallel" else result
    if experiment.backgrounds:
        infos = _background_info(experiment, outcome)
        document["background_info"] = infos[0]
        if len(infos) > 1:
            document["further_backgrounds"] = infos[1:]
    if experiment.arm == "load":
        document["load_alone"] = _load_alone(outcome)
    document["plan"] = _planned(experiment, context)
    document["cooldown"] = asdict(outcome.cooldown) if outcome.cooldown else None
    document["concurrency"] = _concurrency(outcome.last)
    software = context.software.get(experiment.foreground.program.name)
    versions = {"wattest": wattest.__version__, **(software or {})}
    document["environment"] = {**context.environment, "software": versions}
    return document


def _concurrency(attempt: Attempt | None) -> dict[str, Any]:
    """Return who else trained on shared counters in the window; None where nobody shares any."""
    named = attempt.neighbours if attempt else None
    return {"neighbours": None if named is None else [asdict(one) for one in named]}


def _planned(experiment: Experiment, context: Context) -> dict[str, Any]:
    plan = context.plan
    return {
        "session_id": context.session_id,
        "experiment_name": plan.settings.experiment_name,
        "test_id": experiment.id,
        "experiment_key": experiment.key,
        "settings_file": plan.settings.file,
        "settings_path": experiment.path,
        "registry_file": context.registry_file,
        "root_seed": plan.seed,
        "plan_digest": plan.digest,
        "settings_digest": plan.settings_digest,
        "program_digests": experiment.program_digests,
        "order": plan.order,
        "position": [one.id for one in plan.experiments].index(experiment.id) + 1,
        "block": experiment.block,
        "repetition": experiment.repetition,
        "repetitions": experiment.repetitions,
        "configuration_key": experiment.configuration_key,
        "arm": experiment.arm,
        "design": experiment.design,
        "mutated": sorted(experiment.mutated),
        "better": dict(experiment.foreground.program.better),
        "partner": experiment.partner,
    }


def _result(experiment: Experiment, outcome: Outcome) -> dict[str, Any]:
    """Return what the training came to, or the load where it is alone."""
    is_load, last, reasons = experiment.arm == "load", outcome.last, outcome.faults
    training = experiment.backgrounds[0] if is_load else experiment.foreground
    patterns = () if is_load else training.program.log_patterns
    attribution, note = _ATTRIBUTIONS[experiment.arm]
    found = last.metrics.values if last else {}
    return {
        "repository": training.program.name,
        "model": training.model,
        "hyperparameters": dict(training.hyperparameters),
        "ignored_hyperparameters": dict(training.ignored),
        "duration_seconds": last.duration_seconds if last else None,
        "energy_metrics": {
            **(last.energy_metrics() if last else dict.fromkeys(METRICS)),
            "attribution": attribution,
            "note": note,
        },
        "performance_metrics": {name: found.get(name) for name in patterns},
        "training_success": outcome.succeeded,
        "retries": max(0, len(outcome.attempts) - 1),
        "error_message": "; ".join(reasons) or (LOAD_SUCCESS if is_load else SUCCESS),
        "quality": {
            "verdict": "invalid" if reasons else "valid",
            "reasons": reasons,
            "flags": outcome.flags,
            "thresholds": {**design_values(), **LOAD_THRESHOLDS},
        },
        "energy_provenance": last.provenance() if last else None,
        "energy_estimate": last.estimate if last else None,
        "meter": last.measurement.meter_cost if last and last.measurement else None,
        **_epochs(last),
        "cpu_use": asdict(last.cpu) if last and last.cpu else None,
        "attempts": [_attempt(one, outcome.files.record.parent) for one in outcome.attempts],
    }


def _load_alone(outcome: Outcome) -> dict[str, Any]:
    """Return what was measured of a load alone: for how long, why so long, and its first half."""
    told = outcome.load_alone
    half = outcome.last.half if outcome.last else None
    return {
        "seconds": told.seconds if told else None,
        "reason": told.reason if told else None,
        "half_seconds": half.elapsed_seconds if half else None,
        "half_cpu_joules": half.cpu_joules if half else None,
        "half_gpu_joules": half.gpu_joules if half else None,
    }


def _epochs(attempt: Attempt | None) -> dict[str, Any]:
    told = attempt.epochs() if attempt else None
    if told is None:
        return {"epochs": None, "epochs_rest": None, "epochs_note": None}
    epochs, rest, note = told
    listed = [asdict(one) for one in epochs]
    return {"epochs": listed, "epochs_rest": asdict(rest), "epochs_note": note}


def _attempt(attempt: Attempt, results: Path) -> dict[str, Any]:
    end = attempt.exit
    return {
        "number": attempt.number,
        "started_at": attempt.started_at,
        "command": list(attempt.argv),
        "pid": attempt.pid,
        "exit_code": end.exit_code if end else None,
        "signal": end.signal if end else None,
        "timed_out": attempt.timed_out,
        "interrupted": attempt.interrupted,
        "duration_seconds": attempt.duration_seconds,
        "max_rss_bytes": end.max_rss_bytes if end else None,
        "performance_metrics": dict(attempt.metrics.values),
        "energy_metrics": attempt.energy_metrics(),
        "energy_provenance": attempt.provenance(),
        "faults": attempt.faults,
        "flags": attempt.flags,
        "log": str(attempt.log.relative_to(results)),
        "energy_folder": str(attempt.energy_folder.relative_to(results)),
        "last_lines": attempt.last_lines,
    }


def _background_info(experiment: Experiment, outcome: Outcome) -> list[dict[str, Any]]:
    started = [one.describe() for one in outcome.load.loops]
    return started + [
        {**load.identity(), "ignored_hyperparameters": dict(load.ignored), "note": "never started"}
        for load in experiment.backgrounds[len(started) :]
    ]


def compare(record: Mapping[str, Any], partner: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return load against alone for the two records of a pair, in either order.

    `slowdown` is duration with load over duration alone; the energy ratios likewise (None where
    either is unknown); `metric_differences` are with load minus alone, in the metric's own unit.
    None where one of the two does not count.
    """
    if "load" in (record["mode"], partner["mode"]):
        return None
    loaded, alone = (record, partner) if "foreground_result" in record else (partner, record)
    if "foreground_result" not in loaded or "foreground_result" in alone:
        return None
    with_load = loaded["foreground_result"]
    if not (with_load["training_success"] and alone["training_success"]):
        return None
    energies = with_load["energy_metrics"], alone["energy_metrics"]
    metrics, metrics_alone = with_load["performance_metrics"], alone["performance_metrics"]
    return {
        "loaded_experiment_id": loaded["experiment_id"],
        "alone_experiment_id": alone["experiment_id"],
        "slowdown": _ratio(with_load["duration_seconds"], alone["duration_seconds"]),
        "cpu_energy_ratio": _ratio(*(one["cpu_energy_total_joules"] for one in energies)),
        "gpu_energy_ratio": _ratio(*(one["gpu_energy_total_joules"] for one in energies)),
        "metric_differences": {
            name: _difference(value, metrics_alone.get(name)) for name, value in metrics.items()
        },
    }


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _difference(one: float | None, other: float | None) -> float | None:
    return one - other if one is not None and other is not None else None
