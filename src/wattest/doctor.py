"""``wattest doctor``: what can be measured here, what cannot, why, and what would mend it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from wattest import machine
from wattest.energy import Finding, SensorConfig, find_sensors
from wattest.process import probe


@dataclass(frozen=True)
class Report:
    """The lines to print, and whether any energy can be measured."""

    lines: tuple[str, ...]
    can_measure: bool


def examine(sys_root: Path) -> Report:
    """Look at this machine without changing anything on it."""
    config = SensorConfig(
        sys_root=sys_root,
        visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        device_order=os.environ.get("CUDA_DEVICE_ORDER"),
        allow_missing=frozenset({"cpu", "gpu"}),
    )
    with find_sensors(config) as sensors:
        findings = sensors.findings
    measured = any(finding.status == "measured" for finding in findings)
    lines = [*_machine(sys_root), "", "Energy:"]
    for finding in findings:
        lines += _finding(finding)
    if not measured:
        lines.append("  Nothing can be measured here: records will hold null and the reason.")
    lines += ["", "Process trees:"]
    lines += [f"  {line}" for line in probe().lines()]
    return Report(tuple(lines), measured)


def _machine(sys_root: Path) -> list[str]:
    host = machine.host(sys_root)
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


def _finding(finding: Finding) -> list[str]:
    how = f" ({finding.source})" if finding.source else ""
    lines = [f"  {finding.domain:<4} {finding.name}: {finding.status}{how}"]
    if finding.reason:
        lines.append(f"       {finding.reason}")
    if finding.remedy:
        lines.append(f"       mend it: {finding.remedy}")
    return lines
