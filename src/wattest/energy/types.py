"""What the parts of this room hand to each other: reasons, findings, and what a domain gave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from wattest.errors import EnergyError

NS = 1_000_000_000
"""Nanoseconds in a second."""


@dataclass(frozen=True)
class Reason:
    """Why a number is flagged or refused, in one sentence and in figures.

    `gate` says which rule spoke (`counter_reset`), for machines; `domain` is `cpu_pkg`, `cpu_ram`,
    `gpu`, or None for the window; `value` was judged by `threshold`, where there are such.
    """

    gate: str
    text: str
    domain: str | None = None
    value: float | None = None
    threshold: float | None = None


class ReadingError(EnergyError):
    """A counter gave no value this time.

    Attributes:
        gate: `permission_lost`, `source_lost` or `read_failed`.
    """

    def __init__(self, gate: str, text: str) -> None:
        self.gate = gate
        super().__init__(text)


@dataclass(frozen=True)
class Finding:
    """One sensor that was looked for, and what became of it.

    Attributes:
        name: The zone (`package-0`, `package-0/dram`), the GPU's UUID, or the domain.
        status: `measured`, `unavailable` (nothing to read), `rejected` (exists, must not count) or
            `unreadable` (should count and cannot be read: nobody goes on without it unasked).
        reason: Why it is not measured, or what is odd about it; empty if neither.
        remedy: A command or an act that would mend it, if there is one.
        source: `powercap`, `perf`, `nvml-counter` or `nvml-power-integral`; None if not measured.
        details: Zone, path, UUID, inferred update period, resolution, limits.
        refusal: What a session says that may not go on without it, though it cannot be read.
    """

    domain: str
    name: str
    status: Literal["measured", "unavailable", "rejected", "unreadable"]
    reason: str = ""
    remedy: str | None = None
    source: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)
    refusal: str = ""

    @property
    def statement(self) -> str:
        """Its reason as headers and records give it: who goes on without it has accepted that."""
        if self.status != "unreadable":
            return self.reason
        reason = self.refusal if self.domain == "gpu" else self.reason
        return f"{reason}; accepted by --allow-missing {self.domain}"


@dataclass(frozen=True)
class Part:
    """One zone or GPU in one window, judged; its figures bear the names that a record has.

    `facts` are what only its kind has; `joules` are None if refused, and then what was followed of
    it is `joules_until_failure`; period and resolution are None if its counter did not move before.
    """

    name: str
    facts: Mapping[str, object]
    joules: float | None
    joules_until_failure: float | None
    samples: int
    failed_reads: int
    longest_gap_seconds: float
    update_period_seconds: float | None
    resolution_joules: float | None
    edge_uncertainty_joules: float
    faults: tuple[Reason, ...]
    flags: tuple[Reason, ...]

    def as_dict(self) -> dict[str, object]:
        """As a record stores it."""
        own = asdict(self)
        for name in ("name", "facts", "faults", "flags"):
            del own[name]
        return {**self.facts, **own}


@dataclass(frozen=True)
class DomainResult:
    """What one domain gave in one window, and where that comes from.

    Attributes:
        status: `measured`, `unavailable` (nothing to read), `invalid` (must not be believed) or
            `shared` (another training used the same counters: then `facts` has `shared_joules`).
        reason: Why there is no number; None if there is one.
        energy_joules: The number that may be believed; None unless the status is `measured`.
        source: As that of a finding, or two of them; None if nothing was read.
        facts: What only its source has, by its key in a record.
        joules_until_failure: What was followed of the parts before one failed; None without that.
        wraps: How often their counters started again; None where the kernel follows that.
        faults: Why the attempt is invalid.
        flags: What the reader must know although the number stands.
        metrics: Further values by their key in a record (power, temperature, utilisation).
    """

    domain: str
    status: Literal["measured", "unavailable", "invalid", "shared"]
    reason: str | None
    energy_joules: float | None = None
    source: str | None = None
    parts: tuple[Part, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    joules_until_failure: float | None = None
    wraps: int | None = None
    faults: tuple[Reason, ...] = ()
    flags: tuple[Reason, ...] = ()
    metrics: Mapping[str, float | None] = field(default_factory=dict)

    def shared(self, reason: str) -> DomainResult:
        """The same, if it is a number, as one that is not this training's alone.

        Its joules move to `shared_joules`, of the domain and of its parts, so that no sum over
        records counts them twice.
        """
        if self.status != "measured":
            return self
        parts = tuple(
            replace(one, joules=None, facts={**one.facts, "shared_joules": one.joules})
            for one in self.parts
        )
        facts = {**self.facts, "shared_joules": self.energy_joules}
        if "zones" in facts:
            facts["zones"] = [part.as_dict() for part in parts]
        return replace(
            self, status="shared", reason=reason, energy_joules=None, parts=parts, facts=facts
        )

    def provenance(self) -> dict[str, object]:
        """Where the number comes from, and how well its parts were followed: as a record has it."""
        head = {
            "status": self.status,
            "energy_joules": self.energy_joules,
            "source": self.source,
            "reason": self.reason,
            **self.facts,
        }
        if not self.parts:
            return head
        parts, energy = self.parts, self.energy_joules
        edge_joules = sum(part.edge_uncertainty_joules for part in parts)
        return {
            **head,
            "joules_until_failure": self.joules_until_failure,
            "samples": min(part.samples for part in parts),
            "failed_reads": sum(part.failed_reads for part in parts),
            "wraps": self.wraps,
            "longest_gap_seconds": max(part.longest_gap_seconds for part in parts),
            "update_period_seconds": _greatest(part.update_period_seconds for part in parts),
            "resolution_joules": _greatest(part.resolution_joules for part in parts),
            "edge_uncertainty_joules": edge_joules,
            "edge_uncertainty_percent": 100 * edge_joules / energy if energy else None,
        }


def _greatest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
