"""What tests have measured: for the table, for JUnit, and as JSON."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import wattest
from wattest.files import json_text, write_atomically
from wattest.pytest_energy.budget import Estimate, Verdict
from wattest.pytest_energy.meter import DOMAINS, MeasuredWindow, Meter
from wattest.terminal import table_lines

_COLUMNS: Sequence[tuple[str, Literal["left", "right"]]] = (
    ("test", "left"),
    ("window", "left"),
    ("calls", "right"),
    ("seconds", "right"),
    ("CPU J", "right"),
    ("GPU J", "right"),
    ("budget", "left"),
)
# Not one of a name, such as package-0.
_NUMBER = re.compile(r"(?<![\w-])\d[\d.]*(e[+-]\d+)?")
_WAITED_SECONDS = 0.1


@dataclass
class Entry:
    """One line of the report: the call of a test with its repetitions, or a window of it.

    `name` is that of the window; None for the call, which the report calls ``call``.
    """

    test: str
    name: str | None
    windows: list[MeasuredWindow] = field(default_factory=list)
    verdict: Verdict | None = None

    @contextlib.contextmanager
    def measure(self, meter: Meter) -> Iterator[MeasuredWindow]:
        """Measure one window more, and keep it whatever ends it."""
        with meter.window() as window:
            self.windows.append(window)
            yield window

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it: means over the repetitions, and each of them."""
        flags = dict.fromkeys(flag for window in self.windows for flag in window.flags)
        energies = {domain: self._estimate(domain) for domain in DOMAINS}
        seconds = [one.seconds for one in self.windows if one.seconds is not None]
        return {
            "test": self.test,
            "window": "call" if self.name is None else self.name,
            "repetitions": len(self.windows),
            "seconds": sum(seconds) / len(seconds) if seconds else None,
            **{name: None if one is None else one.mean for name, one in energies.items()},
            "intervals": {name: _ends(one) for name, one in energies.items()},
            "flags": list(flags),
            "missing": {name: why for one in self.windows for name, why in one.missing.items()},
            "waited_seconds": sum(one.waited_seconds for one in self.windows),
            "budget": None if self.verdict is None else asdict(self.verdict),
            "each": [asdict(one) for one in self.windows],
        }

    def properties(self) -> list[tuple[str, object]]:
        """As JUnit has it: what is known, by names that begin with ``energy``."""
        own = self.as_dict()
        prefix = "energy" if self.name is None else f"energy_{self.name}"
        values = [(name, own[name]) for name in ("seconds", *DOMAINS)]
        found: list[tuple[str, object]] = [
            (f"{prefix}_{name}", value) for name, value in values if value is not None
        ]
        return [*found, *((f"{prefix}_flag", flag) for flag in own["flags"])]

    def _estimate(self, domain: str) -> Estimate | None:
        values = [getattr(window, domain) for window in self.windows]
        return None if None in values or not values else Estimate.over(values)


def write(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write the report as JSON, whole or not at all."""
    document = {
        "wattest": wattest.__version__,
        "note": "counters are machine-wide: joules are those of the whole machine in the window",
        "entries": list(entries),
    }
    write_atomically(path, json_text(document))


def lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of all entries, and what is to be said below it."""
    return [*table_lines(_COLUMNS, map(_row, entries)), *_remarks(entries)]


def _row(entry: Mapping[str, Any]) -> list[str]:
    energies = [_joules(entry[name], entry["intervals"][name]) for name in DOMAINS]
    seconds = "-" if entry["seconds"] is None else f"{entry['seconds']:.2f}"
    return [entry["test"], entry["window"], str(entry["repetitions"]), seconds, *energies,
            _budget(entry["budget"])]  # fmt: skip


def _joules(mean: float | None, ends: Sequence[float] | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.4g}" + (f" [{ends[0]:.4g}, {ends[1]:.4g}]" if ends else "")


def _budget(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None or not any(verdict["budget"].values()):
        return ""
    if verdict["exceeded"]:
        return "exceeded"
    return "not checked" if verdict["unchecked"] else "kept"


def _remarks(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say each flag and absence once, whatever its numbers, and how many entries it concerns."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for entry in entries:
        missing = [f"{name} not measured: {why}" for name, why in entry["missing"].items()]
        # Why a number is not there is a flag, too.
        flags = [flag for flag in entry["flags"] if not any(flag in text for text in missing)]
        kinds = {_NUMBER.sub("#", text): text for text in (*flags, *missing)}
        counts.update(kinds.keys())
        first = kinds | first
    for kind, text in first.items():
        yield f"{text} ({counts[kind]} of {len(entries)})"
    waited = sum(entry["waited_seconds"] for entry in entries)
    if waited >= _WAITED_SECONDS:
        yield (
            "tests that measure wait for each other, since counters are machine-wide:"
            f" {waited:.1f} s in all"
        )


def _ends(estimate: Estimate | None) -> tuple[float, float] | None:
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    return estimate.low, estimate.high
