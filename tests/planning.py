"""Settings of the toy programs, and what becomes of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from conftest import Project, toy_registry
from wattest.config.registry import Registry, load_registry
from wattest.config.settings import Settings, load_settings
from wattest.errors import ConfigurationError
from wattest.plan.expand import expand
from wattest.plan.experiment import Plan

FIXED: dict[str, Any] = {"repo": "toy", "model": "small", "hyperparameters": {}}
MUTANT: dict[str, Any] = {"repo": "toy", "model": "small", "mutate": ["epochs"]}
PARALLEL: dict[str, Any] = {"foreground": MUTANT, "background": FIXED}


def document(*entries: object, **top: object) -> dict[str, Any]:
    """Return settings with these entries."""
    return {"experiments": list(entries), **top}


def known_programs(folder: Path, registry: dict[str, Any] | None = None) -> Registry:
    """Return the toy programs, or those of `registry`, read from ``registry.json`` in `folder`."""
    path = folder / "registry.json"
    path.write_text(json.dumps(registry or toy_registry()), encoding="utf-8")
    return load_registry(path, folder, "registry.json")


def load(folder: Path, content: object, registry: dict[str, Any] | None = None) -> Settings:
    """Return settings of this content, read from ``test.json`` in `folder`."""
    known = known_programs(folder, registry)
    path = folder / "test.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return load_settings(path, known, "test.json")


def plan(folder: Path, *entries: object, seed: int = 7, **top: Any) -> Plan:
    """Return the plan of these entries; `known`, where given, is the registry."""
    known = top.pop("known", None)
    return expand(load(folder, document(*entries, **top), known), seed)


def faults_of(folder: Path, content: object, registry: dict[str, Any] | None = None) -> list[str]:
    """Return the lines that refuse to plan settings of this content."""
    with pytest.raises(ConfigurationError) as caught:
        expand(load(folder, content, registry), seed=1)
    return str(caught.value).splitlines()


def assert_refused(project: Project, expected: str, file: str) -> list[str]:
    """Return the lines with which pytest refuses to run, which are all about `file`."""
    errors = project.refusal().stderr.str().splitlines()
    lines = [line for line in errors if line.startswith("ERROR:")]
    assert any(re.search(expected, line) for line in lines), lines
    assert all(line.startswith(f"ERROR: {file}") for line in lines), lines
    assert not list((project.path / "results").glob("training_*"))
    return lines
