"""JSON files as people write them: read with every fault named, and without what is free text."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.errors import ConfigurationError, Fault, json_path
from wattest.files import obstacle, read_regular

Keys = tuple[str | int, ...]

# The schemas have the same pattern, for editors.
_ANNOTATION = re.compile(r"^([_$]|(comment|notes?|description)(_|$))")
_TYPE_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}
# Objects whose keys are names that somebody chose, each with what tells the value of a name that
# reads like an annotation from free text.
_NAMED_VALUES: dict[str | None, Callable[[Any], bool]] = {
    "models": lambda value: isinstance(value, dict),
    "supported_hyperparams": lambda value: isinstance(value, dict),
    "hyperparameters": lambda value: isinstance(value, int | float),
    "levels": lambda value: isinstance(value, list) and not any(isinstance(x, str) for x in value),
    "log_patterns": lambda value: isinstance(value, str) and "(" in value,
    "better": lambda value: value in ("higher", "lower"),
    "required_args": lambda value: isinstance(value, str) and value.lstrip().startswith("-"),
    "environment": lambda value: isinstance(value, str),
}
_MOST_DIGITS = 19
_SURROGATE = re.compile("[\ud800-\udfff]")
_DEEPEST = 100
_PLAIN = "names and texts stand in double quotes, with no comment and no comma before ] or }"


@dataclass(frozen=True)
class _Unusable:
    """What stands in place of a value that cannot be used, with the reason."""

    reason: str


def read_json(path: Path, shown: str) -> dict[str, Any]:
    """Return the JSON object in the file at `path`, without the annotations in it.

    `shown` names the file in every fault.

    Raises:
        ConfigurationError: the file is missing, unreadable, not UTF-8, not JSON, not an object,
            or gives a key twice (annotations may repeat).
    """
    data = _parsed(path, shown)
    if not isinstance(data, dict):
        raise ConfigurationError([Fault(shown, "$", f"must be an object, is {type_name(data)}")])
    faults: list[Fault] = []
    plain: dict[str, Any] = _plain(data, (), None, faults, shown)
    if faults:
        raise ConfigurationError(faults)
    return plain


def _parsed(path: Path, shown: str) -> Any:
    try:
        text = read_regular(path).decode("utf-8-sig")
        if not text.strip():
            raise _fault(shown, "is not JSON: it is empty")
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_number,
            parse_float=lambda word: (
                float(word) if math.isfinite(float(word)) else _no_number(word)
            ),
            parse_int=lambda word: (
                int(word) if len(word.lstrip("-")) <= _MOST_DIGITS else _no_number(word)
            ),
        )
    except FileNotFoundError:
        reason = obstacle(path) or f"no such file ({path}); {_guess(path)}"
        raise _fault(shown, reason) from None
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        if os.path.isdir(path):  # noqa: PTH112 - a method of Path raises for what it may not see
            reason = "is a directory; name the JSON file in it"
        raise _fault(shown, reason) from None
    except UnicodeDecodeError as error:
        raise _fault(shown, f"is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _fault(shown, f"is not JSON: {error.msg} at {where}; {_PLAIN}") from None
    except RecursionError:
        raise _fault(shown, "is nested too deeply to be settings") from None


def type_name(value: object) -> str:
    """Return how a person calls the JSON type of `value`."""
    return _TYPE_NAMES.get(type(value), "a value")


def _plain(value: Any, keys: Keys, place: str | None, faults: list[Fault], shown: str) -> Any:
    """Return a JSON value without the free text in it, and add to `faults` what cannot be used.

    `keys` lead to it; `place` is the last of them, unless that is a name that somebody chose.
    """
    if len(keys) >= _DEEPEST:
        raise _fault(shown, "is nested too deeply to be settings")
    if isinstance(value, _Unusable):
        faults.append(Fault(shown, json_path(keys), value.reason))
    if any(isinstance(text, str) and _SURROGATE.search(text) for text in (*keys[-1:], value)):
        text = "holds half of a surrogate pair; write the character itself"
        faults.append(Fault(shown, json_path(keys), text))
    if isinstance(value, list):
        pairs = enumerate(value)
        return [_plain(one, (*keys, index), None, faults, shown) for index, one in pairs]
    if not isinstance(value, dict):
        return value
    return {
        key: _plain(one, (*keys, key), None if place in _NAMED_VALUES else key, faults, shown)
        for key, one in value.items()
        if not _is_free_text(key, one, place)
    }


def _is_free_text(key: str, value: object, place: str | None) -> bool:
    """Tell whether an entry of the object at `place` is an annotation.

    A variable of the environment may begin with ``_``, but then it is written in capitals; and
    among names ``note`` is one where its value could be that of one.
    """
    if place not in _NAMED_VALUES:
        return _is_annotation(key)
    is_private = key.startswith("_") and (place != "environment" or key.islower())
    return is_private or (_is_annotation(key) and not _NAMED_VALUES[place](value))


def _is_annotation(key: str) -> bool:
    """Tell whether `key` is free text for people, such as ``comment``, ``note_2`` or ``_todo``."""
    return _ANNOTATION.match(key) is not None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    for key, count in Counter(key for key, _ in pairs).items():
        if count > 1 and not _is_annotation(key):
            found[key] = _Unusable("is given twice; keep one of them")
    return found


def _no_number(word: str) -> _Unusable:
    shown = word if len(word) <= _MOST_DIGITS else f"{word[:10]}..."
    remedy = f"write a finite one, an integer with at most {_MOST_DIGITS} digits"
    return _Unusable(f"{shown} is no number that can be used; {remedy}")


def _guess(path: Path) -> str:
    """Return what may have been meant by a file that is not there."""
    there = [one.name for one in path.parent.glob("*.json")]
    near = difflib.get_close_matches(path.name, there, n=1, cutoff=0.8)
    return f"did you mean {near[0]}?" if near else "check the name and the directory"


def _fault(shown: str, text: str) -> ConfigurationError:
    return ConfigurationError([Fault(shown, "", text)])
