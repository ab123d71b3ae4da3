"""The plan on disk: written before the first training, so that a campaign resumes exactly."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.errors import ConfigurationError
from wattest.faults import Fault
from wattest.identity import digest_of, slug
from wattest.plan import Plan
from wattest.registry import Value
from wattest.results import give_back, write_atomically


@dataclass(frozen=True)
class StoredPlan:
    """What an earlier session decided: its seed and the mutants it drew for every entry."""

    path: Path
    seed: int
    digest: str
    settings_digest: str
    program_digests: Mapping[str, str]
    mutants: Mapping[str, list[dict[str, Value]]]


def plan_file(results: Path, settings_file: str) -> Path:
    """Return where the plan of these settings lies."""
    return results / "plans" / f"{slug(Path(settings_file).stem)}.json"


def store(results: Path, plan: Plan) -> Path:
    """Write the plan of a session that is about to run."""
    path = plan_file(results, plan.settings.file)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(document(plan), indent=1, ensure_ascii=False))
    for made in (path.parent, path):
        give_back(made)
    return path


def document(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON: how it came about, and every experiment in order."""
    return {
        "settings_file": plan.settings.file,
        "experiment_name": plan.settings.experiment_name,
        "root_seed": plan.seed,
        "order": plan.order,
        "plan_digest": plan.digest,
        "settings_digest": digest_of(plan.settings.document),
        "program_digests": _program_digests(plan),
        "mutants": {path: list(mutants) for path, mutants in plan.mutants.items()},
        "experiments": [
            {
                "position": position,
                "block": experiment.block,
                "id": experiment.id,
                "key": experiment.key,
                "mode": experiment.mode,
                "repository": experiment.foreground.program.name,
                "model": experiment.foreground.model,
                "hyperparameters": dict(experiment.foreground.hyperparameters),
                "mutated": sorted(experiment.mutated),
                "repetition": experiment.repetition,
                "background": [load.identity() for load in experiment.backgrounds],
                "partner": experiment.partner,
            }
            for position, experiment in enumerate(plan.experiments, start=1)
        ],
    }


def load_stored(results: Path, settings_file: str) -> StoredPlan | None:
    """Return the plan that an earlier session with these settings left; None where there is none.

    Raises:
        ConfigurationError: the file is there and is no plan.
    """
    path = plan_file(results, settings_file)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return StoredPlan(
            path,
            data["root_seed"],
            data["plan_digest"],
            data["settings_digest"],
            data["program_digests"],
            data["mutants"],
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = f"is no plan ({error}); remove it to start the campaign anew"
        raise ConfigurationError([Fault(str(path), "", text)]) from None


def changes(stored: StoredPlan, plan: Plan) -> list[Fault]:
    """Return what keeps `plan` from being the continuation of `stored`."""
    shown = str(stored.path)
    remedy = "undo the change, or start anew without --resume"
    found = []
    if stored.seed != plan.seed:
        text = f"was made with seed {stored.seed}, not {plan.seed}; leave --seed out, or start anew"
        found.append(Fault(shown, "$.root_seed", text))
    if stored.settings_digest != digest_of(plan.settings.document):
        text = f"{plan.settings.file} has changed since this plan was made; {remedy}"
        found.append(Fault(shown, "$.settings_digest", text))
    for name, digest in _program_digests(plan).items():
        if stored.program_digests.get(name, digest) != digest:
            text = f"the registry's entry of {name} has changed since this plan was made; {remedy}"
            found.append(Fault(shown, "$.program_digests", text))
    if not found and stored.digest != plan.digest:
        text = f"the same settings and seed give another plan now; {remedy}"
        found.append(Fault(shown, "$.plan_digest", text))
    return found


def finished_keys(results: Path, plan: Plan) -> dict[str, Path]:
    """Return the record of every experiment of `plan` that has already counted."""
    wanted = {experiment.key for experiment in plan.experiments}
    found: dict[str, Path] = {}
    for path in _records(results):
        record = _read(path)
        if record is None:
            continue
        planned = record.get("plan")
        if not isinstance(planned, dict) or planned.get("plan_digest") != plan.digest:
            continue
        result = record.get("foreground_result", record)
        key = planned.get("experiment_key")
        if key in wanted and result.get("training_success") is True:
            found.setdefault(str(key), path)
    return found


def _records(results: Path) -> Iterable[Path]:
    return sorted(path for path in results.glob("*.json") if not path.name.startswith("."))


def _read(path: Path) -> dict[str, Any] | None:
    """Return a record, or None for what is not one: a damaged file is no finished experiment."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _program_digests(plan: Plan) -> dict[str, str]:
    programs = {
        training.program.name: training.program
        for experiment in plan.experiments
        for training in (experiment.foreground, *experiment.backgrounds)
    }
    return {name: digest_of(program.definition) for name, program in sorted(programs.items())}
