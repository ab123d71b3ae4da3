"""What was read: runs with all that decides where they may be compared, and pairs of them.

Energies are in joules, durations in seconds. None is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Arm = Literal["alone", "parallel", "load"]
Kind = Literal["ratio", "difference"]
Better = Literal["higher", "lower"]

SEED = "seed"
"""The hyper-parameter that is none: it makes no other configuration, and has no effect to tell."""

NAMES = {
    "gpu": "GPU UUID",
    "driver": "driver",
    "power_limit": "power limit",
    "cpu": "CPU",
    "counters": "set of CPU counters",
    "kernel": "kernel",
    "governor": "governor",
    "registry": "registry entry",
    "commit": "commit",
    "background": "load",
    "host": "host",
}
"""Facts as `--across` and `--by` name them, and as people read them."""


@dataclass(frozen=True)
class Quantity:
    """What is compared: `duration`, `gpu_energy`, `cpu_energy`, `energy` (both), or a metric.

    Attributes:
        title: As people read it, such as `GPU energy`.
        unit: `s`, `J`, or nothing for a metric.
        estimated: Every number of it is an estimate, and is shown with a `~`.
        better: Which way is better; None where nobody said.
    """

    key: str
    title: str
    unit: str
    kind: Kind = "ratio"
    estimated: bool = False
    better: Better | None = None


@dataclass(frozen=True)
class Run:
    """One record: what was run, where, what came of it, and whether it counts.

    Attributes:
        configuration: The same for all repetitions of one configuration.
        amounts: Quantity key to seconds, joules or metric; what was not measured is not there.
        estimated_cpu_joules: Of the machine, from CPU time; None where none was made.
        facts: What must agree where runs are compared: name to value.
        load: Repository/model of the load, with its hyper-parameters; None where none ran.
        better: Metric to the way that is better, where the registry says so.
    """

    path: Path
    experiment_id: str
    session_id: str
    test_id: str
    timestamp: str
    repository: str
    model: str
    arm: Arm
    hyperparameters: Mapping[str, float]
    mutated: tuple[str, ...]
    configuration: str
    is_configuration_derived: bool
    partner: str | None
    repetition: int | None
    block: int | None
    position: int | None
    order: str | None
    design: str | None
    seed: int
    plan_digest: str
    is_valid: bool
    reasons: tuple[str, ...]
    flags: tuple[str, ...]
    amounts: Mapping[str, float]
    estimated_cpu_joules: float | None
    metrics: tuple[str, ...]
    load: str | None
    facts: Mapping[str, str]
    better: Mapping[str, Better]
    record: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def program(self) -> str:
        """Repository and model."""
        return f"{self.repository}/{self.model}"


@dataclass(frozen=True)
class Damage:
    """A file that is no record although it looks like one, and what is wrong with it."""

    path: Path
    text: str


@dataclass(frozen=True)
class Reading:
    """What lay in the folders: every record once, oldest first, and what could not be read."""

    runs: tuple[Run, ...]
    damage: tuple[Damage, ...] = ()
    repeated: int = 0
    """How many copies of records were passed over."""
    foreign: int = 0
    """How many JSON files are none of ours."""


@dataclass(frozen=True)
class Pair:
    """The two halves of a pair, both of which count."""

    loaded: Run
    alone: Run

    @property
    def configuration(self) -> str:
        """What both halves trained."""
        return self.alone.configuration


@dataclass(frozen=True)
class LeftOut:
    """A pair that does not count, and why."""

    label: str
    reason: str
