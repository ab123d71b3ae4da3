"""The JSON Schemas of what people write: what they allow, and their faults explained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from wattest.config.jsonfile import type_name
from wattest.config.suggest import near_miss
from wattest.errors import Fault, json_path

_TEXTS = {
    "minimum": "must be at least {limit}, is {value}",
    "exclusiveMinimum": "must be more than {limit}, is {value}",
    "maximum": "must be at most {limit}, is {value}",
    "exclusiveMaximum": "must be less than {limit}, is {value}",
    "minItems": "must not be empty",
    "minLength": "must not be empty",
    "minProperties": "must not be empty",
    "uniqueItems": "names something twice: {value}",
}


def schema_faults(data: object, schema: str, shown: str) -> list[Fault]:
    """Return one fault for each place where `data` breaks the named schema."""
    faults = [
        Fault(shown, json_path(error.absolute_path), _explain(error))
        for error in _errors(data, schema)
    ]
    return list(dict.fromkeys(faults))


def written_faults(
    data: object, schema: str, shown: str, elsewhere: Mapping[str, str] | None = None
) -> tuple[list[Fault], list[Fault]]:
    """Return (errors, warnings) for what a person wrote; unknown keys come before their values.

    An unknown key is a warning. But a near miss of a known key is an error, since it would run
    another experiment than was meant, unless that key stands right beside it; so is a key that
    has a meaning `elsewhere`, at the place that is said there.
    """
    unknown: list[Fault] = []
    warnings: list[Fault] = []
    others: list[Fault] = []
    for error in _errors(data, schema):
        if error.validator != "additionalProperties":
            others.append(Fault(shown, json_path(error.absolute_path), _explain(error)))
            continue
        known = list(error.schema["properties"])
        for key in (key for key in error.instance if key not in known):
            places = elsewhere if elsewhere and error.absolute_path else {}
            is_error, text = _unknown(key, error.instance, known, places)
            fault = Fault(shown, json_path([*error.absolute_path, key]), text)
            (unknown if is_error else warnings).append(fault)
    return list(dict.fromkeys(unknown + others)), warnings


def properties_of(schema: str, definition: str | None = None) -> dict[str, dict[str, Any]]:
    """Return what a schema says of each key at its top, or in one of its definitions."""
    whole = load_schema(schema)
    properties = (whole["$defs"][definition] if definition else whole)["properties"]
    return {key: _resolved(stated, whole["$defs"]) for key, stated in properties.items()}


def defaults_of(schema: str, definition: str | None = None) -> dict[str, Any]:
    """Return the default of every key that has one."""
    stated = properties_of(schema, definition)
    return {key: one["default"] for key, one in stated.items() if "default" in one}


def schema_folder() -> Path:
    """Return the folder of the JSON schemas: in the checkout, or inside an installed wheel."""
    packaged = Path(__file__).parents[1] / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "config" / "schemas"


@cache
def load_schema(name: str) -> dict[str, Any]:
    """Return the schema called `name` (``settings``, ``models_config`` or ``result``)."""
    text = (schema_folder() / f"{name}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _resolved(stated: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stated of a key, with what it refers to."""
    reference = stated.get("$ref")
    if reference is None:
        return dict(stated)
    return {**_resolved(definitions[reference.rpartition("/")[2]], definitions), **stated}


def _errors(data: object, schema: str) -> Iterator[Any]:
    for error in _validator(schema).iter_errors(data):
        is_said = error.instance == "" and "minLength" in error.schema
        if error.validator != "pattern" or not is_said:
            yield error


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


def _unknown(
    key: str, beside: Mapping[str, Any], known: Sequence[str], elsewhere: Mapping[str, str]
) -> tuple[bool, str]:
    """Return whether an unknown key is an error, and what to do about it."""
    if key in elsewhere:
        return True, f"has no meaning here; it belongs {elsewhere[key]}"
    meant = near_miss(key, known)
    if meant is None:
        return False, "is not a known key and is ignored"
    if meant in beside:
        return False, f"is not a known key and is ignored: {meant!r} stands beside it"
    return True, f"is not a known key; did you mean {meant!r}? (free text: begin it with _)"


def _explain(error: Any) -> str:
    """Turn a validation error into what the reader should change."""
    value, keyword, limit = error.instance, error.validator, error.validator_value
    if keyword == "type":
        wanted = limit if isinstance(limit, str) else " or ".join(limit)
        return f"must be of type {wanted}, is {type_name(value)} ({_short(value)})"
    if keyword == "required":
        missing = [name for name in limit if name not in value]
        return f"lacks {', '.join(map(repr, missing))}; add it"
    if keyword == "pattern":
        return f"{_short(value)} must {error.schema['$comment']}"
    if keyword in ("minItems", "maxItems") and limit == 2:
        return f"must be two numbers, [smallest, largest], is {_short(value)}"
    if keyword in ("anyOf", "oneOf") and error.context:
        return "; or ".join(dict.fromkeys(_explain(inner) for inner in error.context))
    if keyword == "enum":
        words = [one for one in limit if isinstance(one, str)]
        meant = near_miss(value, words) if isinstance(value, str) else None
        hint = f"; did you mean {meant!r}?" if meant else ""
        return f"must be one of {', '.join(map(_short, limit))}, is {_short(value)}{hint}"
    text = _TEXTS.get(keyword, "{message}")
    return text.format(limit=limit, value=_short(value), message=error.message)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
