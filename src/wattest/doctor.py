"""``wattest doctor``: what can be measured here, what cannot, why, and what would mend it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from wattest.energy import Finding, SensorConfig, find_sensors
from wattest.energy.perfchild import perf_launcher
from wattest.machine import facts
from wattest.process import Rung, probe

# The search is told to accept everything, so that it finds everything; nobody else was.
_ACCEPTED = re.compile(r"; accepted by --allow-missing (?:cpu|gpu)$")
_REMEDY_WITHIN = ". Remedy: "


def examine(sys_root: Path) -> list[str]:
    """Return the lines to print; nothing is changed on this machine."""
    accepted = frozenset({"cpu", "gpu"})
    config = SensorConfig.of_environment(sys_root, accepted, perf_launcher())
    with find_sensors(config) as sensors:
        findings = sensors.findings
    return [
        *_machine(sys_root),
        "",
        "Energy:",
        *_energy(findings),
        "",
        "Process trees:",
        *_supervision(),
    ]


def _supervision() -> list[str]:
    mechanisms = probe()
    lines = []
    for rung in Rung:
        state = mechanisms.reason_against(rung) or "available"
        chosen = " (used by default)" if rung is mechanisms.default else ""
        lines.append(f"  {rung.value}: {state}{chosen}")
    return lines


def _machine(sys_root: Path) -> list[str]:
    host = facts.host(sys_root)
    memory = f"{host['ram_bytes'] / 2**30:.1f} GiB"
    return [
        "Machine:",
        f"  {host['cpu_model'] or 'unknown CPU'}, {host['cpu_count']} CPUs, {memory}",
        f"  {host['os']}, kernel {host['kernel']}"
        + (", virtual machine" if host["virtual_machine"] else "")
        + (", container" if host["container"] else ""),
        f"  CPU frequency governor: {host['governor'] or 'not available'}",
        f"  running as {'root' if os.geteuid() == 0 else 'an ordinary user'}",
    ]


def _energy(findings: Sequence[Finding]) -> list[str]:
    """Return all findings, those with the same remedy together, and what follows from them."""
    unreadable = [finding for finding in findings if _ACCEPTED.search(finding.reason)]
    groups: dict[tuple[str, int], list[str]] = {}
    for number, finding in enumerate(findings):
        is_readable = finding not in unreadable
        told = finding if is_readable else _without_acceptance(finding)
        group = (told.remedy or "", 0 if told.remedy else number)
        groups.setdefault(group, []).extend(_finding(told, is_readable))
    lines = []
    for (remedy, _), texts in groups.items():
        lines += texts + ([f"       mend it: {remedy}"] if remedy else [])
    return lines + _conclusion(findings, unreadable)


def _conclusion(findings: Sequence[Finding], unreadable: Iterable[Finding]) -> list[str]:
    domains = dict.fromkeys(finding.domain for finding in unreadable)
    if domains:
        options = " ".join(f"--allow-missing {domain}" for domain in domains)
        return [f"  pytest will refuse to start: mend it, or pass {options}"]
    if any(finding.status == "measured" for finding in findings):
        return []
    return ["  Nothing can be measured here: records will hold null and the reason."]


def _without_acceptance(finding: Finding) -> Finding:
    """Return what the finding is for someone who has accepted nothing."""
    reason = _ACCEPTED.sub("", finding.reason)
    if finding.remedy is None:
        reason, _, remedy = reason.partition(_REMEDY_WITHIN)
        return replace(finding, reason=reason, remedy=remedy or None)
    return replace(finding, reason=reason)


def _finding(finding: Finding, is_readable: bool) -> list[str]:
    how = f" ({finding.source})" if finding.source else ""
    state = f"{finding.status}{how}" if is_readable else "exists but cannot be read"
    lines = [f"  {finding.domain:<4} {finding.name}: {state}"]
    return lines + ([f"       {finding.reason}"] if finding.reason else [])
