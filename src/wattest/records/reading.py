"""Records as they lie on disk: what is foreign, damaged or no file at all is none."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wattest.config.schema import load_schema
from wattest.files import read_regular

_TYPES: dict[str, set[type]] = {
    "object": {dict}, "array": {list}, "string": {str}, "boolean": {bool}, "null": {type(None)},
    "integer": {int}, "number": {int, float},
}  # fmt: skip
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
    definitions = load_schema("result")["$defs"]
    is_record = isinstance(data, dict) and has_form(data, definitions["outline"], definitions)
    return data if is_record else None


def has_form(value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> bool:
    """Tell whether what was read from JSON is as a schema says, by the keywords of the outline.

    A validator of all keywords takes four times as long, which is more than the rest of reading.

    Raises:
        NotImplementedError: the schema has another keyword.
    """

    def fits(one: Any, part: Mapping[str, Any]) -> bool:
        return has_form(one, part, definitions)

    for word, said in schema.items():
        if word == "type":
            kinds = [said] if isinstance(said, str) else said
            keeps = any(type(value) in _TYPES[kind] for kind in kinds)
        elif word == "const":
            keeps = value == said
        elif word == "not":
            keeps = not fits(value, said)
        elif word == "$ref":
            keeps = fits(value, definitions[said.rpartition("/")[2]])
        elif word == "if":
            keeps = fits(value, schema["then" if fits(value, said) else "else"])
        elif word == "minLength":
            keeps = not isinstance(value, str) or len(value) >= said
        elif word == "required":
            keeps = not isinstance(value, dict) or all(name in value for name in said)
        else:
            keeps = all(fits(one, part) for one, part in _parts(value, word, said))
        if not keeps:
            return False
    return True


def _parts(value: Any, word: str, said: Any) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Yield the members that a keyword speaks of, each with what it says of it."""
    members = value if isinstance(value, dict) else {}
    if word == "properties":
        yield from ((members[name], part) for name, part in said.items() if name in members)
    elif word == "patternProperties":
        for pattern, part in said.items():
            yield from ((one, part) for name, one in members.items() if re.search(pattern, name))
    elif word == "additionalProperties":
        yield from ((one, said) for one in members.values())
    elif word == "items":
        yield from ((one, said) for one in (value if isinstance(value, list) else ()))
    elif word not in ("description", "then", "else"):
        raise NotImplementedError(word)


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
