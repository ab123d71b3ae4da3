"""Draws the mutants of all entries: entries that train the same thing share one pool."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wattest.config.program import Value
from wattest.config.request import TrainingRequest
from wattest.config.settings import Entry
from wattest.names import digest_of
from wattest.plan.history import History
from wattest.plan.mutation import derive_seed, draw, mutant_key

Mutants = Sequence[Mapping[str, Value]]


@dataclass
class _Pool:
    """What has been drawn for one training by one design, and how much of it is handed out."""

    wanted: int = 0
    drawn: list[Mapping[str, Value]] = field(default_factory=list)
    given: int = 0


class MutantPools:
    """Hands out mutants entry by entry, none twice for the same training by whatever design."""

    def __init__(self, entries: Sequence[Entry], seed: int, history: History | None) -> None:
        self._seed = seed
        self._history = history or History()
        self._pools: dict[str, _Pool] = {}
        self._taken: dict[str, list[tuple[Value | None, ...]]] = defaultdict(list)
        self.notes: list[str] = []
        for entry in entries:
            if entry.foreground.mutate:
                self._pool(entry).wanted += _count(entry) or 0

    def take(self, entry: Entry) -> Mutants:
        """Return the mutants of an entry; an empty one for each repetition of a fixed training.

        Raises:
            ConfigurationError: there are fewer distinct mutants than are asked for.
        """
        if not entry.foreground.mutate:
            return [{} for _ in range(entry.runs_per_config or 1)]
        pool, count = self._pool(entry), _count(entry)
        if entry.design.name != "random":
            mutants = self._draw(entry, pool, count)
            pool.given += len(mutants)
            return mutants
        if not pool.drawn:
            # A random sequence only extends, so all entries' shares are drawn in one go.
            self._draw(entry, pool, pool.wanted)
        share = pool.drawn[pool.given : pool.given + (count or 1)]
        pool.given += len(share)
        return share

    def _draw(self, entry: Entry, pool: _Pool, count: int | None) -> Mutants:
        request = entry.foreground
        parameters = [request.program.hyperparameters[name] for name in request.mutate]
        taken = self._taken[_training(entry)]
        drawing = draw(
            parameters,
            count,
            seed=derive_seed(self._seed, _subject(entry), str(len(pool.drawn))),
            design=entry.design,
            taken=taken,
            history=self._history.lookup(
                request.program.name, request.model, parallel=entry.mode == "parallel"
            ),
        )
        self.notes += [f"{entry.path}: {note}" for note in drawing.notes]
        pool.drawn += drawing.mutants
        taken += [mutant_key(dict(mutant), parameters) for mutant in drawing.mutants]
        return drawing.mutants

    def _pool(self, entry: Entry) -> _Pool:
        return self._pools.setdefault(_subject(entry), _Pool())


def _count(entry: Entry) -> int | None:
    """Return how many mutants an entry asks for; None leaves it to its design."""
    if entry.runs_per_config is not None:
        return entry.runs_per_config
    parameters = entry.foreground.program.hyperparameters
    levelled = all(
        name in entry.design.levels or parameters[name].levels for name in entry.foreground.mutate
    )
    leaves = entry.design.name == "factorial" or (entry.design.name == "one_at_a_time" and levelled)
    return None if leaves else 1


def _training(entry: Entry) -> str:
    """Return what is trained: entries with the same training must not share a mutant."""
    loads = [_effective(load) for load in entry.backgrounds]
    return digest_of([entry.mode, _effective(entry.foreground), loads])


def _effective(request: TrainingRequest) -> list[object]:
    """Return what a training gets but for what is mutated; a default may be written out."""
    values = {**request.program.defaults(), **request.fixed}
    kept = {name: value for name, value in values.items() if name not in request.mutate}
    return [request.program.name, request.model, request.mutate, kept]


def _subject(entry: Entry) -> str:
    """Return what is asked for: the same, by the same design, draws on in one sequence."""
    loads = [_facts(load) for load in entry.backgrounds]
    design = [
        entry.design.name,
        {name: list(levels) for name, levels in entry.design.levels.items()},
    ]
    return digest_of([entry.mode, _facts(entry.foreground), loads, design])


def _facts(request: TrainingRequest) -> list[object]:
    return [request.program.name, request.model, request.mutate, dict(request.fixed)]
