"""Records as they lie on disk: what is foreign, damaged or no file at all is none."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from wattest.config.schema import load_schema
from wattest.files import read_regular

_DRAFT = "http://json-schema.org/draft-07/schema"
# What is longer has no place among floats.
_LONGEST_INTEGER = 300


def read_record(path: Path, mention: str = "") -> dict[str, Any] | None:
    """Return the record at `path`; None for what is none, is damaged, or lacks `mention`.

    It has what the schema's outline asks for: what its readers rely on. The whole schema would
    take them milliseconds a record.
    """
    try:
        content = read_regular(path)
        if mention.encode(errors="replace") not in content:
            return None
        text = content.decode("utf-8")
        data = json.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_whole)
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and _outline()(data) else None


def result_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a record says of its training, or of its load alone."""
    result: Mapping[str, Any] = record.get("foreground_result", record)
    return result


def loads_of(record: Mapping[str, Any]) -> list[Any]:
    """Return what a record says of its loads, one by one."""
    first = record.get("background_info")
    return [] if first is None else [first, *record.get("further_backgrounds", ())]


@cache
def _outline() -> Callable[[object], bool]:
    """Return what tells whether a document has the outline of a record.

    It is compiled: in the time that jsonschema takes for one record it checks a dozen. It knows
    drafts up to 7, in which the keywords of the outline mean the same if none stands beside $ref.
    """
    from fastjsonschema import JsonSchemaValueException, compile

    definitions = load_schema("result")["$defs"]
    schema = {"$schema": _DRAFT, "$ref": "#/$defs/outline", "$defs": definitions}
    check = compile(schema, use_default=False, use_formats=False)

    def has_outline(document: object) -> bool:
        try:
            check(document)
        except JsonSchemaValueException:
            return False
        return True

    return has_outline


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _finite(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        _no_number(word)
    return number


def _whole(word: str) -> int:
    if len(word) > _LONGEST_INTEGER:
        _no_number(word)
    return int(word)
