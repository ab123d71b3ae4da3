"""Records as they lie on disk, read once each; what is damaged is named, what is foreign passed.

A record is known by its id, its session and its time: copies of it, in whatever folders, are one.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from wattest.config.schema import schema_faults
from wattest.errors import RecordError
from wattest.files import read_regular
from wattest.records import loads_of, read_record, result_of
from wattest.report.facts import at, facts_of, text_at
from wattest.report.runs import SEED, Arm, Better, Damage, Reading, Run

# What lies beside records and holds none.
_ASIDE = re.compile(r"\..*|plans|sessions|idle|counted|(energy|background_logs)_\d{8}_\d{6}_.*")
# What every record holds, and a foreign file need not be parsed for.
_MARK = '"experiment_id"'
_RECORD_NAME = re.compile(r"\d{8}_\d{6}_.+\.json")
_ENERGIES = {
    "cpu_energy": "cpu_energy_total_joules",
    "gpu_energy": "gpu_energy_total_joules",
}
Progress = Callable[[int, int], None]


def read_runs(
    places: Sequence[Path], session: str | None = None, progress: Progress | None = None
) -> Reading:
    """Return the runs of all records in these folders and files, oldest first.

    Args:
        places: folders, which are searched with the folders in them, or single records.
        session: only records of this session count; damage is told of all.
        progress: called with how many of how many files have been read.

    Raises:
        RecordError: a place is not there, or there is no record in any of them.
    """
    damage: list[Damage] = []
    paths = list(dict.fromkeys(path for place in places for path in _files(place, damage)))
    runs: dict[tuple[str, ...], Run] = {}
    repeated = foreign = 0
    sessions: dict[str, None] = {}
    for count, path in enumerate(paths, start=1):
        record = read_record(path, _MARK)
        if record is None:
            fault = _fault(path)
            damage += [] if fault is None else [Damage(path, fault)]
            foreign += fault is None
        elif session in (None, record["plan"]["session_id"]):
            run = run_of(path, record)
            first = runs.setdefault(_identity(run), run)
            repeated += first is not run
            if first.record != record:
                text = f"differs from {first.path.name}, which is the same run; that one counts"
                damage.append(Damage(path, text))
        else:
            sessions[record["plan"]["session_id"]] = None
        if progress is not None:
            progress(count, len(paths))
    if not runs:
        raise RecordError("\n".join(_nothing(places, session, list(sessions), damage)))
    ordered = sorted(runs.values(), key=lambda run: (run.timestamp, run.experiment_id))
    return Reading(tuple(ordered), tuple(damage), repeated, foreign)


@contextmanager
def collecting_no_garbage() -> Iterator[None]:
    """Look for no circles of garbage over the block: records by the hundred have none.

    That saves a seventh of the time of a report on 900 records.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def run_of(path: Path, record: Mapping[str, Any]) -> Run:
    """Return the run that a record tells of."""
    result = result_of(record)
    planned, quality = record["plan"], result["quality"]
    arm, twin = _arm(record), record.get("duplicate_of")
    parameters = dict(result["hyperparameters"])
    configuration = text_at(planned, "configuration_key")
    return Run(
        path=path,
        experiment_id=record["experiment_id"],
        session_id=planned["session_id"],
        test_id=planned["test_id"],
        timestamp=record["timestamp"],
        repository=result["repository"],
        model=result["model"],
        arm=arm,
        hyperparameters=parameters,
        mutated=tuple(planned["mutated"]),
        configuration=configuration or _configuration(result, parameters),
        is_configuration_derived=configuration is None,
        partner=text_at(planned, "partner"),
        repetition=_whole(planned.get("repetition")),
        block=_whole(planned.get("block")),
        position=_whole(planned.get("position")),
        order=text_at(planned, "order"),
        design=_design(planned.get("design")),
        seed=planned["root_seed"],
        plan_digest=planned["plan_digest"],
        is_valid=result["training_success"] and quality["verdict"] == "valid" and twin is None,
        reasons=(*map(str, quality["reasons"]), *([f"{twin} counts in its place"] if twin else ())),
        flags=tuple(quality["flags"]),
        amounts=dict(_amounts(result)),
        estimated_cpu_joules=_positive(at(result, "energy_estimate", "machine_joules")),
        metrics=tuple(result["performance_metrics"]),
        load=_load(record),
        facts=facts_of(record),
        better=dict(_directions(planned.get("better"))),
        record=record,
    )


