"""Draws the mutants of all entries: those that train the same thing share none."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

from wattest.config.program import Value
from wattest.config.request import TrainingRequest
from wattest.config.settings import Entry
from wattest.names import digest_of
from wattest.plan.designs import draw, mutant_key
from wattest.plan.history import History
from wattest.plan.sampling import MutantKey, derive_seed

Mutants = Sequence[Mapping[str, Value]]


class MutantPools:
    """Hands out mutants entry by entry, none twice for the same training by whatever design.

    `notes` say where a design could not be kept in full.
    """

    def __init__(self, seed: int, history: History | None = None) -> None:
        self.notes: list[str] = []
        self._seed = seed
        self._history = history or History()
        self._taken: dict[str, set[MutantKey]] = defaultdict(set)
        self._drawings: Counter[str] = Counter()

    def take(self, entry: Entry) -> Mutants:
        """Return the mutants of an entry; an empty one for each repetition of a fixed training.

        Raises:
            ConfigurationError: there are fewer distinct mutants than are asked for.
        """
        request = entry.foreground
        if not request.mutate:
            return [{} for _ in range(entry.runs_per_config or 1)]
        parameters = request.mutated_parameters
        taken = self._taken[_training(entry)]
        subject = digest_of([_training(entry), asdict(entry.design)])
        seed = derive_seed(self._seed, subject, str(self._drawings[subject]))
        past = partial(
            self._history.taken, request.program.name, request.model, entry.mode == "parallel"
        )
        mutants, notes = draw(parameters, entry.runs_per_config, seed, entry.design, taken, past)
        self._drawings[subject] += 1
        self.notes += [f"{entry.path}: {note}" for note in notes]
        taken |= {mutant_key(mutant, parameters) for mutant in mutants}
        return mutants


def _training(entry: Entry) -> str:
    """Return what is trained: entries with the same training must not share a mutant."""
    loads = [_effective(load) for load in entry.backgrounds]
    return digest_of([entry.mode, _effective(entry.foreground), loads])


def _effective(request: TrainingRequest) -> list[object]:
    """Return what a training gets but for what is mutated; a default may be written out."""
    kept = {name: value for name, value in request.values.items() if name not in request.mutate}
    return [request.program.name, request.model, request.mutate, kept]
