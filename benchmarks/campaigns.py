"""Campaigns that never ran: records (valid against their schema) and traces, as they lie on disk.

Their numbers are given, so that what is made of them can be computed independently. Used by the
tests of the report and by `report_coverage.py`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

Document = dict[str, Any]
Power = Callable[[float], float]
"""Watts at seconds after the window's opening."""

_GPU_METRICS = (
    "gpu_power_avg_watts", "gpu_power_max_watts", "gpu_power_min_watts", "gpu_temp_avg_celsius",
    "gpu_temp_max_celsius", "gpu_util_avg_percent", "gpu_util_max_percent",
)  # fmt: skip
_SOFTWARE = {"python": "3.11.7", "wattest": "0.1.0", "torch": "2.13.0+cpu", "numpy": "2.4.6"}


@dataclass(frozen=True)
class Figures:
    """What one training came to; None was not measured."""

    seconds: float = 60.0
    cpu_joules: float | None = 3000.0
    gpu_joules: float | None = 12000.0
    metrics: Mapping[str, float | None] = field(default_factory=lambda: {"accuracy": 91.5})

    def times(self, seconds: float = 1, cpu: float = 1, gpu: float = 1, **added: float) -> Figures:
        """Return these multiplied by ratios, with `added` to the metrics of these names."""
        return Figures(
            self.seconds * seconds,
            None if self.cpu_joules is None else self.cpu_joules * cpu,
            None if self.gpu_joules is None else self.gpu_joules * gpu,
            {
                name: value if value is None else value + added.get(name, 0)
                for name, value in self.metrics.items()
            },
        )


@dataclass(frozen=True)
class Machine:
    """Where it ran."""

    hostname: str = "node1"
    cpu_model: str = "Fake CPU 9000"
    kernel: str = "6.1.0"
    governor: str | None = "performance"
    gpu_name: str = "Fake GPU"
    gpu_uuid: str = "GPU-00000000-0000-0000-0000-000000000001"
    driver: str = "580.95"
    power_limit_watts: float = 400.0
    commit: str = "0" * 40
    program_digest: str = "aa77900f92a0115d"
    background_digest: str = "bb77900f92a0115d"


@dataclass
class Campaign:
    """One session that leaves its records in a folder.

    Attributes:
        old: Leave out the keys that records of earlier versions lack.
        estimated: Give `cpu_joules` as an estimate from CPU time, and measure nothing.
        change: Changes every document in place, before it is written.
    """

    folder: Path
    repo: str = "toy"
    model: str = "small"
    session: str = "20261101_100000_7"
    seed: int = 7
    order: str = "randomized_blocks"
    machine: Machine = field(default_factory=Machine)
    load: Mapping[str, Any] = field(
        default_factory=lambda: {
            "repo": "busy", "model": "large", "hyperparameters": {"epochs": 2}}
    )  # fmt: skip
    old: bool = False
    estimated: bool = False
    design: str = "random"
    repetitions: int = 1
    change: Callable[[Document], object] = lambda document: None
    count: int = 0
    _numbers: Counter[str] = field(default_factory=Counter)

    def pair(
        self,
        values: Mapping[str, float],
        alone: Figures,
        loaded: Figures,
        **more: Any,
    ) -> tuple[Path, Path]:
        """Leave both halves of a pair; returns the records (loaded, alone)."""
        return self.run(values, loaded, "parallel", paired=True, **more), self.run(
            values, alone, "alone", paired=True, **more
        )

    def run(
        self,
        values: Mapping[str, float],
        figures: Figures,
        arm: str = "alone",
        *,
        mutated: Sequence[str] | None = None,
        repetition: int = 1,
        block: int | None = None,
        paired: bool = False,
        reasons: Sequence[str] = (),
        flags: Sequence[str] = (),
        machine: Machine | None = None,
        power: Power | None = None,
        load_runs: Sequence[tuple[float, float | None, int | None]] = (),
        alive_share: float = 1.0,
        change: Callable[[Document], object] = lambda document: None,
    ) -> Path:
        """Leave one record; `power` also leaves the traces of a CPU and a GPU.

        `load_runs` are (started, ended, exit code) of the load, in seconds after the opening edge.
        """
        self.count += 1
        names = sorted(values) if mutated is None else sorted(mutated)
        started = datetime(2026, 11, 1, 10) + timedelta(seconds=100 * self.count)
        stem = f"{started:%Y%m%d_%H%M%S}_{_slug(self.repo)}_{_slug(self.model)}"
        identity = stem + ("_parallel" if arm == "parallel" else "")
        one = _Run(
            self, identity, started, arm, values, names, figures, machine or self.machine,
            tuple(reasons), tuple(flags),
        )  # fmt: skip
        document = one.document()
        document["plan"] = one.plan(self._place(arm, values, repetition, paired), block)
        if arm == "parallel":
            document["background_info"] = one.background(load_runs, alive_share)
        self.change(document)
        change(document)
        if power is not None:
            one.leave_traces(self.folder, power)
        path = self.folder / f"{identity}.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2), encoding="utf-8")
        return path

    def _place(
        self, arm: str, values: Mapping[str, float], repetition: int, paired: bool
    ) -> Document:
        """Return ids as a plan gives them: halves of a pair have the same number."""
        kind = {"parallel": "parallel", "alone": "baseline" if paired else "mutation"}.get(arm, arm)
        stem = f"{_slug(self.repo)}-{_slug(self.model)}"
        self._numbers[kind] += 1
        number = self._numbers[kind]
        partner = {"parallel": "baseline", "baseline": "parallel"}.get(kind) if paired else None
        told = sorted(item for item in values.items() if item[0] != "seed")
        configuration = _digest(self.repo, self.model, told)
        return {
            "test_id": f"{stem}-{kind}-{number}",
            "partner": partner and f"{stem}-{partner}-{number}",
            "repetition": repetition,
            "experiment_key": _digest(f"{stem}-{kind}-{number}", configuration),
            "configuration_key": configuration,
        }


