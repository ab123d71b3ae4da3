"""Two campaigns compared: a session moves everything by a common factor, so ratios of ratios.

What a session does to all its runs cancels against an anchor, a configuration that ran in both;
a pair has its own anchor, the half that ran alone. Without one, and without three sessions a side,
there are points and no intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from wattest.errors import ConfigurationError
from wattest.report.effects import change
from wattest.report.facts import difference
from wattest.report.model import Estimate, Point
from wattest.report.ratios import Unit, anchored, back, over_sessions
from wattest.report.runs import NAMES, Arm, Pair, Quantity, Reading, Run
from wattest.report.sides import Key, Sides, anchor_key
from wattest.report.soundness import points_only, refused, without_interval
from wattest.report.statistics import LEAST_UNITS
from wattest.report.studies import Options, amount, label_of, pairs_of, quantities

Question = Literal["alone", "parallel", "load"]


@dataclass(frozen=True)
class ComparedRow:
    """B over A, or B minus A, in what ran alone, under the load, or in what the load did."""

    question: Question
    quantity: Quantity
    estimate: Estimate
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Comparison:
    """One program in two campaigns.

    Attributes:
        primary: The question that a gate without a prefix is about.
        reason: Why there is no number or no interval at all.
    """

    program: str
    rows: tuple[ComparedRow, ...]
    primary: Question
    reason: str | None

    def names(self) -> dict[str, ComparedRow]:
        """Return the rows by the names that gates have for them."""
        found = {}
        for row in self.rows:
            key = row.quantity.key.removeprefix("metric:")
            found[f"{row.question}.{key}"] = row
            if row.question == self.primary:
                found.setdefault(key, row)
        return found


def compare(
    before: Reading, after: Reading, by: str | None, anchor: str | None, options: Options
) -> list[Comparison]:
    """Return the comparison of every program; of one that ran on one side alone only that it did.

    Args:
        before: A.
        after: B.
        by: what the sides differ in: a fact, or a hyper-parameter.
        anchor: the configuration that ran in both, and that the difference leaves alone.
        options: what else is declared to differ, and the margin of equivalence.

    Raises:
        ConfigurationError: no program ran in both, `by` is no name, or the anchor is not there.
    """
    valid = [
        [run for run in one.runs if run.is_valid and run.arm != "load"] for one in (before, after)
    ]
    _check_name(by, [*valid[0], *valid[1]])
    shared = [
        program
        for program in dict.fromkeys(run.program for run in valid[0])
        if any(run.program == program for run in valid[1])
    ]
    if not shared:
        raise ConfigurationError(["no program has runs that count in both A and B"])
    made = []
    for program in shared:
        own = [[run for run in side if run.program == program] for side in valid]
        made.append(Sides(own[0], own[1], by, anchor, options))
    if anchor is not None and not any(map(anchor_key, made)):
        told = "no such configuration ran in both A and B; write it as learning_rate=0.1"
        raise ConfigurationError([f"--anchor {anchor}: {told}"])
    lone = [
        Comparison(program, (), "alone", f"it has runs that count only in {name}: not compared")
        for name, side in zip("AB", valid, strict=True)
        for program in dict.fromkeys(run.program for run in side)
        if program not in shared
    ]
    return [*map(_comparison, shared, made), *lone]


def _check_name(by: str | None, runs: Iterable[Run]) -> None:
    known = [*NAMES, *sorted({name for run in runs for name in run.hyperparameters})]
    if by is not None and by not in known:
        raise ConfigurationError([f"--by {by}: no such name; there are: {', '.join(known)}"])


def _comparison(program: str, sides: Sides) -> Comparison:
    declared = sides.options.across | {"host"} | ({sides.by} if sides.by in NAMES else set())
    refusal = difference(sides.runs, declared) or _load_refusal(sides, declared)
    if refusal:
        refusal += "; refused, unless it is what --by or --across names"
    reason = points_only(sides.runs, sides.options.across)
    rows = list(_rows(sides))
    if refusal:
        rows = [replace(row, estimate=refused(row.estimate, refusal), points=()) for row in rows]
    elif reason:
        rows = [replace(row, estimate=without_interval(row.estimate, reason)) for row in rows]
    asked = {row.question for row in rows}
    order: tuple[Question, ...] = ("alone", "parallel", "load")
    if sides.by == "background":
        order = ("load", "parallel", "alone")
    primary: Question = next((one for one in order if one in asked), "alone")
    return Comparison(program, tuple(rows), primary, refusal or reason)


def _load_refusal(sides: Sides, declared: frozenset[str]) -> str | None:
    loads = list(dict.fromkeys(run.load for run in sides.runs if run.load))
    if len(loads) < 2 or "background" in declared:
        return None
    return f"load differs: {loads[0]} and {loads[1]}"


def _rows(sides: Sides) -> Iterator[ComparedRow]:
    told = quantities(sides.runs, sides.options.better)
    arms: tuple[Arm, ...] = ("alone", "parallel")
    for arm in arms:
        for quantity in told:
            if row := _row_of_runs(sides, arm, quantity):
                yield row
    pairs = [pairs_of(side, sides.options.across)[0] for side in sides.both]
    for quantity in told:
        if row := _row_of_pairs(sides, pairs, quantity):
            yield row


def _row_of_runs(sides: Sides, arm: Arm, quantity: Quantity) -> ComparedRow | None:
    units = _units(sides, [_of_runs(sides, side, arm, quantity) for side in sides.both])
    named = anchor_key(sides, arm)
    anchor = None if named is None else units.pop(named, None)
    if not units:
        return None
    plain = _plain(units, quantity)
    if anchor is not None:
        estimate = anchored(list(units.values()), anchor, plain, sides.options.margin)
    else:
        estimate = _unanchored(sides, arm, quantity, units, plain)
    return _row(arm, quantity, estimate, units, anchor.change if anchor else 0.0)


def _row_of_pairs(
    sides: Sides, pairs: Sequence[Sequence[Pair]], quantity: Quantity
) -> ComparedRow | None:
    """Return what became of the load's effect: each pair is compared within its own session."""
    units = _units(sides, [_of_pairs(sides, side, quantity) for side in pairs])
    if not units:
        return None
    estimate = anchored(list(units.values()), None, _plain(units, quantity), sides.options.margin)
    return _row("load", quantity, estimate, units, 0.0)


