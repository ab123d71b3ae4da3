"""The counters of this machine as what can be leased: whole, or in the two halves of a team.

Where several workers measure side by side, their controller holds the first file of each counter
for as long as the team lasts, and each worker the second one of what it measures with. Who measures
alone holds both. So a worker that outlives its killed controller keeps its counter to its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wattest.machine.lease import Claim

if TYPE_CHECKING:
    from wattest.energy import Finding


_IN_USE = " (in use)"


@dataclass(frozen=True)
class Leasable:
    """A counter: its name in messages, and two files that it has below /sys, if it has them."""

    name: str
    first: Path | None = None
    second: Path | None = None

    def reserve(self, *, shared: bool = False) -> Claim:
        """Return what the controller of a team claims, and every one of those who share."""
        return Claim(self.name, self.first, shared)

    def use(self) -> Claim:
        """Return what the worker of a team claims."""
        return Claim(f"{self.name}{_IN_USE}", self.second)

    def whole(self) -> list[Claim]:
        """Return what a session without a team claims."""
        return [self.reserve(), self.use()]


def counters_of(
    findings: Iterable[Finding], sys_root: Path, *, share_cpu: bool = False
) -> list[Claim]:
    """Return what a session without a team claims of the counters that are measured.

    Args:
        findings: What was looked for.
        sys_root: Root of /sys.
        share_cpu: Whether other sessions that share too may measure with the CPU's counters.
    """
    found = [(one.name, one.details.get("pci_bus_id")) for one in _measured(findings, "gpu")]
    counters = [gpu_counter(name, str(bus) if bus else None, sys_root) for name, bus in found]
    if not share_cpu:
        counters += packages_of(findings, sys_root)
    claims = [claim for counter in counters for claim in counter.whole()]
    return claims + shared_cpu(findings, sys_root) if share_cpu else claims


def names_of(claims: Iterable[Claim]) -> list[str]:
    """Return the counters that are claimed, each once."""
    return list(dict.fromkeys(claim.name.removesuffix(_IN_USE) for claim in claims))


def shared_cpu(findings: Iterable[Finding], sys_root: Path) -> list[Claim]:
    """Return what all claim together who share the CPU's counters, also where there are none."""
    packages = packages_of(findings, sys_root) or [Leasable(packages_lease(sys_root))]
    return [counter.reserve(shared=True) for counter in packages]


def packages_of(findings: Iterable[Finding], sys_root: Path) -> list[Leasable]:
    """Return the CPU's packages that are measured: what to lease of them."""
    own = _measured(findings, "cpu")
    return list(dict.fromkeys(package for one in own for package in _packages(one, sys_root)))


def gpu_counter(uuid: str, pci_bus_id: str | None, sys_root: Path) -> Leasable:
    """Return a GPU as what can be leased, by its device on the PCI bus (`00000000:3B:00.0`)."""
    if pci_bus_id is None:
        return Leasable(uuid)
    domain, _, rest = pci_bus_id.lower().partition(":")
    device = sys_root / "bus" / "pci" / "devices" / f"{int(domain, 16):04x}:{rest}"
    return Leasable(uuid, device / "vendor", device / "device")


def _measured(findings: Iterable[Finding], domain: str) -> list[Finding]:
    return [one for one in findings if one.status == "measured" and one.domain == domain]


def _packages(finding: Finding, sys_root: Path) -> list[Leasable]:
    """Return the package that a CPU's counter belongs to; all of them for what perf counts."""
    kind, *numbers = str(finding.details.get("zone", "")).split(":")
    if numbers:
        return [_zone(sys_root, f"{kind}:{numbers[0]}")]
    tops = sorted((sys_root / "class" / "powercap").glob("*:*/name"))
    zones = [path.parent.name for path in tops if path.parent.name.count(":") == 1]
    unit = sys_root / "bus" / "event_source" / "devices" / "power"
    perf = Leasable(packages_lease(sys_root), unit / "type", unit / "cpumask")
    return [_zone(sys_root, zone) for zone in zones] or [perf]


def _zone(sys_root: Path, zone: str) -> Leasable:
    """Return a zone that lies in no other, such as `intel-rapl:0`."""
    folder = sys_root / "class" / "powercap" / zone
    if not folder.exists():
        folder = sys_root / "devices" / "virtual" / "powercap" / zone.partition(":")[0] / zone
    name = f"{zone} of {packages_lease(sys_root)}"
    return Leasable(name, folder / "name", folder / "max_energy_range_uj")


def packages_lease(sys_root: Path) -> str:
    """Return the name of the CPU's counters: the same by whatever path their tree is reached."""
    try:
        tree = (sys_root / "class" / "powercap").stat()
    except OSError:
        return "cpu-packages"
    return f"cpu-packages (powercap tree {tree.st_dev}-{tree.st_ino})"
