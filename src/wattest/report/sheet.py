"""One run on one sheet: its verdict first, then power, load, gates and results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from wattest.errors import RecordError
from wattest.records import loads_of, read_record, result_of
from wattest.report.numbers import UNKNOWN, duration, joules, percent, plain, watts
from wattest.report.traces import PowerTrace, power_traces

Mark = Literal["ok", "flag", "refused", "unknown"]


class LoadRun(NamedTuple):
    """One run of the load, in seconds after the opening edge; an end of None came later."""

    number: int
    started_seconds: float
    ended_seconds: float | None
    exit_code: int | None
    signal: int | None = None

    @property
    def has_failed(self) -> bool:
        """Tell whether it ended as a training that is done does not."""
        return bool(self.exit_code) or self.signal is not None


class Load(NamedTuple):
    """One load: its runs (None: not told), and the share of the window in which it was alive."""

    name: str
    runs: Sequence[LoadRun] | None
    alive_share: float | None


class Gate(NamedTuple):
    """What one rule found, what it allows, and what became of it."""

    name: str
    found: str
    allowed: str
    mark: Mark


class Epoch(NamedTuple):
    """One epoch of the foreground: when its end was seen, and what it took; None is not known.

    Its ends were seen late by up to `uncertainty_seconds`. Energy includes that of the load.
    What the epochs leave of the window is one too, of no number.
    """

    number: float | None
    seen_seconds: float | None
    seconds: float | None
    cpu_joules: float | None
    gpu_joules: float | None
    cpu_watts: float | None
    gpu_watts: float | None
    uncertainty_seconds: float | None
    cpu_uncertainty_joules: float | None
    gpu_uncertainty_joules: float | None


@dataclass(frozen=True)
class Sheet:
    """All that `wattest show` tells of one run."""

    experiment_id: str
    mode: str
    verdict: str
    reasons: Sequence[str]
    flags: Sequence[str]
    facts: Sequence[tuple[str, str]]
    window_seconds: float
    traces: Sequence[PowerTrace]
    loads: Sequence[Load]
    gates: Sequence[Gate]
    epochs: Sequence[Epoch]
    epochs_note: str | None

    @property
    def headline(self) -> str:
        """The sentence on top."""
        if self.verdict != "valid":
            return "INVALID: it does not count"
        count = len(self.flags)
        return f"valid, {count} flag{'s' * (count > 1)}" if count else "valid"


def read_sheet(path: Path) -> Sheet:
    """Return the sheet of the record at `path`.

    Raises:
        RecordError: there is no record there.
    """
    record = read_record(path)
    if record is None:
        kind = "cannot be read as a record" if path.is_file() else "is no file"
        raise RecordError(f"{path}: {kind}; name one results/…json that a session has left")
    return sheet_of(record, path.parent)


def sheet_of(record: Mapping[str, Any], folder: Path) -> Sheet:
    """Return the sheet of a record that lies in `folder`, with its traces."""
    result = result_of(record)
    loads = [_load(info) for info in loads_of(record)]
    seconds = _window_seconds(result)
    return Sheet(
        experiment_id=record["experiment_id"],
        mode=record["mode"],
        verdict=result["quality"]["verdict"],
        reasons=[str(reason) for reason in result["quality"]["reasons"]],
        flags=result["quality"]["flags"],
        facts=list(_facts(record, result, seconds)),
        window_seconds=seconds,
        traces=power_traces(record, folder),
        loads=loads,
        gates=list(_gates(result, loads)),
        epochs=_epochs(result),
        epochs_note=result.get("epochs_note"),
    )


def _window_seconds(result: Mapping[str, Any]) -> float:
    window = (result["energy_provenance"] or {}).get("window") or {}
    seconds = window.get("duration_seconds") or result["duration_seconds"] or 0.0
    return round(max(float(seconds), 0.0), 9)


def _facts(
    record: Mapping[str, Any], result: Mapping[str, Any], seconds: float
) -> Iterator[tuple[str, str]]:
    mutated = record["plan"]["mutated"]
    values = result["hyperparameters"]
    yield "training", f"{result['repository']}/{result['model']}"
    if mutated:
        yield "mutated", ", ".join(f"{name}={plain(values.get(name))}" for name in mutated)
    fixed = [f"{name}={plain(value)}" for name, value in values.items() if name not in mutated]
    if fixed:
        yield "fixed", ", ".join(fixed)
    yield (
        "ran",
        f"{record['timestamp'][:19].replace('T', ' ')}, window of {duration(seconds or None)}",
    )
    yield "energy", _energy(result)
    metrics = result["performance_metrics"]
    told = ", ".join(f"{name}={plain(value)}" for name, value in metrics.items())
    yield "metrics", told or "none"
    if result["retries"]:
        yield "retries", str(result["retries"])


def _energy(result: Mapping[str, Any]) -> str:
    """Return the energies in words; never a combined one as the foreground's."""
    energy, estimate = result["energy_metrics"], result["energy_estimate"] or {}
    cpu, guess = energy["cpu_energy_total_joules"], estimate.get("machine_joules")
    told = f"GPU {joules(energy['gpu_energy_total_joules'])}, CPU "
    told += joules(guess, estimated=True) if cpu is None and guess is not None else joules(cpu)
    if UNKNOWN in told:
        told += f" ({UNKNOWN}: not measured)"
    return told + (", load included" if energy["attribution"] == "combined" else "")


