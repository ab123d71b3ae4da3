"""From settings to a plan: a pure function of settings, registry, history and root seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from wattest.config.program import Value
from wattest.config.request import TrainingRequest
from wattest.config.settings import Entry, Settings
from wattest.errors import ConfigurationError, Fault
from wattest.names import digest_of, slug
from wattest.plan.designs import most_mutants
from wattest.plan.experiment import Experiment, Plan, Training
from wattest.plan.history import History
from wattest.plan.pools import MutantPools, Mutants
from wattest.plan.sampling import derive_seed

MOST_EXPERIMENTS = 100_000


def expand(
    settings: Settings,
    seed: int,
    history: History | None = None,
    stored: Mapping[str, Mutants] | None = None,
) -> Plan:
    """Return the plan of `settings` for the root seed.

    `stored` are the mutants that an earlier session drew, by the path of their entry; they stand
    in for drawing again, since the history may have grown.

    Raises:
        ConfigurationError: an entry asks for more distinct mutants than there are.
    """
    if (asked := sum(map(_count, settings.entries))) > MOST_EXPERIMENTS:
        text = f"asks for {asked} experiments; at most {MOST_EXPERIMENTS} can be planned at once"
        raise ConfigurationError([Fault(settings.file, "$.experiments", text)])
    pools = MutantPools(seed, history)
    drawn = _mutants(settings, pools, stored or {})
    numbers: Counter[str] = Counter()
    written: list[Experiment] = []
    for entry in settings.entries:
        written += _entry_experiments(entry, drawn[entry.path], seed, numbers)
    repeated = any(experiment.repetitions > 1 for experiment in written)
    order = settings.order or ("randomized_blocks" if repeated else "as_written")
    experiments = arrange(written, order, seed)
    programs = {name: one for each in experiments for name, one in each.program_digests.items()}
    return Plan(
        settings=settings,
        seed=seed,
        order=order,
        experiments=experiments,
        mutants=drawn,
        digest=digest_of([seed, [experiment.key for experiment in experiments]]),
        settings_digest=settings.digest,
        program_digests=dict(sorted(programs.items())),
        notes=(*pools.notes, *_misreadings(settings, drawn)),
    )


def arrange(written: Sequence[Experiment], order: str, seed: int) -> tuple[Experiment, ...]:
    """Return the experiments in the order in which they run, each with its block.

    Randomised complete blocks: there are as many blocks as the most repeated configuration has
    repetitions, and each block holds one repetition of it; configurations with fewer are spread
    evenly. Within a block the order is random; all arms of a repetition lie in one block, and a
    load alone comes after its partner, whose duration it takes.
    """
    blocks = max((experiment.repetitions for experiment in written), default=1)
    placed = [replace(one, block=_block(one, blocks)) for one in written]
    if order == "as_written":
        return tuple(placed)
    placed.sort(key=lambda one: (one.block, derive_seed(seed, "order", str(one.block), one.id)))
    at = {one.id: place for place, one in enumerate(placed)}
    for one in [one for one in placed if one.arm == "load"]:
        mine, partners = at[one.id], at[one.partner or one.id]
        if mine < partners:
            placed[mine], placed[partners] = placed[partners], one
    return tuple(placed)


def _mutants(
    settings: Settings, pools: MutantPools, stored: Mapping[str, Mutants]
) -> dict[str, Mutants]:
    drawn = {}
    faults: list[Fault] = []
    for entry in settings.entries:
        try:
            drawn[entry.path] = stored.get(entry.path) or pools.take(entry)
        except ConfigurationError as error:
            faults += [Fault(settings.file, entry.path, text) for text in error.faults]
    if faults:
        raise ConfigurationError(faults)
    return drawn


def _misreadings(settings: Settings, drawn: Mapping[str, Mutants]) -> Iterator[str]:
    """Yield what a reader could get wrong who expects mutants of each name: one line for its kind.

    An entry that says its design has chosen how its names go together.
    """
    places: dict[str, list[str]] = {}
    for entry in settings.entries:
        names, mutants = entry.foreground.mutate, drawn[entry.path]
        copies = entry.repetitions * (1 + ("alone" in entry.arms))
        runs = {name: copies * sum(name in one for one in mutants) for name in names}
        text = "runs of each name: " + ", ".join(f"{name} {runs[name] or 'none'}" for name in names)
        if not all(runs.values()):
            text += f"; raise runs_per_config to {len(names)} or more"
        elif len(names) > 1 and not entry.is_design_said:
            text += (
                ', the same ones: each mutant changes all names; say "design": "random" if that is'
                ' meant, or "one_at_a_time", with a larger runs_per_config, for runs of each alone'
            )
        else:
            continue
        place = f"{entry.path}.foreground" if entry.mode == "parallel" else entry.path
        places.setdefault(text, []).append(f"{place}.mutate")
    for text, (first, *others) in places.items():
        yield f"{first}{f' and {len(others)} more' if others else ''}: {text}"


def _count(entry: Entry) -> int:
    """Return how many experiments an entry asks for, before anything is drawn."""
    parameters = entry.foreground.mutated_parameters
    configurations = entry.runs_per_config or 1
    if parameters:
        configurations = most_mutants(parameters, entry.runs_per_config, entry.design)
    return configurations * entry.repetitions * (1 + len(entry.arms))


def _block(experiment: Experiment, blocks: int) -> int:
    spread = (experiment.repetition - 1) * blocks // experiment.repetitions
    return (experiment.configuration - 1 + spread) % blocks + 1


def _entry_experiments(
    entry: Entry, mutants: Mutants, seed: int, numbers: Counter[str]
) -> list[Experiment]:
    """Return the experiments of one entry as written: runs, repetitions, and their other arms."""
    made = []
    backgrounds = tuple(_training(request, {}) for request in entry.backgrounds)
    drawn = bool(entry.foreground.mutate)
    repetitions = entry.repetitions if drawn else entry.repetitions * len(mutants)
    configurations = mutants if drawn else mutants[:1]
    for configuration, mutant in enumerate(configurations, start=1):
        for repetition in range(1, repetitions + 1):
            foreground = _training(entry.foreground, mutant)
            stem = f"{slug(foreground.program.name)}-{slug(foreground.model)}"
            numbers[f"{stem}-{entry.mode}"] += 1
            number = numbers[f"{stem}-{entry.mode}"]
            if entry.arms:
                foreground = _with_seed(foreground, seed, f"{stem}-{number}")
            loaded = Experiment(
                id=f"{stem}-{entry.mode}-{number}",
                key="",
                mode=entry.mode,
                path=entry.path,
                limits=entry.limits,
                foreground=foreground,
                backgrounds=backgrounds,
                mutated=mutant,
                configuration=configuration,
                repetition=repetition,
                repetitions=repetitions,
                design=entry.design.written() if drawn else None,
            )
            made += _arms(loaded, entry.arms, stem, number)
    return [replace(one, key=_key(one)) for one in made]


def _arms(loaded: Experiment, further: tuple[str, ...], stem: str, number: int) -> list[Experiment]:
    """Return an experiment over its load, with its foreground alone and its load alone."""
    made = [loaded]
    if "alone" in further:
        mode = "mutation" if loaded.mutated else "default"
        lone_id = f"{stem}-baseline-{number}"
        lone = replace(loaded, id=lone_id, mode=mode, backgrounds=(), partner=loaded.id)
        made = [replace(loaded, partner=lone_id), lone]
    if "load" in further:
        name = f"{stem}-load-{number}"
        made.append(replace(loaded, id=name, mode="load", mutated={}, partner=loaded.id))
    return made


def _with_seed(training: Training, seed: int, name: str) -> Training:
    """Give both halves of a pair the same seed where the program would draw one of its own."""
    parameter = training.program.hyperparameters.get("seed")
    if parameter is None or "seed" in training.hyperparameters or parameter.kind != "int":
        return training
    span = int(parameter.maximum) - int(parameter.minimum) + 1
    drawn = int(parameter.minimum) + derive_seed(seed, "pair", name) % span
    return replace(training, hyperparameters={**training.hyperparameters, "seed": drawn})


def _key(experiment: Experiment) -> str:
    loads = [load.identity() for load in experiment.backgrounds]
    return digest_of([experiment.id, experiment.mode, experiment.foreground.identity(), loads])


def _training(request: TrainingRequest, mutant: Mapping[str, Value]) -> Training:
    """Lay mutant over fixed values over the registry's defaults, in the registry's order."""
    values = {**request.values, **mutant}
    ordered = {name: values[name] for name in request.program.hyperparameters if name in values}
    return Training(request.program, request.model, ordered, request.ignored, request.ready_pattern)
