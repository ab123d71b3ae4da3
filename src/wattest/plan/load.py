"""From what the user asked for to a plan: paths resolved, files read, seed settled."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wattest.config.program import program_faults
from wattest.config.registry import Registry, load_registry
from wattest.config.settings import Settings, load_settings
from wattest.errors import ConfigurationError, Fault
from wattest.plan import store
from wattest.plan.expand import expand
from wattest.plan.experiment import Experiment, Plan
from wattest.plan.history import history_from_records, load_history
from wattest.plan.pools import Mutants

DEFAULT_SETTINGS = "settings/default.json"
DEFAULT_REGISTRY = "config/models_config.json"
DEFAULT_RESULTS = "results"


@dataclass(frozen=True)
class Places:
    """The two folders against which names resolve: where the user stands, then the project's."""

    invocation: Path
    root: Path

    def existing(self, name: str) -> Path:
        """Return the file called `name`: as seen from the user first, then from the root."""
        # Not the methods of Path: they raise for an unknown user and for what is not to be seen.
        plain = os.path.expanduser(name)  # noqa: PTH111
        from_user = self.invocation / plain
        return from_user if os.path.exists(from_user) else self.root / plain  # noqa: PTH110

    def shown(self, path: Path) -> str:
        """Return `path` as a person would write it: relative to the root where it lies below."""
        plain = Path(os.path.abspath(path))  # noqa: PTH100 - links keep the name the user gave
        return str(plain.relative_to(self.root)) if plain.is_relative_to(self.root) else str(plain)


@dataclass(frozen=True)
class Campaign:
    """A plan with what it was made from, and what its files gave cause to warn about."""

    settings: Settings
    registry: Registry
    plan: Plan
    seed_origin: str
    warnings: tuple[str, ...]

    def faults(self, selected: Sequence[Experiment]) -> list[Fault]:
        """Return what keeps the selected experiments from being started, each fault once."""
        faults = [
            fault
            for one in selected
            for training in one.trainings
            for fault in program_faults(
                training.program, self.registry.file, f"{self.settings.file}::{one.entry.path}"
            )
        ]
        return list(
            {(fault.path, fault.text.split(" (needed")[0]): fault for fault in faults}.values()
        )


def load_campaign(
    places: Places,
    settings: str | None,
    registry: str | None,
    seed: int | None,
    results: Path,
    *,
    resume: bool = False,
    drawn: Mapping[str, Mutants] | None = None,
) -> Campaign:
    """Read settings and registry, and expand the plan.

    The root seed is `seed`, else that of the plan which is resumed, else the settings' own, else
    one that is drawn here. With deduplication the records in `results` are history, too. `drawn`
    holds the mutants of a plan that stands already, by the path of each entry.

    Raises:
        ConfigurationError: one line for every fault.
    """
    registry_path = (
        places.root / DEFAULT_REGISTRY if registry is None else places.existing(registry)
    )
    settings_path = (
        places.root / DEFAULT_SETTINGS if settings is None else places.existing(settings)
    )
    known = load_registry(registry_path, places.root, places.shown(registry_path))
    asked = load_settings(settings_path, known, places.shown(settings_path))
    stored = store.load_stored(results, asked.file) if resume else None
    if seed is not None:
        root_seed, origin = seed, "given"
    elif stored is not None:
        root_seed, origin = stored.seed, "of the plan that is resumed"
    elif asked.seed is not None:
        root_seed, origin = asked.seed, "from the settings"
    else:
        root_seed, origin = secrets.randbelow(2**32), "drawn"
    history = None
    warnings = [*known.warnings, *asked.warnings]
    if asked.use_deduplication:
        history = load_history([places.existing(name) for name in asked.historical_csvs])
        history += history_from_records(results)
        warnings += history.warnings
    plan = expand(asked, root_seed, history, stored.mutants if stored else drawn)
    if stored is not None and (changed := store.changes(stored, plan)):
        raise ConfigurationError(changed)
    warnings += [f"{asked.file}::{note}" for note in plan.notes]
    return Campaign(asked, known, plan, origin, tuple(warnings))
