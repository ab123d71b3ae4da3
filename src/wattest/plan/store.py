"""The plan on disk: written before the first training, so that a campaign resumes exactly."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wattest.config.program import Value
from wattest.errors import ConfigurationError, Fault
from wattest.files import give_back, read_regular, write_atomically
from wattest.names import digest_of, slug
from wattest.plan.experiment import Plan


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
    """Return where the plan of these settings lies; two files of one name have two plans.

    `settings_file` is the path as it is shown: relative to the project's root, or absolute. So a
    project that is moved with its results still finds its plans.
    """
    name = f"{slug(Path(settings_file).stem)}-{digest_of(settings_file)[:8]}"
    return results / "plans" / f"{name}.json"


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
        "settings_digest": plan.settings_digest,
        "program_digests": dict(plan.program_digests),
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
        return _stored(path, json.loads(read_regular(path)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        text = f"is no plan ({reason}); remove it to start the campaign anew"
        raise ConfigurationError([Fault(str(path), "", text)]) from None


def _stored(path: Path, data: Any) -> StoredPlan:
    """Return the plan in `data`; raise ValueError for anything else."""
    kinds = {"root_seed": int, "plan_digest": str, "settings_digest": str,
             "program_digests": dict, "mutants": dict}  # fmt: skip
    if not isinstance(data, dict):
        raise ValueError("it is no object")
    for name, kind in kinds.items():
        if type(data.get(name)) is not kind:
            raise ValueError(f"{name} is missing or of another type")
    for place, mutants in data["mutants"].items():
        if not isinstance(mutants, list) or not all(map(_is_mutant, mutants)):
            raise ValueError(f"the mutants of {place} are no list of values")
    return StoredPlan(path, *(data[name] for name in kinds))


def _is_mutant(value: Any) -> bool:
    return isinstance(value, dict) and all(
        type(inner) in (int, float) and math.isfinite(inner) for inner in value.values()
    )


def changes(stored: StoredPlan, plan: Plan) -> list[Fault]:
    """Return what keeps `plan` from being the continuation of `stored`."""
    shown = str(stored.path)
    remedy = "undo the change, or start anew without --resume"
    found = []
    if stored.seed != plan.seed:
        text = f"was made with seed {stored.seed}, not {plan.seed}; leave --seed out, or start anew"
        found.append(Fault(shown, "$.root_seed", text))
    if stored.settings_digest != plan.settings_digest:
        text = f"{plan.settings.file} has changed since this plan was made; {remedy}"
        found.append(Fault(shown, "$.settings_digest", text))
    for name, digest in plan.program_digests.items():
        if stored.program_digests.get(name, digest) != digest:
            text = f"the registry's entry of {name} has changed since this plan was made; {remedy}"
            found.append(Fault(shown, "$.program_digests", text))
    if not found and stored.digest != plan.digest:
        text = f"the same settings and seed give another plan now; {remedy}"
        found.append(Fault(shown, "$.plan_digest", text))
    return found
