"""A report as LaTeX: one article that pdflatex compiles with the packages of its base."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

from wattest.report.blocks import Block, Heading, Items, Paragraph, Table
from wattest.report.drawing import readable

_HEAD = r"""\documentclass[a4paper]{article}
\usepackage{longtable}
\setlength{\textwidth}{17cm}\setlength{\oddsidemargin}{-0.5cm}\setlength{\parindent}{0pt}
\setlength{\tabcolsep}{3pt}\emergencystretch=3em
\begin{document}"""
_SECTIONS = {1: r"\section*", 2: r"\subsection*", 3: r"\subsubsection*"}
# Letters of the old encoding: its fonts are vectors, and everywhere.
_WORDS = {
    "\\": r"$\backslash$", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "^": r"\char94{}", "_": r"\_\allowbreak{}", "~": r"$\sim$", "%": r"\%", "<": "$<$", ">": "$>$",
    "|": "$|$", '"': r"\char34{}", "`": r"\char18{}", "'": "'{}", "-": "{-}", "×": r"$\times$",
    "±": r"$\pm$", "·": r"$\cdot$", "…": r"\ldots{}", "/": r"/\allowbreak{}", "?": "?{}",
    "!": "!{}", ",": ",{}",
}  # fmt: skip
_WIDTH_CM = 16.5


def latex(blocks: Iterable[Block]) -> str:
    """Return blocks as a document; a letter that pdflatex lacks is told by its number."""
    body = "\n".join(line for block in blocks for line in _lines(block))
    return f"{_HEAD}\n{body}\n\\end{{document}}\n"


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        yield f"{_SECTIONS[block.level]}{{{_safe(block.text)}}}"
    elif isinstance(block, Paragraph):
        yield f"{_safe(block.text)}\n"
    elif isinstance(block, Items) and block.texts:
        # What begins with a bracket would be a label.
        items = "\n".join(rf"\item {{}}{_safe(text)}" for text in block.texts)
        yield f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}"
    elif isinstance(block, Table):
        yield from _table(block)


def _table(table: Table) -> Iterator[str]:
    widths = _widths(table)
    columns = "".join(rf"p{{{width:.2f}cm}}" for width in widths)
    yield rf"{{\footnotesize\raggedright\begin{{longtable}}{{{columns}}}"
    yield rf"{_row(table.head)}\hline\endhead"
    yield from (_row(row) for row in table.rows)
    yield r"\end{longtable}}"


def _widths(table: Table) -> list[float]:
    longest = [
        min(max(len(row[at]) for row in (table.head, *table.rows)), 30) + 4
        for at in range(len(table.head))
    ]
    room = _WIDTH_CM - 0.22 * len(longest)
    return [room * one / sum(longest) for one in longest]


def _row(cells: Iterable[str]) -> str:
    # What begins with a bracket would be the space below the row before.
    return " & ".join(rf"{{}}\raggedright {_safe(one)}" for one in cells) + r"\tabularnewline"


def _safe(text: str) -> str:
    return "".join(map(_letter, readable(" ".join(text.split()))))


def _letter(letter: str) -> str:
    if letter in _WORDS:
        return _WORDS[letter]
    base = unicodedata.normalize("NFD", letter)[0]
    if letter.isascii() or ("À" <= letter <= "ÿ" and base.isascii()) or letter in "ßæøÆØ":
        return letter
    return rf"\texttt{{U+{ord(letter):04X}}}"
