"""An estimate of CPU energy where nothing can be measured; it never stands in a measured field.

Method and coefficients: Cloud Carbon Footprint, "Methodology", energy estimate for compute: the
power of a virtual CPU lies between `IDLE_WATTS` and `FULL_WATTS` in proportion to its utilisation
(mean of the published coefficients for AWS, which are those of SPECpower).
"""

from __future__ import annotations

IDLE_WATTS = 0.74
FULL_WATTS = 3.5
SOURCE = "https://www.cloudcarbonfootprint.org/docs/methodology/"


def estimate(
    duration_seconds: float,
    cpus: int,
    machine_cpu_seconds: float | None,
    training_cpu_seconds: float | None,
) -> dict[str, object]:
    """Estimate the CPU's energy in one window, ready for JSON.

    Args:
        duration_seconds: Length of the window.
        cpus: Number of virtual CPUs.
        machine_cpu_seconds: CPU time of everything on the machine; None if unknown.
        training_cpu_seconds: CPU time of the training; None if unknown.

    Returns:
        `machine_joules` (idle share of all CPUs and the load on them) and `training_joules` (only
        what the training's CPU time adds to idle), each None if its CPU time is unknown, with
        method, coefficients and source. To be shown with a `~`.
    """
    return {
        "is_estimate": True,
        "method": "CPU time between idle and full power of a virtual CPU",
        "source": SOURCE,
        "idle_watts_per_cpu": IDLE_WATTS,
        "full_watts_per_cpu": FULL_WATTS,
        "cpus": cpus,
        "machine_cpu_seconds": machine_cpu_seconds,
        "training_cpu_seconds": training_cpu_seconds,
        "machine_joules": (
            None
            if machine_cpu_seconds is None
            else cpus * duration_seconds * IDLE_WATTS + _dynamic(machine_cpu_seconds)
        ),
        "training_joules": (
            None if training_cpu_seconds is None else _dynamic(training_cpu_seconds)
        ),
    }


def _dynamic(cpu_seconds: float) -> float:
    return cpu_seconds * (FULL_WATTS - IDLE_WATTS)
