"""Writes docs/record.md from the schema of records: ``python docs/generate_record.py``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wattest.config.schema import load_schema

TARGET = Path(__file__).parents[1] / "docs/record.md"
HEAD = """\
# Record reference

Made from `config/schemas/result.schema.json` by `python docs/generate_record.py`; do not edit.

One experiment leaves one JSON document, `results/{experiment_id}.json`. Unknown is `null`, never 0.
In records of mode `parallel` what the training came to stands under `foreground_result`; in all
others the same keys stand at the top. Keys are added over time and keep their names, units and
meanings; a reader passes over what it does not know. What the numbers of `energy_provenance` mean
stands in [measurement](measurement.md).
"""
_SECTIONS = {
    "the document": "",
    "what a training came to (the top, or `foreground_result`)": "outcome",
    "`energy_metrics`": "outcome.energy_metrics",
    "`quality`": "outcome.quality",
    "`energy_provenance`": "outcome.energy_provenance",
    "`energy_provenance.window`": "outcome.energy_provenance.window",
    "`energy_provenance.domains.*`": "outcome.energy_provenance.domains.cpu_pkg",
    "a zone of the CPU (`zones`)": "outcome.energy_provenance.domains.cpu_pkg.zones[]",
    "a GPU (`gpus`)": "outcome.energy_provenance.domains.gpu.gpus[]",
    "an attempt (`attempts`)": "outcome.attempts[]",
    "`background_info`": "background_info",
    "`background_info.window`": "background_info.window",
    "`load_alone`": "load_alone",
    "`plan`": "plan",
    "`environment`": "environment",
    "`pair`": "pair",
}
"""Title of each table to the place whose keys it shows."""


def render() -> str:
    """Return the whole page."""
    keys = dict(_places(load_schema("result")))
    lines = [HEAD]
    for title, place in _SECTIONS.items():
        rows = list(_rows(keys, place))
        if rows:
            lines += [f"## {title}", "", "| key | type | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def _rows(keys: Mapping[str, Mapping[str, Any]], place: str) -> Iterator[str]:
    prefix = f"{place}." if place else ""
    for path, stated in sorted(keys.items()):
        name = path.removeprefix(prefix)
        if path.startswith(prefix) and name and not set(".[") & set(name):
            meaning = stated.get("description", "").replace("|", "\\|")
            yield f"| `{name}` | {_kind(stated)} | {meaning} |"


def _kind(stated: Mapping[str, Any]) -> str:
    if "enum" in stated or "const" in stated:
        words = stated.get("enum", [stated.get("const")])
        return ", ".join(f"`{one}`" for one in words)
    kind = stated.get("type", "")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _places(whole: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every key by its place, with all that the schema states of it at any point.

    A training's keys are yielded below ``outcome``, wherever they stand in a document.
    """
    found: dict[str, dict[str, Any]] = {}
    _walk(whole, "", whole, found, ())
    yield from found.items()


def _walk(
    stated: Any, place: str, whole: Mapping[str, Any], found: dict[str, dict[str, Any]],
    within: tuple[str, ...],
) -> None:  # fmt: skip
    if not isinstance(stated, Mapping):
        return
    reference = stated.get("$ref", "")
    name = reference.rpartition("/")[2]
    if name and name not in within:
        inner = whole["$defs"][name]
        if name in ("outcome", "training", "accounted") and place in ("", "foreground_result"):
            _walk(inner, "outcome", whole, found, (*within, name))
        else:
            _walk(inner, place, whole, found, (*within, name))
    for key, value in stated.get("properties", {}).items():
        path = f"{place}.{key}" if place else key
        _note(path, value, whole, found)
        _walk(value, path, whole, found, within)
    if isinstance(stated.get("items"), Mapping):
        _walk(stated["items"], f"{place}[]", whole, found, within)
    if isinstance(stated.get("additionalProperties"), Mapping):
        _walk(stated["additionalProperties"], f"{place}.*", whole, found, within)
    for keyword in ("then", "else"):
        _walk(stated.get(keyword), place, whole, found, within)


def _note(
    path: str, value: Any, whole: Mapping[str, Any], found: dict[str, dict[str, Any]]
) -> None:
    """Keep what is stated of a key: of several statements each adds what the others do not say."""
    if not isinstance(value, Mapping):
        return
    known = found.setdefault(path, {})
    reference = value.get("$ref")
    inner = whole["$defs"][reference.rpartition("/")[2]] if reference else {}
    for source in (value, inner):
        for word in ("description", "type", "enum"):
            # A rule that demands null tells nobody the type.
            if word in source and source[word] != "null":
                known.setdefault(word, source[word])


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
