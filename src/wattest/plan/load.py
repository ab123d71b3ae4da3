"""From what the user asked for to a plan: paths resolved, files read, seed settled."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wattest.config.program import program_faults
from wattest.config.registry import Registry, load_registry
from wattest.config.settings import Settings, load_settings
from wattest.errors import ConfigurationError, Fault
from wattest.names import spellings
from wattest.plan import store
from wattest.plan.expand import expand
from wattest.plan.experiment import Experiment, Plan
from wattest.plan.history import History, history_from_records, load_history
from wattest.plan.pools import Mutants
from wattest.plan.store import StoredPlan

DEFAULT_SETTINGS = "settings/default.json"
DEFAULT_REGISTRY = "config/models_config.json"
DEFAULT_RESULTS = "results"


@dataclass(frozen=True)
class Places:
    """The two folders against which names resolve: where the user stands, then the project's."""

    invocation: Path
    root: Path

    def existing(self, name: str | None, default: str = "") -> Path:
        """Return the file called `name`: as seen from the user first, then from the root.

        Without a name it is the one called `default` below the root.
        """
        if name is None:
            return self.root / default
        # Not the methods of Path: they raise for an unknown user and for what is not to be seen.
        plain = os.path.expanduser(name)  # noqa: PTH111
        for one in spellings(plain):
            for folder in (self.invocation, self.root):
                if os.path.exists(folder / one):  # noqa: PTH110
                    return folder / one
        return self.root / plain

    def shown(self, path: Path) -> str:
        """Return `path` as a person would write it: relative to the root where it lies below.

        One file has one name, also where a link leads to the project (a home on a cluster): its
        plan is found again by it.
        """
        plain = Path(os.path.abspath(path))  # noqa: PTH100 - links keep the name the user gave
        real = Path(os.path.realpath(plain.parent), plain.name)
        for one, root in ((plain, self.root), (real, Path(os.path.realpath(self.root)))):
            if one.is_relative_to(root):
                return str(one.relative_to(root))
        return str(plain)


@dataclass(frozen=True)
class Campaign:
    """A plan with what it was made from, and what its files gave cause to warn about.

    `told` says which campaign it continues, where it continues one.
    """

    settings: Settings
    registry: Registry
    plan: Plan
    seed_origin: str
    warnings: tuple[str, ...]
    told: tuple[str, ...] = ()

    @property
    def is_stored(self) -> bool:
        """Whether it goes on with a plan that an earlier session has stored."""
        return bool(self.told)

    def faults(
        self, selected: Sequence[Experiment], run_as: tuple[int, int] | None = None
    ) -> list[Fault]:
        """Return what keeps the selected experiments from being started, each fault once.

        `run_as` is (uid, gid) of the user who shall run the trainings; None for this one.
        """
        needed = {
            training.program.name: (training.program, f"{self.settings.file}::{one.path}")
            for one in selected
            for training in one.trainings
        }
        return [
            fault
            for program, by in needed.values()
            for fault in program_faults(program, self.registry.file, by, run_as)
        ]


def load_campaign(
    places: Places,
    settings: str | None,
    registry: str | None,
    seed: int | None,
    results: Path,
    *,
    resume: bool = False,
    session: str | None = None,
    is_finished: Callable[[Plan], bool] = lambda plan: False,
    drawn: Mapping[str, Mutants] | None = None,
) -> Campaign:
    """Read settings and registry, and expand the plan.

    The root seed is `seed`, else that of the plan which is resumed, else the settings' own, else
    one that is drawn here. With deduplication the records in `results` are history, too. To
    `resume` is to continue the newest campaign that `is_finished` does not call done, or that of
    the `session`. `drawn` holds the mutants of a plan that stands already, by the path of each
    entry.

    Raises:
        ConfigurationError: one line for every fault.
    """
    path = places.existing(registry, DEFAULT_REGISTRY)
    known = load_registry(path, places.root, places.shown(path))
    path = places.existing(settings, DEFAULT_SETTINGS)
    asked = load_settings(path, known, places.shown(path))
    history = _history(places, asked, results) if asked.use_deduplication else History()
    plans = _resumable(results, asked.file, seed, session) if resume and drawn is None else []
    if plans:
        stored, plan = _continued(asked, history, plans, is_finished)
        origin, told = "of the plan that is resumed", _told(stored, plans)
    else:
        seeds = {"given": seed, "from the settings": asked.seed, "drawn": secrets.randbelow(2**32)}
        origin, root_seed = next((name, one) for name, one in seeds.items() if one is not None)
        plan, told = expand(asked, root_seed, history, drawn), ()
    notes = (f"{asked.file}::{note}" for note in plan.notes)
    warnings = (*known.warnings, *asked.warnings, *history.warnings, *notes)
    return Campaign(asked, known, plan, origin, warnings, told)


def _resumable(
    results: Path, settings_file: str, seed: int | None, session: str | None
) -> list[StoredPlan]:
    """Return the stored plans among which to choose, the newest first."""
    plans = store.stored_plans(results, settings_file)
    if session is not None:
        name = store.plan_of_session(results, session)
        plans = [one for one in plans if one.path.name == name]
        if not plans:
            text = f"--session {session}: it ran no plan of {settings_file}"
            raise ConfigurationError([f"{text}; name its settings with --config"])
    return plans if seed is None else store.with_seed(plans, seed)


def _continued(
    settings: Settings,
    history: History,
    plans: Sequence[StoredPlan],
    is_finished: Callable[[Plan], bool],
) -> tuple[StoredPlan, Plan]:
    """Return the first of the plans that still stands and is not finished, else the first at all.

    Raises:
        ConfigurationError: settings or registry have changed since; what has, by the first plan.
    """
    standing: list[tuple[StoredPlan, Plan]] = []
    changed: list[Fault] = []
    for stored in plans:
        plan = expand(settings, stored.seed, history, stored.mutants)
        faults = store.changes(stored, plan)
        if not faults and (len(plans) == 1 or not is_finished(plan)):
            return stored, plan
        changed = changed or faults
        standing += [] if faults else [(stored, plan)]
    if not standing:
        raise ConfigurationError(changed)
    return standing[0]


def _told(stored: StoredPlan, plans: Sequence[StoredPlan]) -> tuple[str, ...]:
    others = [str(one) for one in plans if one is not stored]
    more = f"; {len(others) - 3} more" if len(others) > 3 else ""
    listed = f"; choose another with --seed or --session: {'; '.join(others[:3])}{more}"
    return (f"resume: continues the campaign of {stored}{listed if others else ''}",)


def _history(places: Places, settings: Settings, results: Path) -> History:
    files = [places.existing(name) for name in settings.historical_csvs]
    return load_history(files) + history_from_records(results)
