"""The record: the JSON document of one experiment, made from its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.energy import METRICS
from wattest.plan.experiment import Experiment
from wattest.run.outcome import Attempt, CpuUse, Outcome

_UNKNOWN: Mapping[str, None] = dict.fromkeys(METRICS)
SUCCESS = "Training completed successfully"
_COMBINED = (
    "Energy metrics include both foreground and background training: the counters are"
    " machine-wide and cannot tell them apart"
)
_MACHINE_WIDE = (
    "Energy metrics are machine-wide: they include whatever else ran on the measured CPUs and GPUs"
)


@dataclass(frozen=True)
class Context:
    """What is the same in all records of one session."""

    session_id: str
    experiment_name: str
    settings_file: str
    registry_file: str
    seed: int
    plan_digest: str
    order: str
    positions: Mapping[str, int]
    environment: Mapping[str, Any]
    thresholds: Mapping[str, Any]


def build(
    experiment: Experiment, outcome: Outcome, context: Context, settings_digest: str
) -> dict[str, Any]:
    """Return the document of an experiment: flat, or with `foreground_result` in parallel mode."""
    head: dict[str, Any] = {
        "experiment_id": outcome.files.experiment_id,
        "timestamp": outcome.files.started_at.isoformat(timespec="microseconds"),
        "mode": experiment.mode,
    }
    body = _training(experiment, outcome, context)
    if experiment.mode == "parallel":
        infos = _background_info(experiment, outcome)
        head["foreground_result"] = body
        head["background_info"] = infos[0]
        if len(infos) > 1:
            head["further_backgrounds"] = infos[1:]
    else:
        head |= body
    head["plan"] = {
        "session_id": context.session_id,
        "experiment_name": context.experiment_name,
        "test_id": experiment.id,
        "experiment_key": experiment.key,
        "settings_file": context.settings_file,
        "settings_path": experiment.path,
        "registry_file": context.registry_file,
        "root_seed": context.seed,
        "plan_digest": context.plan_digest,
        "settings_digest": settings_digest,
        "program_digests": experiment.program_digests,
        "order": context.order,
        "position": context.positions[experiment.id],
        "block": experiment.block,
        "repetition": experiment.repetition,
        "mutated": sorted(experiment.mutated),
        "partner": experiment.partner,
    }
    head["cooldown"] = outcome.cooldown
    head["environment"] = dict(context.environment)
    return head


def headline(experiment: Experiment, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of a record that the terminal's table and JUnit show."""
    result = document.get("foreground_result", document)
    energy = result["energy_metrics"]
    estimate = result["energy_estimate"]
    return {
        "test_id": experiment.id,
        "experiment_id": document["experiment_id"],
        "mutated": {name: result["hyperparameters"][name] for name in document["plan"]["mutated"]},
        "duration_seconds": result["duration_seconds"],
        "cpu_energy_total_joules": energy["cpu_energy_total_joules"],
        "cpu_energy_estimated_joules": estimate["machine_joules"] if estimate else None,
        "gpu_energy_total_joules": energy["gpu_energy_total_joules"],
        "performance_metrics": result["performance_metrics"],
        "load_alive_share": _alive_share(document),
        "verdict": result["quality"]["verdict"],
        "reasons": result["quality"]["reasons"],
        "flags": result["quality"]["flags"],
        "retries": result["retries"],
    }


def junit_properties(headline: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the properties of a test case; what is unknown is left out, never 0."""
    flat = {
        **{name: headline[name] for name in _JUNIT},
        **headline["performance_metrics"],
        **{f"mutated_{name}": value for name, value in headline["mutated"].items()},
        "reasons": "; ".join(headline["reasons"]) or None,
        "flags": "; ".join(headline["flags"]) or None,
    }
    return [(name, str(value)) for name, value in flat.items() if value is not None]


_JUNIT = (
    "experiment_id",
    "verdict",
    "duration_seconds",
    "cpu_energy_total_joules",
    "cpu_energy_estimated_joules",
    "gpu_energy_total_joules",
    "load_alive_share",
    "retries",
)


def _training(experiment: Experiment, outcome: Outcome, context: Context) -> dict[str, Any]:
    training, last = experiment.foreground, outcome.last
    reasons = list(outcome.faults)
    return {
        "repository": training.program.name,
        "model": training.model,
        "hyperparameters": dict(training.hyperparameters),
        "ignored_hyperparameters": dict(training.ignored),
        "duration_seconds": last.duration_seconds if last else None,
        "energy_metrics": _energy(experiment, last),
        "performance_metrics": _metrics(experiment, last),
        "training_success": outcome.succeeded,
        "retries": outcome.retries,
        "error_message": "; ".join(reasons) if reasons else SUCCESS,
        "quality": {
            "verdict": "invalid" if reasons else "valid",
            "reasons": reasons,
            "flags": list(outcome.flags),
            "thresholds": dict(context.thresholds),
        },
        "energy_provenance": _provenance(last),
        "energy_estimate": last.estimate if last else None,
        "meter": last.measurement.meter_cost if last and last.measurement else None,
        "cpu_use": _cpu(last.cpu) if last and last.cpu else None,
        "attempts": [
            _attempt(attempt, outcome.files.record.parent) for attempt in outcome.attempts
        ],
    }


def _energy(experiment: Experiment, attempt: Attempt | None) -> dict[str, Any]:
    measured = attempt.measurement.energy_metrics() if attempt and attempt.measurement else None
    parallel = experiment.mode == "parallel"
    return {
        **(measured or _UNKNOWN),
        "attribution": "combined" if parallel else "machine",
        "note": _COMBINED if parallel else _MACHINE_WIDE,
    }


def _provenance(attempt: Attempt | None) -> dict[str, Any] | None:
    """Return where the numbers come from."""
    if attempt is None or attempt.measurement is None:
        return None
    return attempt.measurement.provenance()


def _metrics(experiment: Experiment, attempt: Attempt | None) -> dict[str, float | None]:
    found = attempt.metrics.values if attempt else {}
    return {name: found.get(name) for name in experiment.foreground.program.log_patterns}


def _attempt(attempt: Attempt, folder: Path) -> dict[str, Any]:
    end, measured = attempt.exit, attempt.measurement
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
        "energy_metrics": measured.energy_metrics() if measured else dict(_UNKNOWN),
        "energy_provenance": _provenance(attempt),
        "faults": list(attempt.faults),
        "flags": list(attempt.flags),
        "log": str(attempt.log.relative_to(folder)),
        "energy_folder": str(attempt.energy_folder.relative_to(folder)),
        "last_lines": list(attempt.last_lines),
    }


def _background_info(experiment: Experiment, outcome: Outcome) -> list[dict[str, Any]]:
    started = outcome.load.describe() if outcome.load is not None else []
    return started + [
        {**load.identity(), "ignored_hyperparameters": dict(load.ignored), "note": "never started"}
        for load in experiment.backgrounds[len(started) :]
    ]


def _alive_share(document: Mapping[str, Any]) -> float | None:
    share: float | None = document.get("background_info", {}).get("window", {}).get("alive_share")
    return share


def _cpu(use: CpuUse) -> dict[str, float]:
    return {
        "machine_busy_seconds": use.machine_busy_seconds,
        "machine_total_seconds": use.machine_total_seconds,
        "foreground_seconds": use.foreground_seconds,
        "background_seconds": use.background_seconds,
        "harness_seconds": use.harness_seconds,
        "other_share": use.other_share,
    }
