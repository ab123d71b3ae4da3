"""The two sides of a comparison, and the configuration that both have for an anchor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wattest.errors import ConfigurationError
from wattest.report.runs import SEED, Arm, Run
from wattest.report.studies import Options

Key = tuple[tuple[str, float], ...]
"""The hyper-parameters of a configuration, but for the one that is compared."""


@dataclass(frozen=True)
class Sides:
    """The runs that count of one program, and what is asked of them."""

    before: Sequence[Run]
    after: Sequence[Run]
    by: str | None
    anchor: str | None
    options: Options

    @property
    def both(self) -> tuple[Sequence[Run], Sequence[Run]]:
        """A and B."""
        return self.before, self.after

    @property
    def runs(self) -> list[Run]:
        """All of both."""
        return [*self.before, *self.after]

    def key(self, run: Run) -> Key:
        """Return the configuration of a run, whatever the seed."""
        return tuple(
            sorted((k, v) for k, v in run.hyperparameters.items() if k not in (self.by, SEED))
        )


def anchor_key(sides: Sides, arm: Arm | None = None) -> Key | None:
    """Return the configuration that `--anchor` names in an arm, or in any; None where in none.

    Raises:
        ConfigurationError: it names several.
    """
    text = sides.anchor
    if text is None:
        return None
    found = [
        {sides.key(run) for run in side if arm in (None, run.arm) and _is_named(run, text)}
        for side in sides.both
    ]
    both = found[0] & found[1]
    if len(both) > 1:
        told = f"--anchor {text}: names {len(both)} configurations; name one of them in full"
        raise ConfigurationError([told])
    return next(iter(both), None)


def _is_named(run: Run, text: str) -> bool:
    if text in (run.configuration, run.test_id):
        return True
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        values = {name.strip(): float(value) for name, _, value in pairs}
    except ValueError:
        return False
    return all(
        name in run.hyperparameters and math.isclose(run.hyperparameters[name], value)
        for name, value in values.items()
    )
