"""The JSON Schemas of what people write: faults explained, unknown keys told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from wattest.config.jsonfile import Keys, is_annotation, type_name
from wattest.config.suggest import near_miss
from wattest.errors import Fault, json_path

_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


def schema_faults(data: object, schema: str, shown: str) -> list[Fault]:
    """Return one fault for each place where `data` breaks the named schema."""
    errors = [
        error
        for error in _validator(schema).iter_errors(data)
        if not (error.validator == "pattern" and error.instance == "")
    ]
    faults = [Fault(shown, json_path(error.absolute_path), _explain(error)) for error in errors]
    return list(dict.fromkeys(faults))


def unknown_keys(
    mapping: Mapping[str, Any],
    known: Sequence[str],
    keys: Keys,
    shown: str,
    elsewhere: Mapping[str, str] | None = None,
) -> tuple[list[Fault], list[Fault]]:
    """Return (errors, warnings) for the keys of `mapping` that are neither known nor annotations.

    A near miss of a known key is an error, since it would run another experiment than was meant;
    so is a key that is known `elsewhere`, at the place that is said there.
    """
    errors, warnings = [], []
    for key in mapping:
        if key in known or is_annotation(key):
            continue
        path = json_path([*keys, key])
        if elsewhere and key in elsewhere:
            errors.append(Fault(shown, path, f"has no meaning here; it belongs {elsewhere[key]}"))
            continue
        meant = near_miss(key, known)
        if meant is None:
            warnings.append(Fault(shown, path, "is not a known key and is ignored"))
        else:
            text = f"is not a known key; did you mean {meant!r}? (free text: begin it with _)"
            errors.append(Fault(shown, path, text))
    return errors, warnings


def schema_folder() -> Path:
    """Return the folder of the JSON schemas: in the checkout, or inside an installed wheel."""
    packaged = Path(__file__).parents[1] / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "config" / "schemas"


def load_schema(name: str) -> dict[str, Any]:
    """Return the schema called `name` (``settings``, ``models_config`` or ``result``)."""
    text = (schema_folder() / f"{name}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    # JSON Schema takes 2.0 for an integer, which no caller of `range` does.
    checker = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    strict: Any = extend(Draft202012Validator, type_checker=checker)  # type: ignore[no-untyped-call]
    return strict(load_schema(name))


def _explain(error: Any) -> str:
    """Turn a validation error into what the reader should change."""
    value, keyword, limit = error.instance, error.validator, error.validator_value
    if keyword == "type":
        wanted = limit if isinstance(limit, str) else " or ".join(limit)
        return f"must be of type {wanted}, is {type_name(value)} ({_short(value)})"
    if keyword == "enum":
        return f"must be one of {', '.join(map(repr, limit))}, is {_short(value)}"
    if keyword == "required":
        missing = [name for name in limit if name not in value]
        return f"lacks {', '.join(map(repr, missing))}; add it"
    if keyword in _BOUNDS:
        return f"must be {_BOUNDS[keyword]} {limit}, is {_short(value)}"
    if keyword in ("minItems", "maxItems") and limit == 2:
        return f"must be two numbers, [smallest, largest], is {_short(value)}"
    if keyword in ("minItems", "minLength", "minProperties"):
        return "must not be empty"
    if keyword == "pattern":
        return f"{_short(value)} must {error.schema['$comment']}"
    if keyword == "uniqueItems":
        return f"names something twice: {_short(value)}"
    if keyword in ("anyOf", "oneOf") and error.context:
        return "; or ".join(dict.fromkeys(_explain(inner) for inner in error.context))
    return str(error.message)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
