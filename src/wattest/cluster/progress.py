"""``wattest status``: what of each plan in a results folder is done, running, failed or missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.errors import RecordError, WattestError
from wattest.files import read_regular, write_atomically
from wattest.machine.slurm import call
from wattest.names import host_name
from wattest.process.owner import Owner
from wattest.records import read_record, result_of
from wattest.records.table import row_of, text_of
from wattest.session.running import NAME

_STATES = ("done", "running", "failed", "missing")
_REASON_WIDTH = 100
_PLAN_KEYS = {"settings_file", "plan_digest", "root_seed", "experiments"}


@dataclass(frozen=True)
class _State:
    """What became of one experiment of a plan."""

    name: str
    host: str = "-"
    reason: str = ""


def status_lines(results: Path) -> Iterator[str]:
    """Yield what is known of every plan in the folder, one line for each that is not done.

    Raises:
        RecordError: there is no plan.
    """
    files = {path: _plan_in(path) for path in sorted(results.glob("plans/*.json"))}
    plans = [plan for plan in files.values() if plan is not None]
    yield from (f"{path} is no plan: damaged" for path, plan in files.items() if plan is None)
    if not plans:
        why = "nothing was ever run or submitted there" if results.is_dir() else "it is no folder"
        raise RecordError(f"{results} holds no plan: {why}")
    records, running = list(_records(results)), list(_running(results))
    for plan in plans:
        states = _states(plan, records, running)
        counts = Counter(state.name for state in states.values())
        told = ", ".join(f"{counts[name]} {name}" for name in _STATES if counts[name])
        yield (
            f"{plan['settings_file']}: plan {plan['plan_digest']}, seed {plan['root_seed']}:"
            f" {len(states)} experiment{'s' * (len(states) != 1)}: {told}"
        )
        width = max(map(len, states), default=0)
        for name, state in states.items():
            if state.name != "done":
                yield f"  {state.name:8}{name:{width}}  {state.host}  {state.reason}".rstrip()


def write_csv(results: Path, file: Path) -> int:
    """Write the CSV of all campaigns, derived from the records: one row for each experiment.

    An experiment that counts is shown by the record that counts, another by its last one.

    Returns:
        The number of rows.

    Raises:
        RecordError: it cannot be written.
    """
    best: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for record in _records(results):
        place = (*_plan_of(record["plan"]), record["plan"]["experiment_key"])
        if place not in best or not _counts(best[place]):
            best[place] = record
    rows = [row_of(record) for record in best.values()]
    try:
        write_atomically(file, text_of(_columns(rows), rows).removesuffix("\n"))
    except OSError as error:
        raise RecordError(f"{file} cannot be written: {error.strerror}") from None
    return len(rows)


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns of all rows as a session's CSV has them."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    varied = {prefix: sorted(one for one in names if one.startswith(prefix))
              for prefix in ("hyperparam_", "perf_")}  # fmt: skip
    rest = [one for one in names if not one.startswith(tuple(varied))]
    head = rest.index("retries") + 1 if rest else 0
    return [*rest[:head], *varied["hyperparam_"], *varied["perf_"], *rest[head:]]


def _plan_in(path: Path) -> dict[str, Any] | None:
    """Return the plan in a file; None for what is none."""
    plan = _read(path)
    if not isinstance(plan, dict) or not set(plan) >= _PLAN_KEYS:
        return None
    planned = plan["experiments"]
    if not isinstance(planned, list):
        return None
    whole = all(isinstance(one, dict) and {"id", "key"} <= set(one) for one in planned)
    return plan if whole else None


def _records(results: Path) -> Iterator[dict[str, Any]]:
    """Yield every record, oldest first, but those of experiments that another counts for."""
    for path in sorted(results.glob("*.json")):
        record = None if path.name.startswith(".") else read_record(path)
        if record is not None and not record.get("duplicate_of"):
            yield record


def _counts(record: Mapping[str, Any]) -> bool:
    return bool(result_of(record)["training_success"])


def _plan_of(planned: Mapping[str, Any]) -> tuple[str, str]:
    """Return what a plan and its records have in common; other settings may give an equal plan."""
    return str(planned["plan_digest"]), str(planned.get("settings_digest"))


def _states(
    plan: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    running: Sequence[tuple[Mapping[str, Any], str]],
) -> dict[str, _State]:
    """Return the state of each experiment by its id, in the order of the plan."""
    own = _plan_of(plan)
    last: dict[str, Mapping[str, Any]] = {}
    for record in records:
        planned = record["plan"]
        key = planned["experiment_key"]
        if _plan_of(planned) == own and not (key in last and _counts(last[key])):
            last[key] = record
    now = {told["experiment_key"]: (told, why) for told, why in running
           if told.get("plan_digest") == plan["plan_digest"]}  # fmt: skip
    return {
        one["id"]: _state(last.get(one["key"]), now.get(one["key"])) for one in plan["experiments"]
    }


def _state(
    record: Mapping[str, Any] | None, running: tuple[Mapping[str, Any], str] | None
) -> _State:
    if record is not None and _counts(record):
        return _State("done", _host(record))
    if running is not None:
        told, why = running
        job = f", job {told['job']}" if told.get("job") else ""
        if why:
            return _State("missing", told["host"], f"{why} (begun {told['since']}{job})")
        return _State("running", told["host"], f"since {told['since']}{job}")
    if record is None:
        return _State("missing", reason="not begun")
    message = " ".join(result_of(record)["error_message"].split())
    return _State("failed", _host(record), message[:_REASON_WIDTH])


def _host(record: Mapping[str, Any]) -> str:
    environment = record["environment"]
    node = (environment.get("scheduler") or {}).get("node")
    return str(node or (environment.get("host") or {}).get("hostname") or "-")


def _running(results: Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield what sessions say that they train, and why that is no longer so; empty if it is."""
    told = [_read(path) for path in sorted(results.glob(f"sessions/**/{NAME}"))]
    wanted = ("experiment_key", "test_id", "since", "host", "owner")
    found = [one for one in told if isinstance(one, dict) and set(wanted) <= set(one)]
    jobs = _running_jobs() if any(one.get("job") for one in found) else None
    for one in found:
        if one.get("job") and jobs is not None:
            yield one, "" if one["job"] in jobs else "its task is gone"
        else:
            yield one, _why_dead(one)


def _why_dead(told: Mapping[str, Any]) -> str:
    """Return why the session is dead for sure: on another machine nobody here can tell."""
    owner = Owner.parse(str(told["owner"]))
    here = Owner.current()
    if owner is None or told["host"] != host_name() or owner.boot_id != here.boot_id:
        return ""
    return "" if owner.namespace != here.namespace or owner.is_alive() else "its session is gone"


def _running_jobs() -> frozenset[str] | None:
    """Return the names of all jobs that run, whoever's they are; None where Slurm does not say."""
    try:
        told = call("squeue", "--noheader", "--states", "RUNNING,SUSPENDED,STOPPED",
                    "--format", "%i")  # fmt: skip
    except WattestError:
        return None
    return frozenset(told.split())


def _read(path: Path) -> Any:
    try:
        return json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return None
