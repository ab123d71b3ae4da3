"""CPUs: lists of them as the kernel writes them, whose they are, and equal parts of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from wattest.files import read_text


def parse_cpus(text: str | None) -> frozenset[int]:
    """Return the CPUs of a list such as ``0-3,8`` (cpuset(7)); none of what is no list."""
    found: set[int] = set()
    try:
        for span in filter(None, (text or "").strip().split(",")):
            first, _, last = span.partition("-")
            found |= set(range(int(first), int(last or first) + 1))
    except ValueError:
        return frozenset()
    return frozenset(found)


def format_cpus(cpus: Collection[int]) -> str:
    """Return CPUs as the list that `parse_cpus` reads."""
    spans: list[list[int]] = []
    for cpu in sorted(cpus):
        if spans and cpu == spans[-1][1] + 1:
            spans[-1][1] = cpu
        else:
            spans.append([cpu, cpu])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in spans)


def package_cpus(sys_root: Path) -> dict[int, frozenset[int]]:
    """Return the CPUs of each package by its number, as far as the kernel tells."""
    found: dict[int, set[int]] = {}
    for path in (sys_root / "devices/system/cpu").glob("cpu[0-9]*/topology/physical_package_id"):
        package, cpu = read_text(path) or "", path.parents[1].name.removeprefix("cpu")
        if package.isdecimal() and cpu.isdecimal():
            found.setdefault(int(package), set()).add(int(cpu))
    return {package: frozenset(cpus) for package, cpus in found.items()}


def slices(cpus: Collection[int], near: Sequence[Collection[int]]) -> list[frozenset[int]]:
    """Divide CPUs into one part for each of `near`, of CPUs near it as far as there are enough.

    Parts are equal but for one CPU, and disjoint. Where there are fewer CPUs than parts, nobody
    gets a part: each may then use all.
    """
    if not near or len(cpus) < len(near):
        return [frozenset(cpus)] * len(near)
    left = sorted(cpus)
    sizes = [len(left) // len(near) + (k < len(left) % len(near)) for k in range(len(near))]
    parts: list[set[int]] = []
    for wanted, size in zip(near, sizes, strict=True):
        others = set().union(*near) - set(wanted)
        # Near ones first, then those that are near to nobody.
        left.sort(key=lambda cpu: (cpu not in wanted, cpu in others, cpu))
        parts.append(set(left[:size]))
        left = left[size:]
    return [frozenset(part) for part in parts]
