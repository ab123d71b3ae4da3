"""A run in a terminal: power as a line of blocks, the load's runs below it, the verdict above."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from wattest.report.epochtable import epoch_table
from wattest.report.numbers import duration, percent
from wattest.report.sheet import Load, LoadRun, Sheet, power_range
from wattest.report.traces import PowerTrace

_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII = {"▁": "_", "▂": ".", "▃": "-", "▄": "~", "▅": "=", "▆": "+", "▇": "*", "█": "#",
          "▓": "=", "·": ".", "±": "+-", "✓": "ok", "✗": "x"}  # fmt: skip
_MARKS = {"ok": "✓", "flag": "!", "refused": "✗", "unknown": "-"}
_LABEL = 12
_MOST_EPOCHS = 12


def sheet_lines(sheet: Sheet, width: int) -> Iterator[str]:
    """Yield the lines of a sheet; its pictures fit into `width` columns.

    Every picture covers the window from its opening to its closing edge.
    """
    columns = max(20, min(width - _LABEL - 4, 100))
    yield sheet.experiment_id
    yield f"  {sheet.headline}"
    yield from (f"    because  {reason}" for reason in sheet.reasons)
    yield ""
    for trace in sheet.traces:
        yield _row(f"{trace.domain} power", power_line(trace, sheet.window_seconds, columns))
        yield _row("", power_range(trace))
    if not sheet.traces:
        yield _row("power", "no trace of it lies beside the record")
    drawn = [load for load in sheet.loads if load.runs]
    for load in drawn:
        label = f"load {sheet.loads.index(load) + 1}" if len(sheet.loads) > 1 else "load"
        yield _row(label, load_line(load.runs or (), sheet.window_seconds, columns))
    if sheet.traces or drawn:
        end = duration(sheet.window_seconds)
        yield _row("", f"{'0 s':<{max(columns - len(end), 3)}}{end}")
    for index, sentence in enumerate(load_sentences(sheet)):
        yield _row("" if drawn or index else "load", sentence)
    yield ""
    yield from (_row(label, text) for label, text in sheet.facts)
    yield from _epoch_rows(sheet)
    yield ""
    yield from _gate_rows(sheet)
    yield from (_row("flag", flag) for flag in sheet.flags)


def for_encoding(line: str, encoding: str) -> str:
    """Return the line with what an encoding cannot say in its plain letters."""
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        plain = "".join(_ASCII.get(letter, letter) for letter in line)
        return plain.encode(encoding, errors="replace").decode(encoding)
    return line


def power_line(trace: PowerTrace, seconds: float, columns: int) -> str:
    """Return power over the window in blocks, from 0 to its greatest; a space has no sample."""
    means = _means(trace, seconds, columns)
    most = max((mean for mean in means if mean is not None), default=0.0)
    return "".join(
        " " if mean is None else _LEVELS[min(int(mean / most * 8), 7)] if most > 0 else "▁"
        for mean in means
    ).rstrip()


def _means(trace: PowerTrace, seconds: float, columns: int) -> list[float | None]:
    """Return the mean power of each column; where pictures are finer than samples, the last one.

    A pause of several samples stays one.
    """
    found: list[list[float]] = [[] for _ in range(columns)]
    for at, watts in zip(trace.seconds, trace.watts, strict=True):
        if 0 <= at <= seconds:
            found[min(int(at / (seconds or 1) * columns), columns - 1)].append(watts)
    periods = sorted(later - at for at, later in pairwise(trace.seconds))
    period = periods[len(periods) // 2] if periods else 0.0
    held = math.ceil(1.5 * period / (seconds or 1) * columns)
    means: list[float | None] = []
    since = held + 1
    for watts_here in found:
        since = 0 if watts_here else since + 1
        mean = sum(watts_here) / len(watts_here) if watts_here else means[-1] if means else None
        means.append(mean if since <= held else None)
    return means


def load_line(runs: Sequence[LoadRun], seconds: float, columns: int) -> str:
    """Return when the load ran: each run a bar, every second one lighter; a dot is a gap.

    A column shows a gap only where no run touches it, and `✗` where a run ended in failure.
    """
    line = ["·"] * columns
    for index, run in enumerate(runs):
        end = seconds if run.ended_seconds is None else run.ended_seconds
        if end < 0 or run.started_seconds > seconds or not seconds:
            continue
        first = max(int(run.started_seconds / seconds * columns), 0)
        last = min(int(end / seconds * columns), columns - 1)
        for column in range(min(first, columns - 1), last + 1):
            line[column] = "█▓"[index % 2]
        if run.has_failed:
            line[last] = "✗"
    return "".join(line)


def load_sentences(sheet: Sheet) -> list[str]:
    """Return what each load did, or that there was none."""
    if not sheet.loads:
        return [f"none: {'the load itself' if sheet.mode == 'load' else 'this run'} was alone"]
    return list(map(_load_sentence, sheet.loads))


def _load_sentence(load: Load) -> str:
    alive = f"alive for {percent(load.alive_share)} of the window"
    if load.alive_share is None:
        alive = "not known to have been alive in the window"
    if load.runs is None:
        return f"{load.name}, {alive}; this record does not tell its single runs"
    count = len(load.runs)
    failed = sum(run.has_failed for run in load.runs)
    ended = f", {failed} ended in failure" if failed else ""
    return f"{load.name}, {alive}, {count} run{'s' * (count != 1)}{ended}"


def _gate_rows(sheet: Sheet) -> Iterator[str]:
    names = max((len(gate.name) for gate in sheet.gates), default=0)
    found = max((len(gate.found) for gate in sheet.gates), default=0)
    for gate in sheet.gates:
        label = "gates" if gate is sheet.gates[0] else ""
        told = f"{_MARKS[gate.mark]} {gate.name:<{names}}  {gate.found:<{found}}  {gate.allowed}"
        yield _row(label, told)


def _epoch_rows(sheet: Sheet) -> Iterator[str]:
    """Yield the table of what each epoch took; of many the first and the last ones."""
    rows = epoch_table(sheet)
    if rows:
        half = _MOST_EPOCHS // 2
        left_out = len(rows) - 1 - _MOST_EPOCHS
        shown = rows if left_out <= 0 else [*rows[: half + 1], *rows[-half:]]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        for index, row in enumerate(shown):
            if left_out > 0 and index == half + 1:
                yield _row("", f"… {left_out} more …")
            cells = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            yield _row("epochs" * (index == 0), "  ".join(cells))
    if sheet.epochs_note:
        yield _row("" if rows else "epochs", sheet.epochs_note)


def _row(label: str, text: str) -> str:
    return f"  {label:<{_LABEL}}{text}".rstrip()
