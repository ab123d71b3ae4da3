"""The schema of a record: what was not read is null, and never 0; what was read says how."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fakes.nvml import FakeGpu, FakeGpuScript, build_fake_nvml
from fakes.powercap import PowercapTree, PowercapWriter
from fakes.profile import steady

from conftest import LOAD, Project
from wattest.config.schema import schema_faults

TOY: dict[str, Any] = {"repo": "toy", "model": "small", "hyperparameters": {"seconds": 0.3}}
FAILING = {**TOY, "hyperparameters": {"seconds": 0.3, "exit": 1}}
GONE = object()
"""In place of a value: the key is taken away."""

DOMAINS = "energy_provenance.domains"
ATTEMPT = f"attempts.0.{DOMAINS}"
GPU_METRICS = (
    "gpu_power_avg_watts", "gpu_power_max_watts", "gpu_power_min_watts", "gpu_temp_avg_celsius",
    "gpu_temp_max_celsius", "gpu_util_avg_percent", "gpu_util_max_percent",
)  # fmt: skip
CPU_METRICS = ("cpu_energy_pkg_joules", "cpu_energy_ram_joules", "cpu_energy_total_joules")
FIGURES = (
    "samples", "failed_reads", "wraps", "joules_until_failure", "counter_joules",
    "integral_joules", "longest_gap_seconds", "update_period_seconds", "resolution_joules",
    "edge_uncertainty_joules", "edge_uncertainty_percent",
)  # fmt: skip
REQUIRED = (
    "reason", "source", "samples", "failed_reads", "wraps", "longest_gap_seconds",
    "update_period_seconds", "resolution_joules", "edge_uncertainty_joules",
    "edge_uncertainty_percent", "joules_until_failure",
)  # fmt: skip

UNREAD = [
    *((f"{where}energy_metrics.{key}", value)
      for where in ("", "attempts.0.", "attempts.1.")
      for key in (*CPU_METRICS, "gpu_energy_total_joules", *GPU_METRICS)
      for value in (0, 12.5)),
    *((f"{DOMAINS}.{domain}.{key}", 0)
      for domain in ("cpu_pkg", "cpu_ram", "gpu") for key in ("energy_joules", *FIGURES)),
    *((f"{ATTEMPT}.gpu.{key}", 0) for key in ("energy_joules", *FIGURES)),
    *((f"{DOMAINS}.{domain}.reason", value)
      for domain in ("cpu_pkg", "cpu_ram", "gpu") for value in (GONE, None, "")),
    (f"{DOMAINS}.cpu_pkg", {"status": "measured", "energy_joules": 5.0}),
    (f"{DOMAINS}.cpu_pkg", GONE),
    (f"{ATTEMPT}.gpu", GONE),
    ("energy_provenance", GONE),
    ("attempts.0.energy_provenance", GONE),
]  # fmt: skip
MEASURED = [
    *((f"{DOMAINS}.{domain}.{key}", GONE) for domain in ("cpu_pkg", "gpu") for key in REQUIRED),
    *((f"{DOMAINS}.{domain}.energy_joules", value)
      for domain in ("cpu_pkg", "gpu") for value in (0, None, GONE)),
    *((f"{DOMAINS}.{domain}.edge_uncertainty_joules", value)
      for domain in ("cpu_pkg", "gpu") for value in (0, None)),
    *((f"{where}energy_metrics.{key}", value)
      for where in ("", "attempts.0.")
      for key in ("cpu_energy_pkg_joules", "cpu_energy_total_joules", "gpu_energy_total_joules")
      for value in (0, None)),
    ("energy_metrics.cpu_energy_ram_joules", 0),
    (f"{DOMAINS}.cpu_pkg.samples", 1),
    (f"{DOMAINS}.cpu_pkg.wraps", None),
    (f"{DOMAINS}.cpu_pkg.source", None),
    (f"{DOMAINS}.cpu_pkg.source", "perf"),
    (f"{DOMAINS}.cpu_pkg.source", "nvml-counter"),
    (f"{DOMAINS}.cpu_pkg.status", "unavailable"),
    (f"{DOMAINS}.cpu_pkg.status", "invalid"),
    (f"{DOMAINS}.cpu_pkg.zones", []),
    (f"{DOMAINS}.cpu_pkg.zones.0.joules", 0),
    (f"{DOMAINS}.cpu_pkg.zones.0.samples", 0),
    (f"{DOMAINS}.gpu.gpus", []),
    (f"{DOMAINS}.gpu.gpus.0.joules", 0),
    (f"{DOMAINS}.gpu.gpus.0.counter_samples", 1),
    (f"{DOMAINS}.gpu.gpus.0.samples", 0),
    (f"{DOMAINS}.gpu.gpus.0.temp_avg_celsius", None),
    (f"{DOMAINS}.gpu.status", "unavailable"),
    ("energy_provenance", None),
    ("attempts.0.energy_provenance", None),
]  # fmt: skip
REFUSED = [
    ("energy_metrics.gpu_energy_total_joules", 0),
    ("attempts.0.energy_metrics.gpu_energy_total_joules", 60.0),
    *((f"energy_metrics.{key}", 0) for key in GPU_METRICS if "power" in key),
    *((f"{DOMAINS}.gpu.energy_joules", value) for value in (0, 60.0, GONE)),
    *((f"{DOMAINS}.gpu.reason", value) for value in (None, "", GONE)),
    (f"{DOMAINS}.gpu.samples", GONE),
    (f"{DOMAINS}.gpu.edge_uncertainty_percent", 0),
    (f"{DOMAINS}.gpu.status", "measured"),
]
CASES = [
    *(("unread", *case) for case in UNREAD),
    *(("parallel", f"foreground_result.{path}", value) for path, value in UNREAD
      if "attempts.1" not in path),
    *(("measured", *case) for case in MEASURED),
    *(("refused", *case) for case in REFUSED),
]  # fmt: skip


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, dict[str, Any]]:
    """Real records: nothing to read (alone, under load), all measured, and a GPU refused."""
    root = tmp_path_factory.mktemp("records")
    library = build_fake_nvml(root / "nvml")
    gpus = FakeGpuScript([FakeGpu()]).environment(library, root / "gpus.txt")
    tree = PowercapTree(root / "sys")
    with PowercapWriter({tree.add_package(0): steady(60)}):
        long = {**TOY, "hyperparameters": {"seconds": 2.5}}
        parallel = {"foreground": TOY, "background": LOAD}
        (nothing := root / "nothing").mkdir()
        with ThreadPoolExecutor(max_workers=2) as pool:
            left = {
                "measured": pool.submit(leave_record, root / "measured", long, tree.root, gpus),
                "unread": pool.submit(leave_record, root / "unread", FAILING, nothing),
                "parallel": pool.submit(leave_record, root / "parallel", parallel, nothing),
                "refused": pool.submit(leave_record, root / "refused", TOY, nothing, gpus),
            }
            return {name: future.result() for name, future in left.items()}


def leave_record(
    folder: Path, entry: Mapping[str, Any], sysfs: Path, extra: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run one experiment in a real pytest and return its record."""
    folder.mkdir()
    project = Project(folder)
    project.settings(entry, max_retries=1)
    done = project.run_apart("--sysfs", str(sysfs), **(extra or {}))
    records = project.records()
    assert len(records) == 1, done.stdout
    return records[0]


