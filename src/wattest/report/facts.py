"""What must agree where runs are compared, and where it does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from wattest.records import result_of
from wattest.report.runs import NAMES, Run

_LOAD_ONLY = {"background", "registry of the load", "commit of the load"}


def facts_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what decides whether a record can be compared; what it does not tell is not there.

    A key is one of `NAMES`, or such a one with `of the load` or `of the harness` after it.
    """
    result = result_of(record)
    info = record.get("background_info") or {}
    environment, planned = record["environment"], record["plan"]
    load = info.get("repo")
    # Of a load alone the training is that of the load.
    repo = None if record["mode"] == "load" else result["repository"]
    found = {
        "gpu": _joined(_uuids(record)),
        "driver": text_at(environment, "gpus", "driver_version"),
        "power_limit": _joined(_limits(record)),
        "cpu": text_at(environment, "host", "cpu_model"),
        "counters": " + ".join(_cpu_domains(record)),
        "kernel": text_at(environment, "host", "kernel"),
        "governor": text_at(environment, "host", "governor"),
        "host": text_at(environment, "host", "hostname"),
        "registry": text_at(planned, "program_digests", repo),
        "commit": text_at(environment, "code", "programs", repo, "commit"),
        "commit of the harness": text_at(environment, "code", "harness", "commit"),
        "registry of the load": text_at(planned, "program_digests", load),
        "commit of the load": text_at(environment, "code", "programs", load, "commit"),
    }
    return {name: value for name, value in found.items() if value}


def difference(runs: Iterable[Run], declared: Iterable[str] = ()) -> str | None:
    """Return in which undeclared fact runs differ, with two of its values; None where in none.

    What a record does not tell cannot differ; facts of the load are those of runs that had one.
    """
    told: dict[str, dict[str, None]] = {}
    allowed = set(declared)
    for run in runs:
        for name, value in run.facts.items():
            told.setdefault(name, {})[value] = None
    for name, values in told.items():
        if len(values) > 1 and name.split(" of ")[0] not in allowed:
            return f"{title(name)} differs: {' and '.join(list(values)[:2])}"
    return None


def differing(runs: Sequence[Run], names: Iterable[str]) -> list[str]:
    """Return which facts of these names differ among the runs."""
    return [
        name
        for name in names
        if len({run.facts[key] for run in runs for key in run.facts if key.split(" of ")[0] == name
                and key not in _LOAD_ONLY}) > 1
    ]  # fmt: skip


def title(name: str) -> str:
    """Return a fact as people read it."""
    first, _, rest = name.partition(" of ")
    return NAMES[first] + (f" of {rest}" if rest else "")


def at(data: object, *keys: object) -> Any:
    """Return what lies at these keys of nested objects; None where nothing does."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def text_at(data: object, *keys: object) -> str | None:
    """Return the text at these keys; None where there is none."""
    found = at(data, *keys)
    return found if isinstance(found, str) and found else None


def gpus_of(record: Mapping[str, Any]) -> list[Any]:
    """Return what a record says of the GPUs of its machine, one by one."""
    told = at(record["environment"], "gpus", "gpus")
    return told if isinstance(told, list) else []


def _uuids(record: Mapping[str, Any]) -> Iterator[str]:
    told = at(result_of(record), "energy_provenance", "domains", "gpu", "uuids")
    if not isinstance(told, list):
        told = [at(one, "uuid") for one in gpus_of(record)]
    yield from (one for one in told if isinstance(one, str))


def _cpu_domains(record: Mapping[str, Any]) -> Iterator[str]:
    for domain, words in (("cpu_pkg", "packages"), ("cpu_ram", "DRAM")):
        told = at(result_of(record), "energy_provenance", "domains", domain, "status")
        if told == "measured":
            yield words


def _limits(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the power limits that were read in the window, and those that were set before."""
    measured = at(result_of(record), "energy_provenance", "domains", "gpu", "gpus")
    told = [at(one, "limit_watts") for one in measured if measured] if measured else []
    told += [at(one, "power_limit_watts") for one in gpus_of(record)]
    yield from (f"{one:g} W" for one in told if isinstance(one, (int, float)))


def _joined(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))
