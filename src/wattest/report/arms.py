"""What attribution is made from: the arms of a block, and why one of them may not serve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wattest.records import result_of
from wattest.report.facts import at, gpus_of
from wattest.report.runs import Run

DOMAINS = {"gpu_energy": "GPU", "cpu_energy": "CPU", "energy": "CPU + GPU"}
PARTS = {"gpu_energy": ("gpu_energy",), "cpu_energy": ("cpu_energy",),
          "energy": ("cpu_energy", "gpu_energy")}  # fmt: skip
LEAST_LOAD_SECONDS = 60.0
"""A load alone that was measured for less says little of its power."""
HALVES_APART = 0.05
"""Share by which the power of both halves of that window may differ."""


class Refused(Exception):
    """Why an estimand has no answer; one sentence."""


@dataclass(frozen=True)
class Unit:
    """All arms of one block."""

    loaded: Run
    alone: Run | None
    load: Run | None


def has(run: Run, domain: str) -> bool:
    """Return whether a run has every part of a domain."""
    return all(part in run.amounts for part in PARTS[domain])


def joules(run: Run, domain: str) -> float:
    """Return the joules of a domain; raises `Refused` where they were not measured."""
    if not has(run, domain):
        raise Refused(f"{run.arm}: its {DOMAINS[domain]} energy was not measured")
    return sum(run.amounts[part] for part in PARTS[domain])


def seconds_of(run: Run) -> float:
    """Return how long a run took."""
    if "duration" not in run.amounts:
        raise Refused(f"{run.arm}: its duration is not known")
    return run.amounts["duration"]


def alone_of(unit: Unit) -> Run:
    """Return the training alone; raises `Refused` where it did not run."""
    if unit.alone is None:
        raise Refused(
            'the training did not run alone, or that does not count; "baseline": "both" makes it'
        )
    return unit.alone


def load_of(unit: Unit) -> Run:
    """Return the load alone; raises `Refused` where it did not run."""
    if unit.load is None:
        raise Refused(
            'the load was not measured alone, or that does not count; "baseline": "both" makes it'
        )
    return unit.load


def load_watts(unit: Unit, domain: str) -> float:
    """Return the power of the load alone, where that was measured well enough."""
    load = load_of(unit)
    seconds = seconds_of(load)
    if seconds < LEAST_LOAD_SECONDS:
        least = f"at least {LEAST_LOAD_SECONDS:g} s are needed"
        raise Refused(f"the load was measured alone for {seconds:.1f} s; {least}")
    if (one := _longest_run_seconds(load)) is not None and seconds < one:
        raise Refused(f"the load was alone for {seconds:.0f} s, which is less than one of its runs")
    used = joules(load, domain)
    for part in PARTS[domain]:
        _require_steady(load, part)
    return used / seconds


def _require_steady(load: Run, part: str) -> None:
    """Refuse a load whose power alone drifted: its halves must agree."""
    told = load.record.get("load_alone")
    half, at_seconds = at(told, f"half_{part[:3]}_joules"), at(told, "half_seconds")
    if not (isinstance(half, (int, float)) and isinstance(at_seconds, (int, float))):
        return
    rest_seconds = load.amounts["duration"] - at_seconds
    if at_seconds <= 0 or rest_seconds <= 0:
        return
    first, second = half / at_seconds, (load.amounts[part] - half) / rest_seconds
    apart = abs(first - second) / max(first, second, 1e-9)
    if apart > HALVES_APART:
        watts = f"{first:.4g} W in its first half, {second:.4g} W in its second"
        raise Refused(f"the load alone was not steady: {watts}")


def _longest_run_seconds(load: Run) -> float | None:
    """Return how long a whole run of the load took, as far as one was seen from start to end."""
    runs = at(load.record.get("background_info"), "window", "runs")
    spans = [
        one["ended_seconds"] - one["started_seconds"]
        for one in (runs if isinstance(runs, list) else ())
        if isinstance(one, Mapping)
        and all(
            isinstance(one.get(f"{edge}_seconds"), (int, float)) for edge in ("started", "ended")
        )
    ]
    return max(spans, default=None)


def work_seconds(unit: Unit) -> float:
    """Return τ: the load's work in the window as seconds of the load running alone."""
    load = load_of(unit)
    done, alone = (_work(run) for run in (unit.loaded, load))
    if done[0] != alone[0]:
        raise Refused(f"the load's work is told in {done[0]} and in {alone[0]}")
    if alone[1] <= 0:
        raise Refused("the load alone did no work that its progress pattern tells")
    return done[1] * seconds_of(load) / alone[1]


def _work(run: Run) -> tuple[str, float]:
    work = at(run.record.get("background_info"), "window", "work")
    unit, amount = at(work, "unit"), at(work, "amount")
    if not isinstance(amount, (int, float)):
        raise Refused(
            "the load's work is not known: its registry entry needs a progress pattern that its log"
            " matches, line by line"
        )
    return str(unit), float(amount)


def idle_watts(unit: Unit, domain: str) -> float:
    """Return the power of the idle machine; raises `Refused` where it is not known."""
    told = at(unit.loaded.record["environment"], "idle")
    watts = at(told, "watts")
    if not isinstance(watts, Mapping):
        raise Refused("the idle machine was not measured: set idle_baseline_seconds")
    if at(told, "cuda_context"):
        raise Refused("idle was measured with a CUDA context open, which uses power of its own")
    total = 0.0
    for part in PARTS[domain]:
        names = list(_sources(unit.loaded, part))
        missing = [name for name in names if not isinstance(watts.get(name), (int, float))]
        if missing or not names:
            raise Refused(f"the idle power of {', '.join(missing) or part} is not known")
        total += sum(watts[name] for name in names)
    return total


def _sources(run: Run, part: str) -> Iterator[str]:
    """Yield the names of the counters that a domain of a record sums."""
    domains = at(result_of(run.record), "energy_provenance", "domains")
    if part == "gpu_energy":
        uuids = at(domains, "gpu", "uuids")
        yield from uuids if isinstance(uuids, list) else ()
        return
    for domain in ("cpu_pkg", "cpu_ram"):
        if at(domains, domain, "status") == "measured":
            zones = at(domains, domain, "zones")
            yield from (str(at(one, "label")) for one in (zones if isinstance(zones, list) else ()))


def require_shares(unit: Unit) -> None:
    """Refuse to divide where the two trainings are not all that the counters saw, or not free."""
    for run in (unit.loaded, unit.alone, unit.load):
        if run is not None and (seconds := _capped_seconds(run)) > 0:
            raise Refused(f"{run.arm}: the power cap held a GPU back for {seconds:.3g} s")
    if unit.loaded.record.get("further_backgrounds"):
        raise Refused("several loads ran at once: shares are for one")
    if any(at(one, "mig_mode") is True for one in gpus_of(unit.loaded.record)):
        raise Refused("MIG divides a GPU: its counters are those of the whole board")
    if at(unit.loaded.record["environment"], "variables", "CUDA_MPS_PIPE_DIRECTORY"):
        raise Refused("MPS shares the GPU between processes: their kernels cannot be told apart")


def _capped_seconds(run: Run) -> float:
    gpus = at(result_of(run.record), "energy_provenance", "domains", "gpu", "gpus")
    told = (at(one, "throttled_seconds", "power_cap") for one in gpus or () if gpus)
    return sum(seconds for seconds in told if isinstance(seconds, (int, float)))