def corrupted(document: Mapping[str, Any], path: str, value: object) -> dict[str, Any]:
    """Return a copy in which one value is another, or gone."""
    copied: Any = copy.deepcopy(document)
    *way, last = (int(key) if key.isdecimal() else key for key in path.split("."))
    place = copied
    for key in way:
        place = place[key]
    if value is GONE:
        del place[last]
    else:
        assert isinstance(place, list) or place.get(last, GONE) != value, "this changes nothing"
        place[last] = value
    result: dict[str, Any] = copied
    return result


def statuses(document: Mapping[str, Any]) -> list[str]:
    """Return the status of CPU packages, DRAM and GPU."""
    result = document.get("foreground_result", document)
    return [domain["status"] for domain in result["energy_provenance"]["domains"].values()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unread", ["unavailable"] * 3),
        ("parallel", ["unavailable"] * 3),
        ("measured", ["measured", "unavailable", "measured"]),
        ("refused", ["unavailable", "unavailable", "invalid"]),
    ],
)
def test_what_the_program_writes_is_valid(
    records: Mapping[str, dict[str, Any]], name: str, expected: list[str]
) -> None:
    assert schema_faults(records[name], "result", name) == []
    assert statuses(records[name]) == expected


@pytest.mark.parametrize(
    ("name", "path", "value"),
    CASES,
    ids=[
        f"{name}-{path}-{'gone' if value is GONE else json.dumps(value)[:20]}"
        for name, path, value in CASES
    ],
)
def test_a_number_where_nothing_was_read_or_one_without_its_origin_is_refused(
    records: Mapping[str, dict[str, Any]], name: str, path: str, value: object
) -> None:
    document = corrupted(records[name], path, value)
    assert schema_faults(document, "result", name), f"{path} = {value!r} passed"