def _load(info: Mapping[str, Any]) -> Load:
    window = info.get("window") or {}
    return Load(f"{info['repo']}/{info['model']}", _runs(window), window.get("alive_share"))


def _runs(window: Mapping[str, Any]) -> list[LoadRun] | None:
    told = window.get("runs")
    if not isinstance(told, list):
        return None
    return [
        LoadRun(
            one.get("number", number),
            float(one["started_seconds"]),
            one.get("ended_seconds"),
            one.get("exit_code"),
            one.get("signal"),
        )
        for number, one in enumerate(told, start=1)
        if isinstance(one, dict) and one.get("started_seconds") is not None
    ]


def _epochs(result: Mapping[str, Any]) -> list[Epoch]:
    """Return the epochs of a run and, where there are any, what they leave of it."""
    told = result.get("epochs")
    names = Epoch._fields[1:]
    found = [
        Epoch(one["epoch"], *(one.get(name) for name in names))
        for one in (told if isinstance(told, list) else [])
        if isinstance(one, dict) and isinstance(one.get("epoch"), int | float)
    ]
    rest = result.get("epochs_rest")
    if found and isinstance(rest, dict):
        found.append(Epoch(None, *(rest.get(name) for name in names)))
    return found


def _gates(result: Mapping[str, Any], loads: Sequence[Load]) -> Iterator[Gate]:
    """Yield what the rules of a window found, by the thresholds that the record keeps."""
    limits = result["quality"].get("thresholds") or {}
    provenance = result["energy_provenance"] or {}
    for load in loads:
        share, least = load.alive_share, limits.get("load_alive_share_min", 0.9)
        mark: Mark = "unknown" if share is None else "ok" if share >= least else "refused"
        name = f"{load.name} alive" if len(loads) > 1 else "load alive"
        yield Gate(name, percent(share), f"at least {percent(least)}", mark)
    for name, domain in (provenance.get("domains") or {}).items():
        yield from _domain_gates(name, domain, limits)
    yield from _window_gates(provenance.get("window") or {}, result, limits)


_DOMAINS = {"cpu_pkg": "CPU", "cpu_ram": "DRAM", "gpu": "GPU"}


def _domain_gates(
    name: str, domain: Mapping[str, Any], limits: Mapping[str, float]
) -> Iterator[Gate]:
    shown = _DOMAINS.get(name, name)
    if domain.get("status") != "measured":
        mark: Mark = "refused" if domain.get("status") == "invalid" else "unknown"
        yield Gate(f"{shown} counter", "not measured", str(domain.get("reason")), mark)
        return
    counted, integral = domain.get("counter_joules"), domain.get("integral_joules")
    if counted and integral is not None:
        apart = 100 * abs(counted - integral) / counted
        flag = limits.get("counter_integral_flag_percent", 3.0)
        refuse = limits.get("counter_integral_invalid_percent", 10.0)
        yield _judged(f"{shown} counter against samples", apart, "%", flag, refuse)
    edge, gap = domain.get("edge_uncertainty_percent"), domain.get("longest_gap_seconds")
    if edge is not None:
        yield Gate(f"{shown} edges", f"±{edge:.2g} %", "stated, not judged", "ok")
    if gap is not None:
        yield _judged(f"{shown} longest gap", gap, "s", limits.get("sample_gap_flag_seconds", 1.0))


def _window_gates(
    window: Mapping[str, Any], result: Mapping[str, Any], limits: Mapping[str, float]
) -> Iterator[Gate]:
    seconds, short = window.get("duration_seconds"), limits.get("window_flag_seconds", 10.0)
    if seconds is not None:
        mark: Mark = "ok" if seconds >= short else "flag"
        yield Gate("window", duration(seconds), f"flag below {plain(short)} s", mark)
    share = (result.get("cpu_use") or {}).get("other_share")
    if share is not None:
        flag = limits.get("other_cpu_load_flag_percent", 5.0)
        yield _judged("other CPU load", 100 * share, "%", flag)


def _judged(name: str, value: float, unit: str, flag: float, refuse: float | None = None) -> Gate:
    mark: Mark = "ok" if value <= flag else "flag"
    if refuse is not None and value > refuse:
        mark = "refused"
    allowed = f"flag above {plain(flag)} {unit}"
    allowed += "" if refuse is None else f", refused above {plain(refuse)} {unit}"
    return Gate(name, f"{value:.2g} {unit}", allowed, mark)


def power_range(trace: PowerTrace) -> str:
    """Return the least, greatest and mean power of a trace in words."""
    low, high = min(trace.watts), max(trace.watts)
    return f"{watts(low)} to {watts(high)}, mean {watts(trace.mean_watts)}"
