"""A plan in parts: units that belong together, and runs of them for the tasks of a cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wattest.errors import ConfigurationError
from wattest.plan.experiment import Experiment, Plan

Unit = tuple[Experiment, ...]
"""One experiment, or all arms of one repetition of a configuration, in the order of the plan."""


def unit_id(experiment: Experiment) -> str:
    """Return what all arms of one repetition have in common: the id of the one over the load."""
    if experiment.partner is None or experiment.mode == "parallel":
        return experiment.id
    return experiment.partner


def units(experiments: Sequence[Experiment]) -> list[Unit]:
    """Return the units in the order in which their first experiments run."""
    found: dict[str, list[Experiment]] = {}
    for one in experiments:
        found.setdefault(unit_id(one), []).append(one)
    return [tuple(unit) for unit in found.values()]


@dataclass(frozen=True)
class Shard:
    """The `number`-th, counted from 1, of `count` parts of a plan: disjoint, and together all."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def keys(self, plan: Plan) -> frozenset[str]:
        """Return the keys of its experiments.

        Whole blocks where their number can be divided so, since each node is then compared with
        itself alone; else a run of consecutive units, as equal in length as can be.
        """
        blocks = max((one.block for one in plan.experiments), default=1)
        if plan.order == "randomized_blocks" and blocks > 1 and blocks % self.count == 0:
            each = blocks // self.count
            mine = range((self.number - 1) * each + 1, self.number * each + 1)
            return frozenset(one.key for one in plan.experiments if one.block in mine)
        every = units(plan.experiments)
        begin, end = (len(every) * edge // self.count for edge in (self.number - 1, self.number))
        return frozenset(one.key for unit in every[begin:end] for one in unit)


def parse_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """Return the shard that ``K/N`` or ``slurm`` names.

    Args:
        text: What the user wrote. ``slurm`` takes the task of the job array, else of ``srun``.
        environment: Where Slurm says which task this is.

    Raises:
        ConfigurationError: It names no shard.
    """
    if text == "slurm":
        shard = _slurm_shard(environment)
        text += f" is {shard}"
    else:
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if match is None:
            raise ConfigurationError([f"--shard {text}: must be K/N, such as 2/5, or slurm"])
        shard = Shard(*map(int, match.groups()))
    if not 1 <= shard.number <= shard.count:
        raise ConfigurationError([f"--shard {text}: K must be from 1 to N"])
    return shard


def _slurm_shard(environment: Mapping[str, str]) -> Shard:
    try:
        task = int(environment["SLURM_ARRAY_TASK_ID"])
        count, first, last = (
            int(environment[f"SLURM_ARRAY_TASK_{name}"]) for name in ("COUNT", "MIN", "MAX")
        )
    except (KeyError, ValueError):
        return _srun_shard(environment)
    if last - first + 1 != count:
        text = f"the array from {first} to {last} has only {count} tasks, not all shards of a plan"
        raise ConfigurationError([f"--shard slurm: {text}; name the shard: --shard {task}/N"])
    return Shard(task - first + 1, count)


def _srun_shard(environment: Mapping[str, str]) -> Shard:
    try:
        shard = Shard(int(environment["SLURM_PROCID"]) + 1, int(environment["SLURM_NTASKS"]))
    except (KeyError, ValueError):
        raise ConfigurationError(
            ["--shard slurm: this is no task of a job array or of srun; name the shard: K/N"]
        ) from None
    is_script = environment.get("ENVIRONMENT") == "BATCH" and "SLURM_STEP_ID" not in environment
    if is_script and shard.count > 1:
        text = f"the batch script alone runs none of the {shard.count} tasks; start pytest by srun"
        raise ConfigurationError([f"--shard slurm: {text}"])
    return shard
