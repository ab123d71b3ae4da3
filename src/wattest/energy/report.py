"""`cpu_energy.txt`: the CPU's energy of one window, for people, laid out like `perf stat`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from wattest.energy.types import DomainResult

_EVENTS = {"cpu_pkg": "power/energy-pkg/", "cpu_ram": "power/energy-ram/"}


def cpu_report(started_at: datetime, seconds: float, results: Sequence[DomainResult]) -> str:
    """The whole text.

    Args:
        started_at: Wall-clock time of the opening edge.
        seconds: Length of the window.
        results: One per domain; those that are not the CPU's are left out.
    """
    lines = [
        f"# started on {started_at:%a %b %d %H:%M:%S %Y}",
        "",
        "",
        " Energy counter stats for 'system wide':",
        "",
    ]
    for result in results:
        if result.domain in _EVENTS:
            lines += _domain_lines(result)
    lines += ["", f"     {seconds:.9f} seconds time elapsed", ""]
    return "\n".join(lines) + "\n"


def _domain_lines(result: DomainResult) -> list[str]:
    event = _EVENTS[result.domain]
    if result.energy_joules is None:
        word = "<invalid>" if result.status == "invalid" else "<not counted>"
        return [f"{word:>18} Joules {event}", f"{'':18}   # {result.details.get('reason')}"]
    lines = [f"{result.energy_joules:18,.2f} Joules {event}"]
    zones = result.details.get("zones")
    if isinstance(zones, list):
        lines += [_zone_line(zone) for zone in zones]
    return lines


def _zone_line(zone: Mapping[str, object]) -> str:
    return f"{'':18}   # {zone['joules']:,.6f} Joules {zone['label']} ({zone['zone']})"
