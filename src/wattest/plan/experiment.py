"""The plan: all experiments of one settings file, decided before anything runs.

A pure function of settings, registry, history and root seed: what is selected later, in which
order and on how many workers changes no value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wattest.config.program import Program, Value
from wattest.config.settings import Limits, Settings
from wattest.names import digest_of
from wattest.plan.pools import Mutants


@dataclass(frozen=True)
class Training:
    """One program with one model and the exact values that it will be given.

    A load with a `ready_pattern` counts as started once its log matches it.
    """

    program: Program
    model: str
    hyperparameters: Mapping[str, Value]
    ignored: Mapping[str, Value]
    ready_pattern: re.Pattern[str] | None = None

    def identity(self) -> dict[str, Any]:
        """Return what makes this training the one it is, as JSON."""
        return {
            "repo": self.program.name,
            "model": self.model,
            "hyperparameters": dict(self.hyperparameters),
        }


@dataclass(frozen=True)
class Experiment:
    """One foreground training with fixed hyper-parameters, its mode, background and repetition.

    `key` identifies it across sessions: equal keys are the same experiment of the same plan.
    `path` is the place of its entry in the settings file. `configuration` counts the distinct
    configurations of the entry; `partner` is the id of the other half of a pair with and without
    load, and for a load alone that of the experiment over it; `design` is the one by which
    `mutated` was drawn, as settings say it, None where nothing was.
    """

    id: str
    key: str
    mode: str
    path: str
    limits: Limits
    foreground: Training
    backgrounds: tuple[Training, ...]
    mutated: Mapping[str, Value]
    configuration: int
    repetition: int
    repetitions: int
    design: str | dict[str, Any] | None = None
    partner: str | None = None
    block: int = 1

    @property
    def arm(self) -> str:
        """``parallel`` for a foreground over its load, ``alone`` without it, ``load`` for that."""
        return self.mode if self.mode in ("parallel", "load") else "alone"

    @property
    def configuration_key(self) -> str:
        """What is trained: one key for all repetitions and all arms, whatever the seed."""
        trained = self.foreground.identity()
        trained["hyperparameters"].pop("seed", None)
        return digest_of(trained)

    @property
    def trainings(self) -> tuple[Training, ...]:
        """What runs: the foreground, but where the load is alone, and the background loads."""
        foreground = () if self.arm == "load" else (self.foreground,)
        return (*foreground, *self.backgrounds)

    @property
    def program_digests(self) -> dict[str, str]:
        """The digest of the registry's entry of every program that this experiment runs."""
        return {one.program.name: one.program.digest for one in self.trainings}

    @property
    def background_models(self) -> str | None:
        """Model names of the background loads joined by ``+``, or None."""
        return "+".join(load.model for load in self.backgrounds) or None


@dataclass(frozen=True)
class Plan:
    """All experiments in the order in which they run, and what they follow from.

    `mutants` are those of each entry, by its path in the settings file. `digest` is that of the
    experiments; `settings_digest` and `program_digests` are those of the files behind them, but
    for free text.
    """

    settings: Settings
    seed: int
    order: str
    experiments: tuple[Experiment, ...]
    mutants: Mapping[str, Mutants]
    digest: str
    settings_digest: str
    program_digests: Mapping[str, str]
    notes: tuple[str, ...] = ()
