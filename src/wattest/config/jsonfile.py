"""JSON files as people write them: read with every fault named, checked against a schema."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.errors import ConfigurationError, Fault, json_path

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


def type_name(value: object) -> str:
    """Return how a person calls the JSON type of `value`."""
    return _TYPE_NAMES.get(type(value)) or ("an object" if isinstance(value, dict) else "a value")


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
