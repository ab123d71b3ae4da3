"""What every kind of energy source shares: the protocol it follows and the facts it hands over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from wattest.errors import EnergyError

if TYPE_CHECKING:
    from wattest.energy.probe import Probed
    from wattest.energy.schedule import Schedule
    from wattest.energy.traces import TraceFolder

NS = 1_000_000_000
"""Nanoseconds in a second."""

Status = Literal["measured", "unavailable", "invalid"]


@dataclass(frozen=True)
class Reason:
    """Why a number is flagged or refused, in words and in figures.

    Attributes:
        gate: Which rule spoke, e.g. `counter_reset`; stable, for machines.
        text: One sentence for the reader, naming the source and the fault.
        domain: `cpu_pkg`, `cpu_ram` or `gpu`; None for the meter as a whole.
        value: The figure that was judged, where there is one.
        threshold: The figure that it was judged by, where there is one.
    """

    gate: str
    text: str
    domain: str | None = None
    value: float | None = None
    threshold: float | None = None

    def as_dict(self) -> dict[str, object]:
        """As a record stores it."""
        return {
            "gate": self.gate,
            "text": self.text,
            "domain": self.domain,
            "value": self.value,
            "threshold": self.threshold,
        }


class ReadingError(EnergyError):
    """A counter gave no value this time.

    Attributes:
        gate: `permission_lost`, `source_lost` or `read_failed`.
    """

    def __init__(self, gate: str, text: str) -> None:
        self.gate = gate
        super().__init__(text)


@dataclass(frozen=True)
class CounterSpec:
    """What is known of a counter before the window.

    Attributes:
        label: How reasons name it, e.g. `package-0`.
        domain: `cpu_pkg`, `cpu_ram` or `gpu`.
        joules_per_count: 1e-6 for powercap, 1e-3 for NVML.
        wraps: Whether it starts again from 0 after `max_range`.
        max_range: Its greatest value in counts; None if that is not known.
        period_seconds: Its inferred update period; None if it did not move in the probe.
        step_seconds: Longest time that one of its steps may stand for.
        wrap_watts: Power above which a decrease is no wrap.
        jump_watts: Power above which an increase is a fault.
    """

    label: str
    domain: str
    joules_per_count: float
    wraps: bool
    max_range: int | None
    period_seconds: float | None
    step_seconds: float
    wrap_watts: float
    jump_watts: float

    def joules_between(self, earlier: int, later: int) -> float | None:
        """Energy between two values of the counter; None for a decrease that cannot be a wrap."""
        counts = later - earlier
        if counts < 0:
            if not self.wraps or self.max_range is None or earlier > self.max_range:
                return None
            counts += self.max_range + 1
        return counts * self.joules_per_count

    def bound_watts(self, *, fell: bool) -> float:
        """Power above which a decrease is a reset, or an increase a jump."""
        return self.wrap_watts if fell else self.jump_watts

    @property
    def range_joules(self) -> float | None:
        """The energy after which it wraps; None if unknown or if it does not."""
        if not self.wraps or self.max_range is None:
            return None
        return (self.max_range + 1) * self.joules_per_count


@dataclass(frozen=True)
class Finding:
    """One sensor that was looked for, and what became of it.

    Attributes:
        domain: `cpu` or `gpu`.
        name: The zone (`package-0`, `package-0/dram`), the GPU's UUID, or the domain.
        status: `measured`, `unavailable` (nothing to read) or `rejected` (exists, must not count).
        reason: Why it is not measured, or what is odd about it; empty if neither.
        remedy: A command or an act that would mend it, if there is one.
        source: `powercap`, `perf`, `nvml-counter` or `nvml-power-integral`; None if not measured.
        details: Zone, path, UUID, inferred update period, resolution, limits.
    """

    domain: str
    name: str
    status: Literal["measured", "unavailable", "rejected"]
    reason: str = ""
    remedy: str | None = None
    source: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class DomainResult:
    """What one domain gave in one window.

    Attributes:
        domain: `cpu_pkg`, `cpu_ram` or `gpu`.
        status: `measured`, `unavailable` or `invalid`.
        energy_joules: The number that may be believed; None unless the status is `measured`.
        details: Provenance, ready for JSON.
        faults: Why the attempt is invalid.
        flags: What the reader must know although the number stands.
        metrics: Further values by their key in a record (power, temperature, utilisation).
    """

    domain: str
    status: Status
    energy_joules: float | None
    details: Mapping[str, object]
    faults: tuple[Reason, ...] = ()
    flags: tuple[Reason, ...] = ()
    metrics: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Live:
    """The state of one recording for a progress line; None where it is not known.

    Attributes:
        domain: `cpu` or `gpu`.
        watts: Power over the last interval.
        joules: Energy since the opening edge.
        temperature_celsius: The hottest GPU.
        utilization_percent: Mean over the GPUs.
    """

    domain: str
    watts: float | None
    joules: float | None
    temperature_celsius: float | None = None
    utilization_percent: float | None = None


class Recording(Protocol):
    """The readings of one kind of source in one window, in the order of the methods below."""

    period_ns: int
    """Nominal time between two calls of `sample`."""

    def prepare(self) -> None:
        """Make the readings that belong to the opening edge but are not energy; may be slow."""

    def read_opening(self) -> None:
        """Read the energy at the opening edge; failures are kept, not raised."""

    def sample(self, now_ns: int) -> None:
        """Read once, `now_ns` being the monotonic time at which the tick began."""

    def read_closing(self) -> None:
        """Read the energy at the closing edge, before anything else is done."""

    def finish(self, opened_ns: int, ended_ns: int) -> None:
        """Make the readings that may follow the edge.

        Args:
            opened_ns: When the window was open, after every source had been read.
            ended_ns: When what was measured ended.
        """

    def results(self, schedule: Schedule) -> tuple[DomainResult, ...]:
        """Judge the window, which was sampled on `schedule`."""

    def live(self) -> Live:
        """The latest values, without reading anything."""

    def close(self) -> None:
        """Release what the recording holds; may be called at any time, and twice."""


class SourceKind(Protocol):
    """One kind of source (powercap, perf, NVML) with all its counters on this machine."""

    def findings(self) -> tuple[Finding, ...]:
        """Every sensor of this kind, measured or not."""

    def counters(self) -> Mapping[str, Callable[[], int]]:
        """How to read each counter whose update period must be inferred, by its label."""

    def learn(self, probed: Mapping[str, Probed]) -> None:
        """Take what the probe at the start of the session found of each counter."""

    def record(self, traces: TraceFolder) -> Recording:
        """Begin a window."""

    def close(self) -> None:
        """Release the hardware; may be called twice."""
