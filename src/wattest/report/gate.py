"""Gates for CI: a condition on an estimate fails, holds, or is not decided; never in silence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from wattest.errors import ConfigurationError
from wattest.report import numbers
from wattest.report.model import Estimate

Outcome = Literal["fails", "holds", "undecided"]
EXIT_CODES: dict[Outcome, int] = {"holds": 0, "fails": 1, "undecided": 3}
_GATE = re.compile(r"\s*(?P<name>[^<>=]+?)\s*(?P<sign>[<>])=?\s*(?P<limit>\S+)\s*")


@dataclass(frozen=True)
class Gate:
    """A condition on which to fail: a quantity's change beyond a limit."""

    text: str
    name: str
    is_above: bool
    limit: float

    def outcome(self, estimate: Estimate) -> Outcome:
        """Return what an estimate makes of it: only the nearer end of its interval decides."""
        if estimate.low is None or estimate.high is None:
            return "undecided"
        low, high = estimate.low, estimate.high
        if not self.is_above:
            low, high = -high, -low
        limit = self.limit if self.is_above else -self.limit
        return "fails" if low > limit else "holds" if high <= limit else "undecided"

    def sentence(self, estimate: Estimate) -> str:
        """Return its outcome in words, with what it rests on."""
        found = self.outcome(estimate)
        words = {
            "fails": "FAILS: the whole interval is beyond the limit",
            "holds": "holds: the whole interval is within the limit",
            "undecided": "UNDECIDED: the limit lies within the interval",
        }
        if not estimate.has_interval:
            return f"{self.text}: UNDECIDED: {estimate.reason or 'there is no interval'}"
        return f"{self.text}: {words[found]}, {numbers.estimate(estimate)}"


def parse_gate(text: str, known: Sequence[str]) -> Gate:
    """Return the gate that `NAME>LIMIT` or `NAME<LIMIT` describes.

    Raises:
        ConfigurationError: it is none, or no quantity has this name.
    """
    match = _GATE.fullmatch(text)
    try:
        limit = float(match["limit"]) if match else float("nan")
    except ValueError:
        limit = float("nan")
    if match is None or limit != limit or limit in (float("inf"), float("-inf")):
        raise ConfigurationError([f"--fail-if {text!r} is no gate: write gpu_energy>1.05"])
    if match["name"] not in known:
        told = ", ".join(known) or "none"
        raise ConfigurationError(
            [f"--fail-if {text!r}: nothing here is called {match['name']!r}; there are: {told}"]
        )
    return Gate(text.strip(), match["name"], match["sign"] == ">", limit)
