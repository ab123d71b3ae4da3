"""What each hyper-parameter costs, and gives: least squares over configuration means.

Energy is duration times mean power, so an effect on energy is one on time times one on power.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from wattest.report.effects import changes_of
from wattest.report.model import Effect, Estimate, HyperparameterRow
from wattest.report.runs import Arm, Kind, Quantity, Run
from wattest.report.soundness import (
    campaigns_fault,
    pairs_refusal,
    points_only,
    refused,
    runs_refusal,
    seed_note,
    without_interval,
)
from wattest.report.statistics import slopes, with_holm
from wattest.report.studies import (
    Groups,
    Material,
    Options,
    amount,
    by_configuration,
    mean_of,
    varied_names,
)

Values = dict[str, float]
"""Configuration to a mean over its runs or pairs."""


@dataclass(frozen=True)
class Column:
    """One column of the fit: what a step of it is called, and its value in each configuration."""

    name: str
    step: str
    is_logarithmic: bool
    values: Mapping[str, float]


@dataclass(frozen=True)
class _Arm:
    """The runs of one arm that can be fitted, and what forbids numbers or intervals."""

    arm: Arm
    groups: Groups
    columns: Sequence[Column]
    refusal: str | None
    reason: str | None


def hyperparameter_rows(
    material: Material, told: Sequence[Quantity], options: Options
) -> tuple[tuple[HyperparameterRow, ...], str | None]:
    """Return one row for each step and arm, what ran alone first; and why there is none."""
    rows: list[HyperparameterRow] = []
    reasons: list[str] = []
    arms: tuple[Arm, ...] = ("alone", "parallel")
    for arm in arms:
        runs = material.of_arm(arm)
        groups = _complete(by_configuration(runs))
        columns = _columns(groups)
        if not columns:
            reasons += ["every run had the same hyper-parameters"] if runs else []
            continue
        used = [run for group in groups.values() for run in group]
        refusal = runs_refusal(used, options.across)
        reason = points_only(used, options.across) or campaigns_fault(used)
        one = _Arm(arm, groups, columns, refusal, reason)
        rows += _adjusted(list(_rows(one, material, told, options)), options.p_values)
        reasons += [text for text in (refusal, reason) if text]
    none = "no run counts"
    return tuple(rows), (reasons[0] if reasons else None if rows else none)


def _complete(groups: Groups) -> Groups:
    """Leave out configurations that do not tell what others do: their effects are not known."""
    names = set(varied_names([run for runs in groups.values() for run in runs]))
    return {key: runs for key, runs in groups.items() if names <= runs[0].hyperparameters.keys()}


def _columns(groups: Groups) -> list[Column]:
    first = {key: runs[0] for key, runs in groups.items()}
    names = varied_names(list(first.values()))
    columns = [_column(name, first) for name in names]
    levelled = [_contrasts(name, first) if _has_levels(name, first) else None for name in names]
    factors = [
        part for plain, many in zip(columns, levelled, strict=True) for part in many or [plain]
    ]
    # What is too few for contrasts may be enough for lines.
    return factors if len(first) >= len(factors) + 3 else columns


def _column(name: str, first: Mapping[str, Run]) -> Column:
    values = {key: run.hyperparameters[name] for key, run in first.items()}
    if min(values.values()) > 0:
        return Column(name, "doubling", True, {key: math.log2(x) for key, x in values.items()})
    span = max(values.values()) - min(values.values())
    step = 10.0 ** math.floor(math.log10(span))
    return Column(name, f"adding {step:g} to", False, {key: x / step for key, x in values.items()})


def _contrasts(name: str, first: Mapping[str, Run]) -> list[Column]:
    """Return a column for each level but the lowest: this one instead of that."""
    lowest, *others = sorted({run.hyperparameters[name] for run in first.values()})
    return [
        Column(name, f"{level:g} instead of {lowest:g} for", lowest > 0,
               {key: float(run.hyperparameters[name] == level) for key, run in first.items()})
        for level in others
    ]  # fmt: skip


def _has_levels(name: str, first: Mapping[str, Run]) -> bool:
    """Tell whether the design gave this name levels."""
    for run in first.values():
        design, *names = (run.design or "").split(":")
        if name in names or (design == "factorial" and not names):
            return True
    return False


def _rows(
    one: _Arm, material: Material, told: Sequence[Quantity], options: Options
) -> Iterator[HyperparameterRow]:
    effects: list[list[Effect]] = [[] for _ in one.columns]
    for quantity in told:
        if values := _means(one.groups, quantity):
            for at, effect in enumerate(_effects(one, material, quantity, values, options)):
                effects[at].append(effect)
    for column, own in zip(one.columns, effects, strict=True):
        yield HyperparameterRow(
            column.name, column.step, one.arm, column.is_logarithmic, tuple(own)
        )


def _effects(
    one: _Arm, material: Material, quantity: Quantity, values: Values, options: Options
) -> Iterator[Effect]:
    found = _fit(one.columns, values, quantity.kind)
    powers: list[Estimate | None] = [None] * len(found)
    if quantity.unit == "J":
        fitted = _fit(one.columns, _powers(one.groups, quantity), "ratio")
        powers = [replace(power, p_value=None) for power in fitted]
    changes = _changes(one, material, quantity, options)
    note = seed_note(run for runs in one.groups.values() for run in runs)
    for column, estimate, power, change in zip(one.columns, found, powers, changes, strict=True):
        if quantity.kind == "difference":
            estimate = replace(estimate, note=note)
        yield Effect(
            quantity,
            _allowed(estimate, one),
            power and _allowed(power, one),
            change,
            tuple(_points(column.name, one.groups, values)),
        )


def _allowed(estimate: Estimate, one: _Arm) -> Estimate:
    if one.refusal:
        return refused(estimate, one.refusal)
    return without_interval(estimate, one.reason)


def _changes(
    one: _Arm, material: Material, quantity: Quantity, options: Options
) -> Sequence[Estimate | None]:
    """Return by how much the load changes the effect of each column: slopes of pairs' changes."""
    of_pairs = changes_of(material.pairs, quantity)
    values = {
        key: mean_of(each, quantity.kind) for key, each in of_pairs.items() if key in one.groups
    }
    if not values:
        return [None] * len(one.columns)
    found = _fit(one.columns, values, quantity.kind)
    halves = [half for pair in material.pairs for half in (pair.loaded, pair.alone)]
    if refusal := pairs_refusal(material.pairs, options.across):
        return [refused(estimate, refusal) for estimate in found]
    reason = points_only(halves, options.across)
    return [replace(without_interval(one, reason), p_value=None) for one in found]


