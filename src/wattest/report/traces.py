"""The power traces of one run, on the clock of its window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from wattest.files import read_regular
from wattest.records import result_of

_FILES = {"GPU": ("gpu_power.csv", "gpu"), "CPU": ("cpu_power.csv", "zone")}
# The first reading belongs to the opening edge; a clock that tells otherwise is another one.
_SAME_CLOCK_SECONDS = 10.0


class Extent(NamedTuple):
    """What power did within one column of a picture."""

    seconds: float
    low_watts: float
    high_watts: float


@dataclass(frozen=True)
class PowerTrace:
    """Power of all GPUs, or of all measured CPU zones, by seconds after the opening edge."""

    domain: str
    seconds: Sequence[float]
    watts: Sequence[float]

    @property
    def mean_watts(self) -> float:
        """The mean over time, by the trapezoid rule; of a single sample its value."""
        span = self.seconds[-1] - self.seconds[0]
        if span <= 0:
            return self.watts[-1]
        steps = zip(pairwise(self.seconds), pairwise(self.watts), strict=True)
        return sum((b - a) * (v + w) / 2 for (a, b), (v, w) in steps) / span


def power_traces(record: Mapping[str, Any], folder: Path) -> list[PowerTrace]:
    """Return the traces of a record's last attempt, GPU first; what is not there is left out.

    `folder` is where the record lies. A sample counts where every GPU (or zone) gave a number.
    """
    result = result_of(record)
    if not result["attempts"] or not result["attempts"][-1].get("energy_folder"):
        return []
    place = (folder / result["attempts"][-1]["energy_folder"]).resolve()
    if not place.is_relative_to(folder.resolve()):
        return []
    totals = {domain: _totals(place / name, part) for domain, (name, part) in _FILES.items()}
    first = min((_beginning(domain, total) for domain, total in totals.items() if total), default=0)
    opened = _opened_at(result)
    zero = first if opened is None or abs(opened - first) > _SAME_CLOCK_SECONDS else opened
    return [
        PowerTrace(domain, [at - zero for at, _ in total], [watts for _, watts in total])
        for domain, total in totals.items()
        if total
    ]


def thinned(trace: PowerTrace, columns: int) -> list[Extent]:
    """Return the lowest and highest power in each of so many columns of equal time.

    Columns without a sample are left out, so that what was sampled thinly stays what it is.
    """
    start, span = trace.seconds[0], trace.seconds[-1] - trace.seconds[0]
    width = span / columns if span else 1.0
    found: dict[int, list[float]] = {}
    for at, watts in zip(trace.seconds, trace.watts, strict=True):
        found.setdefault(min(int((at - start) / width), columns - 1), []).append(watts)
    return [
        Extent(start + (column + 0.5) * width, min(watts), max(watts))
        for column, watts in found.items()
    ]


def _opened_at(result: Mapping[str, Any]) -> float | None:
    """Return the wall clock at the opening edge, in seconds since the epoch; None if not told."""
    told = ((result["energy_provenance"] or {}).get("window") or {}).get("opened_at")
    try:
        return datetime.fromisoformat(str(told).replace("Z", "+00:00")).timestamp()
    except (ValueError, OSError, OverflowError):
        return None


def _beginning(domain: str, total: Sequence[tuple[float, float]]) -> float:
    """Return when a trace begins: what stands for the CPU's power is the mean since the last."""
    start = total[0][0]
    return start - (total[1][0] - start) if domain == "CPU" and len(total) > 1 else start


def _totals(path: Path, part: str) -> list[tuple[float, float]]:
    """Return (time, watts of all parts together) of a trace; empty where it cannot be read."""
    try:
        text = read_regular(path).decode("utf-8", errors="replace")
    except OSError:
        return []
    samples: dict[float, dict[str, float]] = {}
    for at, name, watts in _rows(text, part):
        samples.setdefault(at, {})[name] = watts
    parts = max(map(len, samples.values()), default=0)
    whole = {at: sum(one.values()) for at, one in samples.items() if len(one) == parts}
    return sorted(whole.items())


def _rows(text: str, part: str) -> Iterator[tuple[float, str, float]]:
    head, *lines = text.split("\n")
    names = head.split(",")
    if not {"timestamp", "power_draw_w", part} <= set(names):
        return
    at, watts, name = map(names.index, ("timestamp", "power_draw_w", part))
    for line in lines:
        cells = line.split(",")
        try:
            row = float(cells[at]), cells[name], float(cells[watts])
        except (IndexError, ValueError):
            continue
        if isfinite(row[0]) and isfinite(row[2]):
            yield row
