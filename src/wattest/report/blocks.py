"""Headings, paragraphs, lists and tables of text, and estimates as their cells."""

from __future__ import annotations

from dataclasses import dataclass

from wattest.report import numbers
from wattest.report.model import Estimate
from wattest.report.runs import Quantity
from wattest.report.sentences import smallest


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Sentences."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows below a head; the first column is of names."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Paragraph | Items | Table


def titled(quantity: Quantity) -> str:
    """Return a quantity's title; that of an estimate has a `~`."""
    return "~" * quantity.estimated + quantity.title


def cell(estimate: Estimate | None, quantity: Quantity) -> str:
    """Return an estimate as a cell of a table: its number with its interval."""
    if estimate is None or estimate.value is None:
        return numbers.UNKNOWN
    return "~" * quantity.estimated + numbers.estimate(estimate)


def found(estimate: Estimate) -> str:
    """Return the smallest effect that such a campaign finds with 80 % power."""
    return smallest(estimate) or numbers.UNKNOWN
