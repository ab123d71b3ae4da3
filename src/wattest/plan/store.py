"""Plans on disk: written before the first training and never again, so that a campaign resumes.

Another plan of the same settings (another seed, other values, another registry) lies beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from wattest.config.program import Value
from wattest.errors import ConfigurationError, Fault
from wattest.files import json_text, make_folder, read_regular, write_atomically
from wattest.names import composed, digest_of, slug
from wattest.plan.experiment import Plan

_KINDS = {"root_seed": int, "plan_digest": str, "settings_digest": str,
          "program_digests": dict, "mutants": dict}  # fmt: skip
_ANEW = "start anew (without --resume; wattest submit --new)"


@dataclass(frozen=True)
class StoredPlan:
    """What an earlier session decided: its seed and the mutants it drew for every entry.

    `planned_at` is local time in ISO 8601.
    """

    path: Path
    planned_at: str
    seed: int
    digest: str
    settings_digest: str
    program_digests: Mapping[str, str]
    mutants: Mapping[str, list[dict[str, Value]]]

    def __str__(self) -> str:
        return f"seed {self.seed}, planned {self.planned_at[:19].replace('T', ' ')}"


def store(results: Path, plan: Plan, session: Path | None = None) -> Path:
    """Write the plan of a session that is about to run, unless it lies there already.

    The folder of the `session` gets a `plan.json` that names it.
    """
    whole = digest_of([plan.digest, plan.settings_digest, dict(plan.program_digests)])
    path = results / "plans" / f"{_stem(plan.settings.file)}-{whole}.json"
    if not path.exists():
        make_folder(path.parent)
        told = {"planned_at": datetime.now().isoformat(), **document(plan)}
        write_atomically(path, json_text(told, indent=1))
    if session is not None:
        make_folder(session)
        write_atomically(session / "plan.json", json.dumps({"plan": path.name}))
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


def stored_plans(results: Path, settings_file: str) -> list[StoredPlan]:
    """Return the plans that earlier sessions with these settings left, the newest first.

    Two settings files of one name have plans of their own: `settings_file` is the path as it is
    shown, relative to the project's root or absolute. So a project that is moved with its results
    still finds its plans.

    Raises:
        ConfigurationError: a file is there and is no plan.
    """
    paths = (results / "plans").glob(f"{_stem(settings_file)}*.json")
    return sorted(map(_load, paths), key=lambda one: (one.planned_at, one.path), reverse=True)


def plan_of_session(results: Path, session: str) -> str:
    """Return the name of the file of the plan that a session has run.

    Raises:
        ConfigurationError: there is no such session, or it does not say.
    """
    path = results / "sessions" / slug(session) / "plan.json"
    try:
        return str(json.loads(read_regular(path))["plan"])
    except (OSError, ValueError, TypeError, LookupError):
        text = f"--session {session}: {path} names no plan; name the campaign's --seed instead"
        raise ConfigurationError([text]) from None


def _stem(settings_file: str) -> str:
    return f"{slug(Path(settings_file).stem)}-{digest_of(composed(settings_file))[:8]}"


def _load(path: Path) -> StoredPlan:
    try:
        return _stored(path, json.loads(read_regular(path)))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        text = f"is no plan ({reason}); remove it to start the campaign anew"
        raise ConfigurationError([Fault(str(path), "", text)]) from None


def _stored(path: Path, data: Any) -> StoredPlan:
    """Return the plan in `data`; raise ValueError for anything else."""
    if not isinstance(data, dict):
        raise ValueError("it is no object")
    for name, kind in _KINDS.items():
        if type(data.get(name)) is not kind:
            raise ValueError(f"{name} is missing or of another type")
    for place, mutants in data["mutants"].items():
        if not isinstance(mutants, list) or not all(map(_is_mutant, mutants)):
            raise ValueError(f"the mutants of {place} are no list of values")
    # Earlier versions did not say it.
    written = datetime.fromtimestamp(path.stat().st_mtime).isoformat()
    planned_at = str(data.get("planned_at", written))
    return StoredPlan(path, planned_at, *(data[name] for name in _KINDS))


def _is_mutant(value: Any) -> bool:
    return isinstance(value, dict) and all(
        type(inner) in (int, float) and math.isfinite(inner) for inner in value.values()
    )


def changes(stored: StoredPlan, plan: Plan) -> list[Fault]:
    """Return what keeps `plan` from being the continuation of `stored`."""
    remedy = f"undo the change, or {_ANEW}"
    found = []
    if stored.settings_digest != plan.settings_digest:
        text = f"{plan.settings.file} has changed since this plan was made; {remedy}"
        found.append(("settings_digest", text))
    for name, digest in plan.program_digests.items():
        if stored.program_digests.get(name, digest) != digest:
            text = f"the registry's entry of {name} has changed since this plan was made; {remedy}"
            found.append(("program_digests", text))
    if not found and stored.digest != plan.digest:
        found.append(("plan_digest", f"the same settings and seed give another plan now; {remedy}"))
    return [Fault(str(stored.path), f"$.{key}", text) for key, text in found]


def with_seed(plans: Sequence[StoredPlan], seed: int) -> list[StoredPlan]:
    """Return those of the plans that were made with this seed.

    Raises:
        ConfigurationError: there are plans, and none was.
    """
    found = [one for one in plans if one.seed == seed]
    if plans and not found:
        text = f"was made with seed {{}}, not {{}}; leave --seed out, or {_ANEW}"
        raise ConfigurationError(
            Fault(str(one.path), "$.root_seed", text.format(one.seed, seed)) for one in plans
        )
    return found
