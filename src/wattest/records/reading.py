"""Records as they lie on disk; `read_record` takes only what all its readers can use."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wattest.energy import METRICS
from wattest.files import read_regular

_NUMBER = (int, float)


_NUMBER_OR_NULL = (int, float, type(None))


_OBJECT_OR_NULL = (dict, type(None))


# What the readers of a record rely on. Its whole schema would take them milliseconds a record.
_RECORD = {"experiment_id": str, "timestamp": str, "mode": str, "plan": dict, "environment": dict}


_PLAN = {"session_id": str, "test_id": str, "experiment_key": str, "plan_digest": str,
         "root_seed": int, "mutated": list}  # fmt: skip


_TRAINING = {"repository": str, "model": str, "hyperparameters": dict, "energy_metrics": dict,
             "performance_metrics": dict, "duration_seconds": _NUMBER_OR_NULL,
             "training_success": bool, "retries": int, "error_message": str, "quality": dict,
             "energy_provenance": _OBJECT_OR_NULL, "energy_estimate": _OBJECT_OR_NULL,
             "attempts": list}  # fmt: skip


_ENERGY = {**dict.fromkeys(METRICS, _NUMBER_OR_NULL), "attribution": str}


_QUALITY = {"verdict": str, "reasons": list, "flags": list}


_LOAD = {"repo": str, "model": str}


def read_record(path: Path, mention: str = "") -> dict[str, Any] | None:
    """Return the record at `path`; None for what is none, is damaged, or lacks `mention`."""
    try:
        content = read_regular(path)
        data = _DECODER.decode(content.decode("utf-8")) if mention.encode() in content else None
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and _is_whole(data) else None


def _is_whole(record: dict[str, Any]) -> bool:
    """Tell whether a record has what its readers rely on, in the types that they rely on."""
    if not _fits(record, _RECORD) or not _fits(record["plan"], _PLAN):
        return False
    parallel = record["mode"] == "parallel"
    result: Any = record.get("foreground_result") if parallel else record
    if not _fits(result, _TRAINING) or parallel is not ("foreground_result" in record):
        return False
    further = record.get("further_backgrounds", [])
    loads = [record.get("background_info"), *(further if isinstance(further, list) else [None])]
    return (
        _fits(result["energy_metrics"], _ENERGY)
        and _fits(result["quality"], _QUALITY)
        and _all_are(result["hyperparameters"].values(), _NUMBER)
        and _all_are(result["performance_metrics"].values(), _NUMBER_OR_NULL)
        and _all_are([*result["quality"]["flags"], *record["plan"]["mutated"]], str)
        and isinstance(record.get("pair"), _OBJECT_OR_NULL)
        and (not parallel or all(_fits(load, _LOAD) for load in loads))
        and (not parallel or _all_are([load.get("window") for load in loads], _OBJECT_OR_NULL))
    )


def _fits(value: Any, types: Mapping[str, Any]) -> bool:
    return isinstance(value, dict) and all(
        key in value and isinstance(value[key], kind) for key, kind in types.items()
    )


def _all_are(values: Iterable[object], kind: Any) -> bool:
    return all(isinstance(value, kind) for value in values)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


_DECODER = json.JSONDecoder(parse_constant=_no_number)
