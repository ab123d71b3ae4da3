"""A comparison in blocks of text, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from wattest.report.blocks import Block, Heading, Items, Paragraph, Table, cell, found, titled
from wattest.report.comparison import ComparedRow, Comparison, Question
from wattest.report.gate import EXIT_CODES, Gate, Outcome, parse_gate
from wattest.report.outline import COMBINED
from wattest.report.runs import Reading
from wattest.report.sentences import sentence
from wattest.report.statistics import counted
from wattest.report.tables import plain_data

_QUESTIONS: dict[Question, str] = {
    "alone": "what ran alone",
    "parallel": "what ran under the load",
    "load": "what the load did",
}
_WORST: tuple[Outcome, ...] = ("fails", "undecided", "holds")


def parse_gates(texts: Sequence[str], compared: Sequence[Comparison]) -> list[Gate]:
    """Return the gates.

    Raises:
        ConfigurationError: one of them is none, or nothing is called so in any comparison.
    """
    known = list(dict.fromkeys(name for one in compared for name in one.names()))
    return [parse_gate(text, known) for text in texts]


def outcomes(gates: Sequence[Gate], compared: Sequence[Comparison]) -> list[tuple[Outcome, str]]:
    """Return (outcome, sentence) of every gate in every comparison; what lacks it is undecided."""
    told: list[tuple[Outcome, str]] = []
    for gate in gates:
        for one in compared:
            row = one.names().get(gate.name)
            if row is None:
                why = f" ({one.reason})" if one.reason else ""
                text = f"{gate.text}: UNDECIDED: not known of {one.program}{why}"
                told.append(("undecided", text))
            else:
                told.append((gate.outcome(row.estimate), gate.sentence(row.estimate)))
    return told


def exit_code(told: Sequence[tuple[Outcome, str]]) -> int:
    """Return 1 where a gate fails, else 3 where one is not decided, else 0."""
    return next((EXIT_CODES[one] for one in _WORST if any(one == got for got, _ in told)), 0)


def comparison_outline(
    compared: Sequence[Comparison],
    told: Sequence[tuple[Outcome, str]],
    sides: Sequence[tuple[str, Reading]],
) -> Iterator[Block]:
    """Yield the blocks of a comparison: the gates first."""
    yield Heading(1, "Comparison of B with A")
    yield Items(tuple(
        f"{name}: {label}, {sum(run.is_valid for run in reading.runs)} of {len(reading.runs)}"
        " runs count" + "".join(f"; {one.path.name} {one.text}" for one in reading.damage)
        for name, (label, reading) in zip("AB", sides, strict=True)
    ))  # fmt: skip
    if told:
        yield Heading(2, "Gates")
        yield Items(tuple(text for _, text in told))
    for one in compared:
        yield from _comparison(one)


def _comparison(one: Comparison) -> Iterator[Block]:
    yield Heading(2, one.program)
    if one.reason:
        yield Paragraph(sentence(one.reason))
    for question, words in _QUESTIONS.items():
        rows = [row for row in one.rows if row.question == question]
        if any(row.estimate.value is not None for row in rows):
            yield Heading(3, f"B compared with A: {words}")
            head = ("", "B / A, or B - A", "n", "found with 80 % power", "")
            yield Table(head, tuple(_row(row, one.reason) for row in rows))
            if question != "alone":
                yield Paragraph(COMBINED)


def _row(row: ComparedRow, shared: str | None) -> tuple[str, ...]:
    """Return a row; a reason that all rows share is told above."""
    one = row.estimate
    told = [one.method, one.equivalence, one.reason if one.reason != shared else None]
    notes = "; ".join(text for text in told if text)
    return (
        titled(row.quantity),
        cell(one, row.quantity),
        counted(one.n, one.unit),
        found(one),
        notes,
    )


def comparison_json(
    compared: Sequence[Comparison], told: Sequence[tuple[Outcome, str]], sides: Sequence[Path]
) -> str:
    """Return a comparison with all digits."""
    document = {
        "a": str(sides[0]),
        "b": str(sides[1]),
        "gates": [{"outcome": outcome, "text": text} for outcome, text in told],
        "programs": plain_data(list(compared)),
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
