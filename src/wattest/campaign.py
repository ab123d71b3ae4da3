"""From what the user asked for to a plan: paths resolved, files read, seed settled."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wattest import planfile
from wattest.drawing import Mutants
from wattest.errors import ConfigurationError
from wattest.faults import Fault, json_path
from wattest.history import history_from_records, load_history
from wattest.plan import Experiment, Plan, expand
from wattest.registry import Registry, load_registry
from wattest.settings import Settings, load_settings
from wattest.training import program_faults

DEFAULT_SETTINGS = "settings/default.json"
DEFAULT_REGISTRY = "config/models_config.json"
DEFAULT_RESULTS = "results"

_GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")
_GPU_CHOICE = (
    "a program cannot have GPUs of its own: others would be measured than it trains on;"
    " set it for pytest itself ({call} pytest …): the meter follows that one"
)


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
        files = self.settings.file, self.registry.file
        faults = [fault for one in selected for fault in program_faults(one, *files)]
        faults += [fault for one in selected for fault in _gpu_choices(one, self.registry.file)]
        return list(
            {(fault.path, fault.text.split(" (needed")[0]): fault for fault in faults}.values()
        )


def _gpu_choices(experiment: Experiment, registry_file: str) -> list[Fault]:
    """Return where a program is given GPUs of its own, which the meter would not follow."""
    return [
        Fault(registry_file, json_path(("models", program.name, "environment", name)), text)
        for program in (one.program for one in (experiment.foreground, *experiment.backgrounds))
        for name in _GPU_VARIABLES
        if (value := program.environment.get(name)) is not None
        for text in (_GPU_CHOICE.format(call=f"{name}={shlex.quote(value)}"),)
    ]


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
    stored = planfile.load_stored(results, asked.file) if resume else None
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
    if stored is not None and (changed := planfile.changes(stored, plan)):
        raise ConfigurationError(changed)
    warnings += [f"{asked.file}::{note}" for note in plan.notes]
    return Campaign(asked, known, plan, origin, tuple(warnings))