def _fit(columns: Sequence[Column], values: Values, kind: Kind) -> list[Estimate]:
    table = [[column.values[key] for key in values] for column in columns]
    outcomes = [math.log2(y) if kind == "ratio" else y for y in values.values()]
    return slopes(table, outcomes, kind)


def _means(groups: Groups, quantity: Quantity) -> Values:
    found = {}
    for key, runs in groups.items():
        values = [value for run in runs if (value := amount(run, quantity)) is not None]
        if values:
            found[key] = mean_of(values, quantity.kind)
    return found


def _powers(groups: Groups, quantity: Quantity) -> Values:
    """Return mean power: joules over seconds, so that time times power is exactly the energy."""
    found = {}
    for key, runs in groups.items():
        watts = [
            value / run.amounts["duration"]
            for run in runs
            if (value := amount(run, quantity)) is not None and "duration" in run.amounts
        ]
        if watts:
            found[key] = mean_of(watts, "ratio")
    return found


def _points(name: str, groups: Groups, values: Values) -> Iterator[tuple[float, float]]:
    yield from sorted((groups[key][0].hyperparameters[name], mean) for key, mean in values.items())


def _adjusted(rows: Sequence[HyperparameterRow], asked: bool) -> list[HyperparameterRow]:
    """Return rows with p-values of all their effects corrected together, or without any."""
    estimates = {
        (at, effect.quantity.key): effect.estimate
        for at, row in enumerate(rows)
        for effect in row.effects
    }
    corrected = with_holm(estimates, asked)
    return [
        replace(row, effects=tuple(
            replace(one, estimate=corrected[at, one.quantity.key]) for one in row.effects))
        for at, row in enumerate(rows)
    ]  # fmt: skip
