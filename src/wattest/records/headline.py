"""The headline of a record: the numbers that the terminal's table and JUnit show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wattest.files import as_utf8
from wattest.records.reading import result_of


@dataclass(frozen=True)
class Headline:
    """What one experiment came to; None is not known."""

    test_id: str
    experiment_id: str
    verdict: str
    duration_seconds: float | None
    cpu_energy_total_joules: float | None
    cpu_energy_estimated_joules: float | None
    gpu_energy_total_joules: float | None
    load_alive_share: float | None
    retries: int
    performance_metrics: Mapping[str, float | None]
    mutated: Mapping[str, float]
    reasons: list[str]
    flags: list[str]
    session_id: str


_NOT_FLAT = ("test_id", "performance_metrics", "mutated", "reasons", "flags", "session_id")


def headline(record: Mapping[str, Any]) -> Headline:
    """Return the headline of a record."""
    result = result_of(record)
    planned, energy, estimate = record["plan"], result["energy_metrics"], result["energy_estimate"]
    return Headline(
        test_id=planned["test_id"],
        experiment_id=record["experiment_id"],
        verdict=result["quality"]["verdict"],
        duration_seconds=result["duration_seconds"],
        cpu_energy_total_joules=energy["cpu_energy_total_joules"],
        cpu_energy_estimated_joules=estimate["machine_joules"] if estimate else None,
        gpu_energy_total_joules=energy["gpu_energy_total_joules"],
        load_alive_share=record.get("background_info", {}).get("window", {}).get("alive_share"),
        retries=result["retries"],
        performance_metrics=result["performance_metrics"],
        mutated={name: result["hyperparameters"][name] for name in planned["mutated"]},
        reasons=result["quality"]["reasons"],
        flags=result["quality"]["flags"],
        session_id=planned["session_id"],
    )


def junit_properties(told: Headline) -> list[tuple[str, str]]:
    """Return the properties of a test case; what is unknown is left out, never 0.

    A metric has its own name, or ``metric_NAME`` where that is the name of another property. XML
    takes no name of the system that is no UTF-8: such bytes are written out.
    """
    flat = {
        **{name: value for name, value in vars(told).items() if name not in _NOT_FLAT},
        **{f"mutated_{name}": value for name, value in told.mutated.items()},
        "reasons": "; ".join(told.reasons) or None,
        "flags": "; ".join(told.flags) or None,
    }
    for metric, value in told.performance_metrics.items():
        name = metric
        while name in flat:
            name = f"metric_{name}"
        flat[name] = value
    return [(name, as_utf8(str(value))) for name, value in flat.items() if value is not None]