def _files(place: Path, damage: list[Damage]) -> Iterator[Path]:
    """Yield what may be a record; a folder that cannot be read is damage."""
    if place.is_dir():
        try:
            entries = sorted(place.iterdir())
        except OSError as error:
            damage.append(Damage(place, f"cannot be read: {error.strerror}"))
            return
        yield from (one for one in entries if _is_record_file(one))
        for entry in entries:
            if entry.is_dir() and not entry.is_symlink() and not _ASIDE.fullmatch(entry.name):
                yield from _files(entry, damage)
    elif place.exists():
        yield place
    else:
        raise RecordError(f"{place}: no such folder or record; name where a session left results")


def _is_record_file(path: Path) -> bool:
    return path.suffix == ".json" and not path.name.startswith(".") and not path.is_dir()


def _fault(path: Path) -> str | None:
    """Return what keeps a file from being the record that it looks like; None where it does not."""
    try:
        content = read_regular(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    is_named = _RECORD_NAME.fullmatch(path.name)
    if not is_named and _MARK.encode() not in content:
        return None
    try:
        data = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        said = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "no JSON"
        return f"is damaged or cut short ({said}); it counts for nothing"
    is_ours = isinstance(data, dict) and {"experiment_id", "plan"} <= data.keys()
    if not (is_ours or is_named):
        return None
    faults = schema_faults(data, "result", path.name)
    told = (
        f"{faults[0].path}: {faults[0].text}"
        if faults
        else "holds a number that is none, or too large"
    )
    return f"is no valid record ({told}); it counts for nothing"


def _nothing(
    places: Iterable[Path], session: str | None, sessions: Sequence[str], damage: Iterable[Damage]
) -> Iterator[str]:
    """Yield why there is nothing to report on."""
    yield from (f"{one.path}: {one.text}" for one in damage)
    shown = ", ".join(map(str, places))
    if session is not None and sessions:
        there = ", ".join(sessions[-5:])
        yield f"{shown}: no record of session {session}; there are records of {there}"
    else:
        yield f"{shown}: holds no record; name the results folder of a session"


def _identity(run: Run) -> tuple[str, ...]:
    host = text_at(run.record["environment"], "host", "hostname") or ""
    return run.experiment_id, run.session_id, run.timestamp, host


def _arm(record: Mapping[str, Any]) -> Arm:
    arms: tuple[Arm, ...] = ("alone", "parallel", "load")
    fallback: Arm = "parallel" if record["mode"] == "parallel" else "alone"
    return next((arm for arm in arms if arm == record["plan"].get("arm")), fallback)


def _configuration(result: Mapping[str, Any], parameters: Mapping[str, float]) -> str:
    """Return what stands in for a configuration's key in records that have none.

    As in the key, whatever the seed.
    """
    told = sorted(item for item in parameters.items() if item[0] != SEED)
    return json.dumps([result["repository"], result["model"], told])


def _amounts(result: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    if (seconds := _positive(result["duration_seconds"])) is not None:
        yield "duration", seconds
    for key, name in _ENERGIES.items():
        if (joules := _positive(result["energy_metrics"][name])) is not None:
            yield key, joules
    for name, value in result["performance_metrics"].items():
        if value is not None:
            yield f"metric:{name}", float(value)


def _positive(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and value > 0 else None  # type: ignore[arg-type, operator]


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _design(value: object) -> str | None:
    """Return the design's name, with the names that it gives levels of after a colon."""
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        levels = value.get("levels")
        return ":".join([value["name"], *sorted(levels if isinstance(levels, dict) else ())])
    return value if isinstance(value, str) else None


def _load(record: Mapping[str, Any]) -> str | None:
    return " + ".join(map(_one_load, loads_of(record))) or None


def _one_load(info: Mapping[str, Any]) -> str:
    values = info.get("hyperparameters")
    told = ", ".join(f"{k}={v}" for k, v in values.items()) if isinstance(values, dict) else ""
    return f"{info['repo']}/{info['model']}" + (f" ({told})" if told else "")


def _directions(value: object) -> Iterator[tuple[str, Better]]:
    words: Mapping[object, Literal["higher", "lower"]] = {"higher": "higher", "lower": "lower"}
    for name, way in value.items() if isinstance(value, dict) else ():
        if isinstance(name, str) and isinstance(way, str) and way in words:
            yield name, words[way]
