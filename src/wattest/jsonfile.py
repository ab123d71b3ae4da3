"""JSON files as people write them: read with every fault named, checked against a schema."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from wattest.errors import ConfigurationError
from wattest.faults import Fault, json_path, near_miss

Keys = tuple[str | int, ...]

_ANNOTATIONS = ("comment", "note", "notes", "description")
_TYPE_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}
# What the values of objects that map names to something are, by the key of the object.
_NAMED_VALUES: dict[str, type | tuple[type, ...]] = {
    "models": dict,
    "supported_hyperparams": dict,
    "hyperparameters": (int, float),
    "log_patterns": str,
    "required_args": str,
    "environment": str,
}
_LONGEST_INTEGER = 19
_DEEPEST = 100
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


@dataclass(frozen=True)
class _NoNumber:
    """What a file has in place of a number that can be used."""

    word: str


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys were written twice."""

    repeated: tuple[str, ...] = ()


def is_annotation(key: str) -> bool:
    """Tell whether `key` is free text for people, such as ``comment``, ``note_2`` or ``_todo``."""
    return key.startswith(("_", "$")) or any(
        key == name or key.startswith(f"{name}_") for name in _ANNOTATIONS
    )


def read_json(path: Path, shown: str) -> dict[str, Any]:
    """Return the JSON object in the file at `path`; `shown` names the file in every fault.

    Raises:
        ConfigurationError: the file is missing, unreadable, not UTF-8, not JSON, not an object,
            or gives a key twice (annotations may repeat).
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        data = json.loads(
            text,
            object_pairs_hook=_build_object,
            parse_constant=_NoNumber,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except FileNotFoundError:
        raise _fault(shown, f"no such file ({path}); check the name and the directory") from None
    except IsADirectoryError:
        raise _fault(shown, "is a directory; name the JSON file in it") from None
    except OSError as error:
        raise _fault(shown, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise _fault(shown, f"is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _fault(shown, f"is not JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise _fault(shown, "is nested too deeply to be settings") from None
    except ValueError as error:
        raise _fault(shown, f"is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ConfigurationError([Fault(shown, "$", f"must be an object, is {type_name(data)}")])
    faults = [fault for keys, value in _walk(data) for fault in _own_faults(keys, value, shown)]
    if faults:
        raise ConfigurationError(faults)
    return data


def drop_remarks(data: object) -> None:
    """Remove the annotations in objects that map names to something: they are no names.

    A variable of the environment may begin with ``_``, but then it is written in capitals; and
    ``note`` is a name where its value could be that of one.
    """
    for keys, value in list(_walk(data)):
        kind = _NAMED_VALUES.get(str(keys[-1])) if keys else None
        if kind is None or not isinstance(value, dict):
            continue
        for key in list(value):
            is_private = key.startswith("_") and (keys[-1] != "environment" or key.islower())
            if is_private or (is_annotation(key) and not isinstance(value[key], kind)):
                del value[key]


def _own_faults(keys: Keys, value: object, shown: str) -> Iterator[Fault]:
    """Yield what is wrong with a value before any schema is asked."""
    if len(keys) >= _DEEPEST:
        raise _fault(shown, "is nested too deeply to be settings")
    if isinstance(value, _Object):
        for key in value.repeated:
            if not is_annotation(key):
                yield Fault(shown, json_path([*keys, key]), "is given twice; keep one of them")
    if isinstance(value, _NoNumber):
        text = f"{value.word} is no number that can be used; write a finite one"
        yield Fault(shown, json_path(keys), text)
    if not _is_text(value) or not all(_is_text(key) for key in keys):
        text = "holds half of a surrogate pair; write the character itself"
        yield Fault(shown, json_path(keys), text)


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
    packaged = Path(__file__).parent / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "config" / "schemas"


def load_schema(name: str) -> dict[str, Any]:
    """Return the schema called `name` (``settings``, ``models_config`` or ``result``)."""
    text = (schema_folder() / f"{name}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def type_name(value: object) -> str:
    """Return how a person calls the JSON type of `value`."""
    return _TYPE_NAMES.get(type(value)) or ("an object" if isinstance(value, dict) else "a value")


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


def _is_text(value: object) -> bool:
    """Tell whether `value`, if it is a string, can be written anywhere."""
    return not isinstance(value, str) or not any("\ud800" <= char <= "\udfff" for char in value)


def _build_object(pairs: list[tuple[str, Any]]) -> _Object:
    built = _Object(pairs)
    if len(built) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        built.repeated = tuple(key for key, count in counts.items() if count > 1)
    return built


def _bounded(word: str) -> int | _NoNumber:
    return _NoNumber(f"{word[:10]}...") if len(word) > _LONGEST_INTEGER else int(word)


def _finite(word: str) -> float | _NoNumber:
    number = float(word)
    return number if math.isfinite(number) else _NoNumber(word)


def _walk(whole: object) -> Iterator[tuple[Keys, object]]:
    """Yield every value with its place, in the order of the file."""
    rest: list[tuple[Keys, object]] = [((), whole)]
    while rest:
        keys, value = rest.pop()
        yield keys, value
        inner: list[tuple[str | int, object]] = []
        if isinstance(value, dict):
            inner = list(value.items())
        elif isinstance(value, list):
            inner = list(enumerate(value))
        rest += [((*keys, key), one) for key, one in reversed(inner)]


def _fault(shown: str, text: str) -> ConfigurationError:
    return ConfigurationError([Fault(shown, "", text)])