@dataclass(frozen=True)
class _Run:
    campaign: Campaign
    identity: str
    started: datetime
    arm: str
    values: Mapping[str, float]
    mutated: Sequence[str]
    figures: Figures
    machine: Machine
    reasons: tuple[str, ...]
    flags: tuple[str, ...]

    def document(self) -> Document:
        """Return the record without its plan and its load."""
        mode = "parallel" if self.arm == "parallel" else "mutation" if self.mutated else "default"
        head: Document = {} if self.campaign.old else {"record_version": 2}
        head |= {
            "experiment_id": self.identity,
            "timestamp": self.started.isoformat(timespec="microseconds"),
            "mode": mode,
        }
        result = self._result()
        head |= {"foreground_result": result} if mode == "parallel" else result
        return {**head, "plan": {}, "cooldown": None, "environment": self._environment()}

    def plan(self, place: Document, block: int | None) -> Document:
        """Return what was planned."""
        campaign = self.campaign
        planned = {
            "session_id": campaign.session,
            "experiment_name": "synthetic",
            **place,
            "settings_file": "settings/synthetic.json",
            "settings_path": "$.experiments[0]",
            "registry_file": "config/models_config.json",
            "root_seed": campaign.seed,
            "plan_digest": _digest(campaign.session, campaign.seed),
            "settings_digest": "acd9086e91767c4b",
            "program_digests": {
                campaign.repo: self.machine.program_digest,
                campaign.load["repo"]: self.machine.background_digest,
            },
            "order": campaign.order,
            "position": campaign.count,
            "block": place["repetition"] if block is None else block,
            "mutated": list(self.mutated),
            "arm": self.arm,
            "repetitions": campaign.repetitions,
            "design": campaign.design,
        }
        for name in ("configuration_key", "arm", "repetitions", "design") * campaign.old:
            del planned[name]
        return planned

    def background(
        self, runs: Sequence[tuple[float, float | None, int | None]], alive_share: float
    ) -> Document:
        """Return what the load did."""
        window: Document = {
            "alive_share": alive_share,
            "cpu_seconds": self.figures.seconds / 2,
            "runs_completed": sum(ended is not None for _, ended, _ in runs),
            "restarts": max(len(runs) - 1, 0),
            "failures": sum(code not in (0, None) for *_, code in runs),
        }
        if not self.campaign.old:
            window["runs"] = [
                {
                    "number": number,
                    "started_seconds": start,
                    "ended_seconds": end,
                    "exit_code": code,
                }
                for number, (start, end, code) in enumerate(runs, start=1)
            ]
        return {
            **self.campaign.load,
            "note": "Background training served as GPU load only, not monitored",
            "log_folder": f"background_logs_{self.identity}",
            "window": window,
        }

    def leave_traces(self, folder: Path, power: Power) -> None:
        """Write the traces of a CPU (at half the power) and a GPU."""
        energy = folder / f"energy_{self.identity}_foreground"
        energy.mkdir(parents=True, exist_ok=True)
        opened, seconds = self.started.timestamp() + 5, self.figures.seconds
        gpu = [
            f"{opened + at:.3f},{power(at):.2f},{power(at):.2f},{self.machine.gpu_uuid}"
            for at in _ticks(seconds, 0.1)
        ]
        lines = ["timestamp,power_draw_w,power_second_w,gpu", *gpu, ""]
        (energy / "gpu_power.csv").write_text("\n".join(lines), encoding="utf-8")
        cpu = [
            f"{opened + at:.3f},{power(at) / 2:.6f},{power(at) / 2 * at:.6f},package-0"
            for at in _ticks(seconds, 0.4)
        ]
        lines = ["timestamp,power_draw_w,energy_j,zone", *cpu, ""]
        (energy / "cpu_power.csv").write_text("\n".join(lines), encoding="utf-8")

    def _result(self) -> Document:
        figures, provenance = self.figures, self._provenance()
        cpu = None if self.campaign.estimated else figures.cpu_joules
        energy: Document = {
            "cpu_energy_pkg_joules": cpu,
            "cpu_energy_ram_joules": None,
            "cpu_energy_total_joules": cpu,
            **dict.fromkeys(_GPU_METRICS),
            "gpu_energy_total_joules": None if self.campaign.estimated else figures.gpu_joules,
        }
        fine = not self.reasons
        return {
            "repository": self.campaign.repo,
            "model": self.campaign.model,
            "hyperparameters": dict(self.values),
            "ignored_hyperparameters": {},
            "duration_seconds": figures.seconds,
            "energy_metrics": {
                **energy,
                "attribution": "combined" if self.arm == "parallel" else "machine",
                "note": "Energy metrics are machine-wide",
            },
            "performance_metrics": dict(figures.metrics),
            "training_success": fine,
            "retries": 0,
            "error_message": "Training completed successfully" if fine else "; ".join(self.reasons),
            "quality": {
                "verdict": "valid" if fine else "invalid",
                "reasons": list(self.reasons),
                "flags": list(self.flags),
                "thresholds": {},
            },
            "energy_provenance": provenance,
            "energy_estimate": self._estimate(),
            "meter": {"cpu_seconds": 0.02, "samples": int(figures.seconds * 10)},
            "cpu_use": {
                "machine_busy_seconds": figures.seconds * 2,
                "machine_total_seconds": figures.seconds * 2,
                "foreground_seconds": figures.seconds,
                "background_seconds": figures.seconds / 2 if self.arm == "parallel" else None,
                "harness_seconds": 0.02,
                "other_share": 0.01,
            },
            "attempts": [self._attempt(energy, provenance)],
        }

    def _attempt(self, energy: Document, provenance: Document) -> Document:
        return {
            "number": 1,
            "started_at": (self.started + timedelta(seconds=5)).isoformat(timespec="milliseconds"),
            "command": ["./train.sh", "-n", self.campaign.model],
            "pid": 4711,
            "exit_code": 0,
            "signal": None,
            "timed_out": False,
            "interrupted": False,
            "duration_seconds": self.figures.seconds,
            "performance_metrics": dict(self.figures.metrics),
            "energy_metrics": energy,
            "energy_provenance": provenance,
            "faults": list(self.reasons),
            "flags": list(self.flags),
            "log": f"training_{self.identity}_foreground.log",
            "energy_folder": f"energy_{self.identity}_foreground",
            "last_lines": [],
        }

    def _estimate(self) -> Document | None:
        if not self.campaign.estimated:
            return None
        return {
            "is_estimate": True,
            "method": "CPU time between idle and full power of a virtual CPU",
            "source": "https://www.cloudcarbonfootprint.org/docs/methodology/",
            "machine_joules": self.figures.cpu_joules,
            "training_joules": None,
        }

    def _provenance(self) -> Document:
        opened = int(self.started.timestamp()) * 1_000_000_000
        window: Document = {
            "duration_seconds": self.figures.seconds,
            "clock": "CLOCK_MONOTONIC",
            "opened_ns": opened,
            "closed_ns": opened + int(self.figures.seconds * 1e9),
        }
        if not self.campaign.old:
            edge = self.started + timedelta(seconds=5)
            window["opened_at"] = edge.isoformat(timespec="microseconds")
        cpu = None if self.campaign.estimated else self.figures.cpu_joules
        gpu = None if self.campaign.estimated else self.figures.gpu_joules
        return {
            "domains": {
                "cpu_pkg": _unavailable("cpu: no energy counters") if cpu is None else _cpu(cpu),
                "cpu_ram": _unavailable("cpu: no DRAM domain"),
                "gpu": _unavailable("gpu: no NVIDIA GPU") if gpu is None else self._gpu(gpu),
            },
            "window": window,
            "faults": [],
            "flags": [],
        }

    def _gpu(self, joules: float) -> Document:
        figures = _figures(600, 0.1)
        one = {
            **figures,
            "uuid": self.machine.gpu_uuid,
            "name": self.machine.gpu_name,
            "source": "nvml-counter",
            "joules": joules,
            "counter_joules": joules,
            "integral_joules": joules,
            "power_avg_watts": None,
            "power_max_watts": None,
            "power_min_watts": None,
            "counter_samples": 120,
            "limit_watts": self.machine.power_limit_watts,
            "throttled_seconds": {"power_cap": None},
        }
        return {
            **figures,
            "status": "measured",
            "energy_joules": joules,
            "source": "nvml-counter",
            "reason": None,
            "uuids": [self.machine.gpu_uuid],
            "gpus": [one],
            "counter_joules": joules,
        }

    def _environment(self) -> Document:
        machine, code = self.machine, {"commit": self.machine.commit, "dirty": False}
        names = (self.campaign.repo, self.campaign.load["repo"])
        gpu = {
            "name": machine.gpu_name,
            "uuid": machine.gpu_uuid,
            "index": 0,
            "power_limit_watts": machine.power_limit_watts,
        }
        has_gpu = not self.campaign.estimated and self.figures.gpu_joules is not None
        return {
            "host": {
                "hostname": machine.hostname,
                "cpu_model": machine.cpu_model,
                "cpu_count": 16,
                "sockets": 1,
                "governor": machine.governor,
                "ram_bytes": 64_000_000_000,
                "kernel": machine.kernel,
                "os": "Debian GNU/Linux 12 (bookworm)",
                "virtual_machine": False,
            },
            "software": dict(_SOFTWARE),
            "code": {"harness": code, "programs": {name: code for name in names}},
            "variables": {},
            "gpus": {"driver_version": machine.driver, "gpus": [gpu]} if has_gpu else {},
            "supervision": "guard",
            "governor": {"requested": machine.governor, "status": "set", "before": "powersave"},
            "idle": None,
        }


