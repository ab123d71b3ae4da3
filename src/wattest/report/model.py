"""The words of a report: the answers that text and page both show, on the runs that were read.

Ratios are of positive amounts; differences of metrics are in the metric's own unit. Energies are in
joules, durations in seconds, power in watts. None is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wattest.report.runs import Arm, Damage, Kind, LeftOut, Pair, Quantity, Run


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, or the sentence that says why it has none.

    Attributes:
        n: How many units it rests on; `unit` names them, in the plural.
        smallest: The smallest effect that such a campaign finds with 80 % power: as a share of 1
            for ratios (0.067 is 6.7 %), else a difference.
        equivalence: What the two one-sided tests said, where a margin was given.
        p_value: Two-sided, where asked for; with Holm's correction over its table.
        note: What bounds it, such as `for seed 7 only`.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    unit: str = "configurations"
    kind: Kind = "ratio"
    method: str = ""
    reason: str | None = None
    smallest: float | None = None
    equivalence: str | None = None
    p_value: float | None = None
    note: str | None = None

    @property
    def has_interval(self) -> bool:
        """Tell whether there is one."""
        return self.low is not None and self.high is not None


@dataclass(frozen=True)
class Point:
    """One unit of an estimate: a configuration, with the value of each of its pairs or runs."""

    label: str
    value: float
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class ForestRow:
    """What the load did to one quantity: ratio loaded/alone, or difference loaded - alone."""

    quantity: Quantity
    estimate: Estimate
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Effect:
    """What a step of one hyper-parameter does to one quantity.

    Attributes:
        power: On mean power, where the quantity is an energy: energy = duration times power.
        change: By how much the load changes the effect: a ratio of ratios, or a difference.
        points: Configuration means over the values of the hyper-parameter, in its order.
    """

    quantity: Quantity
    estimate: Estimate
    power: Estimate | None = None
    change: Estimate | None = None
    points: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class HyperparameterRow:
    """What one hyper-parameter costs, and gives.

    Attributes:
        step: `doubling`, `adding 0.1`, or `0.1 instead of 0.01`; as in "doubling x multiplies …".
        arm: Whose runs these are.
        is_logarithmic: The axis of `points`.
        effects: Duration, energies, metrics.
    """

    name: str
    step: str
    arm: Arm
    is_logarithmic: bool
    effects: tuple[Effect, ...]

    def effect(self, key: str) -> Effect | None:
        """Return the effect on a quantity."""
        return next((one for one in self.effects if one.quantity.key == key), None)


@dataclass(frozen=True)
class FrontPoint:
    """One configuration between what it costs and what it gives; means over its runs."""

    label: str
    arm: Arm
    energy: float
    metric: float
    n: int
    is_on_front: bool
    is_surely_dominated: bool


@dataclass(frozen=True)
class Front:
    """Energy against metric; `reason` says why there is no front, or nothing sure about it."""

    energy: Quantity
    metric: Quantity
    points: tuple[FrontPoint, ...]
    reason: str | None = None


@dataclass(frozen=True)
class Study:
    """One program, alone and under one load.

    Attributes:
        load: None where it never ran under one.
        load_reason: Why `load_rows` is empty, or has no intervals at all.
        hyperparameters: One row for each name and arm, those of the arm to be shown first.
        energy: The energy to be shown first; None where none is known.
    """

    program: str
    load: str | None
    runs: tuple[Run, ...]
    pairs: tuple[Pair, ...]
    energy: Quantity | None
    metric: Quantity | None
    quantities: tuple[Quantity, ...]
    load_rows: tuple[ForestRow, ...]
    load_reason: str | None
    hyperparameters: tuple[HyperparameterRow, ...]
    hyperparameter_reason: str | None
    fronts: tuple[Front, ...]

    @property
    def name(self) -> str:
        """Its program, and its load."""
        return self.program + (f" under load of {self.load}" if self.load else "")

    @property
    def shown_arm(self) -> Arm | None:
        """The arm that the first screen shows the hyper-parameters of."""
        return self.hyperparameters[0].arm if self.hyperparameters else None


@dataclass(frozen=True)
class Belief:
    """Whether it can be believed: everything that speaks against it, each in one sentence.

    Attributes:
        invalid: Run to its reasons; these runs are in no number.
        flags: Sentence to how many runs have it.
        left_out: Pairs that are in no number.
        refusals: Why numbers, or their intervals, are missing.
        remarks: What a reader must know, but nothing was refused for.
    """

    invalid: tuple[tuple[Run, tuple[str, ...]], ...]
    flags: Mapping[str, int]
    order: str
    left_out: tuple[LeftOut, ...]
    refusals: tuple[str, ...]
    remarks: tuple[str, ...]
    damage: tuple[Damage, ...]


@dataclass(frozen=True)
class Attributed:
    """One estimand of one configuration: mean joules a run, over its blocks.

    Attributes:
        key: Such as `combined`, `alone`, `shapley`.
        title: As people read it.
        estimate: In joules; its reason where it is refused.
        values: Those of the blocks, in joules.
    """

    key: str
    title: str
    estimate: Estimate
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Attribution:
    """Whose the energy of one domain was, for one configuration under one load.

    Attributes:
        domain: `gpu_energy`, `cpu_energy`, or `energy` where both were measured.
        blocks: Over how many blocks.
    """

    program: str
    load: str
    configuration: str
    domain: str
    blocks: int
    rows: tuple[Attributed, ...]


@dataclass(frozen=True)
class Answers:
    """Everything that a report says.

    Attributes:
        is_estimated: No energy was measured; the title says so and every energy has a `~`.
        facts: What was run, as (label, text): programs, hardware, sessions, settings.
        counted: How many runs count, of `len(runs)`.
        methods: The paragraph for the paper.
    """

    title: str
    is_estimated: bool
    facts: tuple[tuple[str, str], ...]
    runs: tuple[Run, ...]
    counted: int
    studies: tuple[Study, ...]
    belief: Belief
    methods: str
    attributions: tuple[Attribution, ...] = ()
