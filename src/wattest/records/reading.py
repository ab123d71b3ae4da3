"""Records as they lie on disk: what is foreign, damaged or no file at all is none."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from wattest.config.schema import load_schema
from wattest.files import read_regular


def read_record(path: Path, mention: str = "") -> dict[str, Any] | None:
    """Return the record at `path`; None for what is none, is damaged, or lacks `mention`.

    It has what the schema's outline asks for: what its readers rely on. The whole schema would
    take them milliseconds a record.
    """
    try:
        content = read_regular(path)
        if mention.encode(errors="replace") not in content:
            return None
        data = json.loads(content.decode("utf-8"), parse_constant=_no_number)
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and _outline().is_valid(data) else None


@cache
def _outline() -> Any:
    from jsonschema import Draft202012Validator

    definitions = load_schema("result")["$defs"]
    return Draft202012Validator({"$ref": "#/$defs/outline", "$defs": definitions})


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")