def paired_campaign(
    folder: Path, ratios: Sequence[float], alone: Figures | None = None, **more: Any
) -> Campaign:
    """Leave a pair for each GPU ratio, each of another learning rate; the campaign.

    The duration grows by half of what the GPU's energy does, the CPU's by a quarter.
    """
    campaign, alone = Campaign(folder, **more), alone or Figures()
    for number, ratio in enumerate(ratios):
        part = ratio - 1
        loaded = alone.times(1 + part / 2, 1 + part / 4, ratio, accuracy=-0.1 * (number + 1))
        campaign.pair({"learning_rate": 0.001 * 2**number}, alone, loaded)
    return campaign


def repeated_pairs(folder: Path, configurations: int, repetitions: int) -> None:
    """Leave pairs of so many learning rates, each so many times."""
    campaign = Campaign(folder, repetitions=repetitions)
    for repetition in range(1, repetitions + 1):
        for number in range(configurations):
            alone = Figures(60 + number % 7, metrics={"accuracy": 90 + number % 5})
            loaded = alone.times(1.5, 1.2, 1.3 + 0.01 * (number % 9))
            campaign.pair({"learning_rate": 0.001 * (number + 1)}, alone, loaded,
                          repetition=repetition)  # fmt: skip


def copied_records(folder: Path, count: int) -> list[str]:
    """Leave so many records, whose runs took 60 s, 61 s …; returns their ids."""
    campaign = Campaign(folder)
    paths = [campaign.run({"learning_rate": 0.1}, Figures(60.0 + at)) for at in range(count)]
    return [path.stem for path in paths]


