"""Writes docs/settings.md from the schemas: ``python docs/generate_settings.py``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs/settings.md"
HEAD = """\
# Settings reference

Made from `config/schemas/*.schema.json` by `python docs/generate_settings.py`; do not edit.

A settings file says what a campaign trains, mutates and measures; the registry says how programs
are trained. Both are plain JSON. Name the schema in `"$schema"`, and an editor shows all of this.

Free annotations are allowed everywhere: `comment`, `note`, `notes`, `description`, and any key that
begins with `_`. Any other unknown key is reported: a near miss of a real key, or a real key in the
wrong place, stops the session; the rest is warned about and ignored.
"""


def render() -> str:
    """Return the whole page."""
    lines = [HEAD]
    for title, name, definitions in (
        ("Settings", "settings", ("entry", "foreground", "background")),
        ("Registry", "models_config", ("program", "hyperparameter")),
    ):
        path = ROOT / f"config/schemas/{name}.schema.json"
        schema = json.loads(path.read_text(encoding="utf-8"))
        lines += [f"## {title}", ""]
        lines += _table("the file", schema, schema)
        for definition in definitions:
            lines += _table(definition, schema["$defs"][definition], schema)
    return "\n".join(lines).rstrip() + "\n"


def _table(name: str, definition: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    if "description" in definition:
        yield definition["description"]
        yield ""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    required = definition.get("required", ())
    for key, stated in definition["properties"].items():
        if key.startswith("$"):
            continue
        value = _resolved(stated, schema)
        default = json.dumps(value["default"]) if "default" in value else ""
        star = " (required)" if key in required else ""
        meaning = value.get("description", "").replace("|", "\\|")
        yield f"| `{key}`{star} | {_kind(value, schema)} | {default} | {meaning} |"
    yield ""


def _resolved(value: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(value)
    for inner in [value, *value.get("allOf", ())]:
        if "$ref" in inner:
            target = schema["$defs"][inner["$ref"].rsplit("/", 1)[1]]
            merged = {**_resolved(target, schema), **merged}
    return merged


def _kind(value: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    if "anyOf" in value:
        return " or ".join(_kind(_resolved(one, schema), schema) for one in value["anyOf"])
    if "else" in value:
        return "object or list of objects"
    kind = value.get("type", "")
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    bounds = [
        f"{sign} {value[key]}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"))
        if key in value
    ]
    return ", ".join([text, *bounds])


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
