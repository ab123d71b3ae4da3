"""One energy counter: how it is read, and what is known of it before a window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from wattest.energy.types import NS


@dataclass
class Seen:
    """What watching a counter for some seconds has shown: values, times between changes, step."""

    first: int | None = None
    last: int | None = None
    spans_ns: list[int] = field(default_factory=list)
    least_step: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Counter:
    """One energy counter.

    Attributes:
        label: How reasons name it, e.g. `package-0`, or a GPU's UUID.
        read: Reads it once, in counts; raises `ReadingError`.
        most_watts: Power above which a decrease is no wrap but a reset, and an increase a jump.
        unseen_step_seconds: Longest time that one of its steps may stand for, if that was not seen.
        wraps: Whether it starts again from 0 after `max_range`, in counts if that is known.
        read_limit: Reads the power limit of what it measures, in watts; None if unknown.
        package: The package that it belongs to, as its siblings of other domains name it.
        zone: The id of the CPU's zone, e.g. `intel-rapl:0`, or its event.
        is_wired: False for DRAM that stands at 0: it is watched, but promised to nobody.
        seen: What the probe saw of it; grows until its period is known.
    """

    label: str
    domain: str
    read: Callable[[], int]
    joules_per_count: float
    most_watts: float
    unseen_step_seconds: float
    wraps: bool = False
    max_range: int | None = None
    read_limit: Callable[[], float | None] = lambda: None
    package: str = ""
    zone: str = ""
    path: str = ""
    is_wired: bool = True
    seen: Seen = field(default_factory=Seen)

    @property
    def limit_watts(self) -> float | None:
        """Its power limit now."""
        return self.read_limit()

    @property
    def stands_at_zero(self) -> bool:
        """Whether it has shown nothing but 0."""
        return self.seen.first == 0 and self.seen.last == 0

    @property
    def period_seconds(self) -> float | None:
        """Median time between its changes, no less than the probe's pause; None if not seen."""
        return median(self.seen.spans_ns) / NS if self.seen.spans_ns else None

    @property
    def step_seconds(self) -> float:
        """Longest time that one of its steps may stand for."""
        return max(self.seen.spans_ns, default=self.unseen_step_seconds * NS) / NS

    @property
    def resolution_joules(self) -> float | None:
        """Its smallest step that was seen; None if it did not move."""
        step = self.seen.least_step
        return None if step is None else step * self.joules_per_count

    @property
    def probe_note(self) -> str:
        """What is odd about what the probe saw; empty if nothing is."""
        if self.seen.least_step is not None:
            return ""
        return f"its counter did not move in the probe of {self.seen.seconds:.1f} s"

    @property
    def range_joules(self) -> float | None:
        """The energy after which it wraps; None if unknown or if it does not."""
        return None if self.max_range is None else (self.max_range + 1) * self.joules_per_count

    def still_ns(self, seconds: float, periods: float) -> int:
        """The longer of a time and of some of its update periods, nanoseconds."""
        return int(NS * max(seconds, periods * (self.period_seconds or 0.0)))
