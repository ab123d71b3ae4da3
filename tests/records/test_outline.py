"""Which JSON is a record: what the outline of the schema asks for, and nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from benchmarks.campaigns import Campaign, Figures
from wattest.config.schema import load_schema
from wattest.records import read_record

DEFINITIONS = load_schema("result")["$defs"]
ODD = (None, True, 0, -1.5, "", "parallel", [], ["x", 1], {}, {"cpu_x": "y"})


def changed(document: Any, place: tuple[Any, ...] = ()) -> Iterator[Any]:
    """Yield the document with each part of it left out, and replaced by something odd."""
    whole = document
    for key in place:
        whole = whole[key]
    members: Any = range(len(whole)) if isinstance(whole, list) else whole
    for key in list(members) if isinstance(whole, (dict, list)) else ():
        for value in (..., *ODD):
            other = copy.deepcopy(document)
            part = other
            for one in place:
                part = part[one]
            if value is ...:
                del part[key]
            else:
                part[key] = value
            yield other
        if len(place) < 2:
            yield from changed(document, (*place, key))


@pytest.mark.parametrize("arm", ["alone", "parallel"])
def test_a_record_is_what_a_whole_validator_takes_for_one(tmp_path: Path, arm: str) -> None:
    path = Campaign(tmp_path).run({"learning_rate": 0.1}, Figures(), arm)
    validator = Draft202012Validator({"$ref": "#/$defs/outline", "$defs": DEFINITIONS})
    verdicts = set()
    whole = json.loads(path.read_text())
    for document in changed(whole):
        path.write_text(json.dumps(document))
        told = read_record(path) is not None
        assert told == validator.is_valid(document), document
        verdicts.add(told)
    assert verdicts == {True, False}