def _row(
    question: Question,
    quantity: Quantity,
    estimate: Estimate,
    units: Mapping[Key, Unit],
    anchor: float,
) -> ComparedRow:
    points = [Point(one.label, back(one.change - anchor, estimate)) for one in units.values()]
    return ComparedRow(question, quantity, replace(estimate, p_value=None), tuple(points))


def _of_runs(
    sides: Sides, runs: Iterable[Run], arm: Arm, quantity: Quantity
) -> Iterator[tuple[Key, float]]:
    """Yield the configuration of each run of an arm, and its number."""
    for run in runs:
        value = amount(run, quantity) if run.arm == arm else None
        if value is not None:
            yield sides.key(run), _number(value, quantity)


def _of_pairs(
    sides: Sides, pairs: Iterable[Pair], quantity: Quantity
) -> Iterator[tuple[Key, float]]:
    for pair in pairs:
        value = change(pair, quantity)
        if value is not None:
            yield sides.key(pair.alone), _number(value, quantity)


def _number(value: float, quantity: Quantity) -> float:
    return math.log(value) if quantity.kind == "ratio" else value


def _grouped(numbers: Iterable[tuple[Key, float]]) -> dict[Key, list[float]]:
    found: dict[Key, list[float]] = {}
    for key, value in numbers:
        found.setdefault(key, []).append(value)
    return found


def _units(sides: Sides, numbers: Sequence[Iterable[tuple[Key, float]]]) -> dict[Key, Unit]:
    before, after = map(_grouped, numbers)
    labels = {sides.key(run): label_of(run) for run in sides.runs}
    return {
        key: Unit(labels[key], values, after[key]) for key, values in before.items() if key in after
    }


def _plain(units: Mapping[Key, Unit], quantity: Quantity) -> Estimate:
    return Estimate(None, n=len(units), unit="configurations", kind=quantity.kind)


def _unanchored(
    sides: Sides, arm: Arm, quantity: Quantity, units: Mapping[Key, Unit], plain: Estimate
) -> Estimate:
    """Return the change as a point, or over sessions where there are three a side."""
    plain = replace(plain, value=back(fmean(one.change for one in units.values()), plain))
    means = [list(_session_means(sides, side, arm, quantity, set(units)))
             for side in sides.both]  # fmt: skip
    if min(map(len, means)) < LEAST_UNITS:
        reason = (
            "no anchor, and fewer than 3 sessions a side: a session moves everything by a common"
            " factor, so points only"
        )
        return replace(plain, reason=reason)
    return over_sessions(means[0], means[1], plain, sides.options.margin)


def _session_means(
    sides: Sides, side: Sequence[Run], arm: Arm, quantity: Quantity, keys: set[Key]
) -> Iterator[float]:
    """Yield the mean of each session that ran all of these configurations."""
    for session in dict.fromkeys(run.session_id for run in side):
        own = [run for run in side if run.session_id == session]
        groups = _grouped(_of_runs(sides, own, arm, quantity))
        if keys <= groups.keys():
            yield fmean(fmean(groups[key]) for key in keys)