def bumpy(watts: float = 200.0, period: float = 7.0) -> Power:
    """Power that goes up and down around `watts`."""
    return lambda at: watts * (1 + 0.3 * math.sin(2 * math.pi * at / period))


def _cpu(joules: float) -> Document:
    figures = {**_figures(150, 0.4), "wraps": 0}
    zone = {
        **figures,
        "zone": "intel-rapl:0",
        "label": "package-0",
        "fault": None,
        "joules": joules,
    }
    return {
        **figures,
        "status": "measured",
        "energy_joules": joules,
        "source": "powercap",
        "reason": None,
        "zones": [zone],
    }


def _figures(samples: int, period_seconds: float) -> Document:
    """Return what every domain tells of its counter."""
    return {
        "joules_until_failure": None,
        "samples": samples,
        "failed_reads": 0,
        "wraps": None,
        "longest_gap_seconds": period_seconds,
        "update_period_seconds": period_seconds,
        "resolution_joules": 0.5,
        "edge_uncertainty_joules": 0.6,
        "edge_uncertainty_percent": 0.02,
    }


def _unavailable(reason: str) -> Document:
    return {"status": "unavailable", "energy_joules": None, "source": None, "reason": reason}


def _ticks(seconds: float, period: float) -> list[float]:
    return [number * period for number in range(int(seconds / period) + 1)]


def _slug(name: str) -> str:
    return "".join(one if one.isascii() and (one.isalnum() or one in "._") else "_" for one in name)


def _digest(*words: object) -> str:
    return sha256(repr(words).encode()).hexdigest()[:16]
