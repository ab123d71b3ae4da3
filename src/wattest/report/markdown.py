"""A report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from wattest.report.blocks import Block, Heading, Items, Paragraph, Table
from wattest.report.drawing import readable

# What is special only at its place is left alone elsewhere: names and gates stay readable.
_SPECIAL = re.compile(
    r"[\\`*|]|<(?=[A-Za-z/!?])|&(?=[#A-Za-z])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<=\])[(\[:]|(?<=\S)~"
)
_BEGINNING = re.compile(r"[#+=>-](\s|$)|>")


def markdown(blocks: Iterable[Block]) -> str:
    """Return blocks as Markdown; names change nothing around them."""
    return "\n".join(line for block in blocks for line in _lines(block))


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        yield f"{'#' * block.level} {_safe(block.text)}"
    elif isinstance(block, Paragraph):
        yield _begun(block.text)
    elif isinstance(block, Items):
        yield from (f"- {_begun(text)}" for text in block.texts)
    else:
        yield from _table(block)
    yield ""


def _table(table: Table) -> Iterator[str]:
    yield _row(map(_safe, table.head))
    yield _row(["---"] * len(table.head))
    yield from (_row(map(_safe, row)) for row in table.rows)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _begun(text: str) -> str:
    """Return a text at the beginning of a line, where it may not look like a list or heading."""
    safe = _safe(text)
    return f"\\{safe}" if _BEGINNING.match(safe) else safe


def _safe(text: str) -> str:
    """Return a text that Markdown shows as it stands, on one line."""
    return _SPECIAL.sub(r"\\\g<0>", readable(" ".join(text.split())))
