"""``wattest doctor``: what can be measured here, what cannot, why, and what would mend it."""

from __future__ import annotations

import os
from pathlib import Path

from wattest import machine
from wattest.energy import Finding, SensorConfig, find_sensors
from wattest.perfchild import perf_launcher
from wattest.process import Rung, probe


def examine(sys_root: Path) -> list[str]:
    """Return the lines to print; nothing is changed on this machine."""
    config = SensorConfig(
        sys_root=sys_root,
        visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        device_order=os.environ.get("CUDA_DEVICE_ORDER"),
        allow_missing=frozenset({"cpu", "gpu"}),
        perf_launcher=perf_launcher(),
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
    lines += _supervision()
    return lines


def _supervision() -> list[str]:
    mechanisms = probe()
    lines = []
    for rung in Rung:
        state = mechanisms.reason_against(rung) or "available"
        chosen = " (used by default)" if rung is mechanisms.default else ""
        lines.append(f"  {rung.value}: {state}{chosen}")
    return lines


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
