"""Writes docs/settings.md from the schemas: ``python docs/generate_settings.py``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wattest.config.schema import load_schema, properties_of

TARGET = Path(__file__).parents[1] / "docs/settings.md"
HEAD = """\
# Settings reference

Made from `config/schemas/*.schema.json` by `python docs/generate_settings.py`; do not edit.

A settings file says what a campaign trains, mutates and measures; the registry says how programs
are trained. Both are plain JSON. Name the schema in `"$schema"`, and an editor shows all of this.

Free annotations are allowed everywhere: `comment`, `note`, `notes`, `description`, and any key that
begins with `_`. Any other unknown key is reported: a near miss of a real key (of a hyper-parameter,
too) that does not stand right beside it, or a real key in the wrong place, stops the session; the
rest is warned about and ignored.
"""


def render() -> str:
    """Return the whole page."""
    lines = [HEAD]
    for title, schema, definitions in (
        ("Settings", "settings", ("entry", "foreground", "background", "design")),
        ("Registry", "models_config", ("program", "hyperparameter", "performance_metrics")),
    ):
        lines += [f"## {title}", ""]
        for definition in (None, *definitions):
            lines += _table(schema, definition)
    return "\n".join(lines).rstrip() + "\n"


def _table(schema: str, definition: str | None) -> Iterator[str]:
    whole = load_schema(schema)
    stated = whole["$defs"][definition] if definition else whole
    yield f"### {definition or 'the file'}"
    yield ""
    if "description" in stated:
        yield stated["description"]
        yield ""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key, value in properties_of(schema, definition).items():
        if key.startswith("$"):
            continue
        default = json.dumps(value["default"]) if "default" in value else ""
        star = " (required)" if key in stated.get("required", ()) else ""
        meaning = value.get("description", "").replace("|", "\\|")
        yield f"| `{key}`{star} | {_kind(value)} | {default} | {meaning} |"
    yield ""


def _kind(value: Mapping[str, Any]) -> str:
    if "enum" in value:
        words = (one if isinstance(one, str) else json.dumps(one) for one in value["enum"])
        return ", ".join(f"`{word}`" for word in words)
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
