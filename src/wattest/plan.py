"""The plan: all experiments of one settings file, decided before anything runs.

A pure function of settings, registry, history and root seed: what is selected later, in which
order and on how many workers changes no value.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wattest.errors import ConfigurationError
from wattest.faults import Fault
from wattest.history import History
from wattest.mutation import SpaceExhausted, derive_seed, draw_mutants
from wattest.registry import Program, Value
from wattest.settings import Entry, Settings, TrainingRequest


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
    """

    id: str
    key: str
    entry: Entry
    foreground: Training
    backgrounds: tuple[Training, ...]
    mutated: Mapping[str, Value]
    repetition: int

    @property
    def mode(self) -> str:
        """``default``, ``mutation`` or ``parallel``."""
        return self.entry.mode

    @property
    def background_models(self) -> str | None:
        """Model names of the background loads joined by ``+``, or None."""
        return "+".join(load.model for load in self.backgrounds) or None


@dataclass(frozen=True)
class Plan:
    """All experiments in the order in which they run, the root seed, and a digest of it all."""

    settings: Settings
    seed: int
    experiments: tuple[Experiment, ...]
    digest: str


def expand(settings: Settings, seed: int, history: History | None = None) -> Plan:
    """Return the plan of `settings` for the root seed.

    Raises:
        ConfigurationError: an entry asks for more distinct mutants than there are.
    """
    faults: list[Fault] = []
    numbers: Counter[str] = Counter()
    pools: dict[str, list[dict[str, Value]]] = {}
    experiments = []
    for entry in settings.entries:
        try:
            mutants = _mutants(entry, seed, pools, history)
        except SpaceExhausted as error:
            faults.append(Fault(settings.file, f"{entry.path}", str(error)))
            continue
        backgrounds = tuple(_training(request, {}) for request in entry.backgrounds)
        for repetition, mutant in enumerate(mutants, start=1):
            foreground = _training(entry.foreground, mutant)
            name = _test_name(foreground, entry.mode)
            numbers[name] += 1
            experiment_id = f"{name}-{numbers[name]}"
            key = _digest(
                [experiment_id, foreground.identity(), [load.identity() for load in backgrounds]]
            )
            experiments.append(
                Experiment(experiment_id, key, entry, foreground, backgrounds, mutant, repetition)
            )
    if faults:
        raise ConfigurationError(faults)
    digest = _digest([seed, [experiment.key for experiment in experiments]])
    return Plan(settings, seed, tuple(experiments), digest)


def slug(text: str) -> str:
    """Return `text` as one safe part of a file name or test id."""
    return re.sub(r"[^A-Za-z0-9._]+", "_", text).strip(".")[:80] or "_"


def _mutants(
    entry: Entry, seed: int, pools: dict[str, list[dict[str, Value]]], history: History | None
) -> Sequence[dict[str, Value]]:
    """Return the mutants of an entry; an empty one for every repetition of a fixed training.

    Entries that train the same thing draw from one pool, so that no mutant comes twice.
    """
    request = entry.foreground
    count = entry.runs_per_config
    if not request.mutate:
        return [{} for _ in range(count)]
    names = request.mutate
    subject = _digest(
        [
            entry.mode,
            request.program.name,
            request.model,
            names,
            dict(request.fixed),
            [_training(load, {}).identity() for load in entry.backgrounds],
        ]
    )
    pool = pools.setdefault(subject, [])
    taken = {tuple(mutant[name] for name in names) for mutant in pool}
    if history is not None:
        parallel = entry.mode == "parallel"
        taken |= history.taken(request.program.name, request.model, parallel=parallel, names=names)
    mutants = draw_mutants(
        [request.program.hyperparameters[name] for name in names],
        count,
        seed=derive_seed(seed, subject, str(len(pool))),
        taken=taken,
    )
    pool += mutants
    return mutants


def _training(request: TrainingRequest, mutant: Mapping[str, Value]) -> Training:
    """Lay mutant over fixed values over the registry's defaults, in the registry's order."""
    values = {**request.program.defaults(), **request.fixed, **mutant}
    ordered = {name: values[name] for name in request.program.hyperparameters if name in values}
    return Training(request.program, request.model, ordered, request.ignored)


def _test_name(training: Training, mode: str) -> str:
    return f"{slug(training.program.name)}-{slug(training.model)}-{mode}"


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
