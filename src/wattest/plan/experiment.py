"""The plan: all experiments of one settings file, decided before anything runs.

A pure function of settings, registry, history and root seed: what is selected later, in which
order and on how many workers changes no value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wattest.config.program import Program, Value
from wattest.config.settings import Entry, Settings
from wattest.plan.pools import Mutants


@dataclass(frozen=True)
class Training:
    """One program with one model and the exact values that it will be given."""

    program: Program
    model: str
    hyperparameters: Mapping[str, Value]
    ignored: Mapping[str, Value]

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
    `configuration` counts the distinct configurations of the entry; `partner` is the id of the
    other half of a pair with and without load.
    """

    id: str
    key: str
    mode: str
    entry: Entry
    foreground: Training
    backgrounds: tuple[Training, ...]
    mutated: Mapping[str, Value]
    configuration: int
    repetition: int
    repetitions: int
    partner: str | None = None
    block: int = 1

    @property
    def trainings(self) -> tuple[Training, ...]:
        """The foreground and the background loads."""
        return (self.foreground, *self.backgrounds)

    @property
    def is_baseline(self) -> bool:
        """Tell whether this is the lone half of a pair."""
        return self.partner is not None and not self.backgrounds

    @property
    def background_models(self) -> str | None:
        """Model names of the background loads joined by ``+``, or None."""
        return "+".join(load.model for load in self.backgrounds) or None


@dataclass(frozen=True)
class Plan:
    """All experiments in the order in which they run, the root seed, and a digest of it all."""

    settings: Settings
    seed: int
    order: str
    experiments: tuple[Experiment, ...]
    mutants: Mapping[str, Mutants]
    digest: str
    notes: tuple[str, ...] = ()
