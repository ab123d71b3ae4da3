"""What the schema of records says of parts of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMA = Path(__file__).parents[1] / "config" / "schemas" / "result.schema.json"


def energy_faults(metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> list[str]:
    """Return why a record with this energy would be refused."""
    definitions = json.loads(SCHEMA.read_text(encoding="utf-8"))["$defs"]
    schema = {"$ref": "#/$defs/accounted", "$defs": definitions}
    told = {"energy_metrics": metrics, "energy_provenance": provenance}
    errors = Draft202012Validator(schema).iter_errors(told)
    return [f"{error.json_path}: {error.message[-200:]}" for error in errors]
