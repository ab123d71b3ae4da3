"""What the load did: a foreground over its load compared with the same one alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def compare(record: Mapping[str, Any], partner: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return load against alone for the two records of a pair, in either order.

    `slowdown` is duration with load over duration alone; the energy ratios likewise (None where
    either is unknown); `metric_differences` are with load minus alone, in the metric's own unit.
    None where one of the two does not count.
    """
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
