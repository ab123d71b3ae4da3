"""``wattest doctor``: what can be measured here, what cannot, why, and what would mend it.

`surroundings` looks at the project, GPUs, Slurm and extras, and holds settings against all of that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from wattest.doctor.surroundings import lacks, surroundings
from wattest.energy import Finding, find_sensors
from wattest.machine import facts
from wattest.plan.load import Campaign
from wattest.process import Rung, probe


def examine(sys_root: Path, root: Path, campaign: Campaign | None = None) -> tuple[list[str], bool]:
    """Return the lines to print, and whether the campaign has all that it needs.

    Nothing is changed on this machine. `root` is the project's folder.
    """
    with find_sensors(sys_root, allow_missing=frozenset({"cpu", "gpu"})) as sensors:
        findings, gpus = sensors.findings, sensors.gpu_state() if campaign else ()
    energy, trees = _energy(findings), _supervision()
    lines = [*_machine(sys_root), "", "Energy:", *energy, "", "Process trees:", *trees]
    lines += ["", "Around it:", *surroundings(root, findings)]
    if campaign is None:
        return lines, True
    missing = list(lacks(campaign, findings, gpus, sys_root))
    lines += ["", f"{campaign.settings.file} needs, and does not find:"]
    lines += [f"  {line}" for line in missing] or ["  nothing: all of it is here"]
    return lines, not missing


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
    kinds = [f", {one.replace('_', ' ')}" for one in ("virtual_machine", "container") if host[one]]
    return [
        "Machine:",
        f"  {host['cpu_model'] or 'unknown CPU'}, {host['cpu_count']} CPUs, {memory}",
        f"  {host['os']}, kernel {host['kernel']}{''.join(kinds)}",
        f"  CPU frequency governor: {host['governor'] or 'not available'}",
        f"  running as {'root' if os.geteuid() == 0 else 'an ordinary user'}",
    ]


def _energy(findings: Sequence[Finding]) -> list[str]:
    """Return all findings, those with the same remedy together, and what follows from them."""
    lines = []
    for remedy in dict.fromkeys(finding.remedy for finding in findings):
        for finding in findings:
            lines += _finding(finding) if finding.remedy == remedy else []
        lines += [f"       mend it: {remedy}"] if remedy else []
    return lines + _conclusion(findings)


def _conclusion(findings: Sequence[Finding]) -> list[str]:
    unreadable = [finding for finding in findings if finding.status == "unreadable"]
    domains = dict.fromkeys(finding.domain for finding in unreadable)
    if domains:
        options = " ".join(f"--allow-missing {domain}" for domain in domains)
        return [f"  pytest will refuse to start: mend it, or pass {options}"]
    if any(finding.status == "measured" for finding in findings):
        return []
    return ["  Nothing can be measured here: records will hold null and the reason."]


def _finding(finding: Finding) -> list[str]:
    how = f" ({finding.source})" if finding.source else ""
    is_unreadable = finding.status == "unreadable"
    state = "exists but cannot be read" if is_unreadable else f"{finding.status}{how}"
    lines = [f"  {finding.domain:<4} {finding.name}: {state}"]
    return lines + ([f"       {finding.reason}"] if finding.reason else [])
