"""What is around a campaign: its project, GPUs, Slurm and extras; and what its settings lack."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from wattest.energy import Finding, GpuState
from wattest.errors import GpuMemoryError
from wattest.machine.slurm import Job
from wattest.plan.experiment import Experiment
from wattest.plan.load import Campaign
from wattest.session.preflight import require_memory

_EXTRAS = {"report": ("jinja2", "matplotlib"), "pandas": ("pandas",)}
_GOVERNORS = "devices/system/cpu/cpu0/cpufreq/scaling_governor"


def surroundings(root: Path, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield what is here for a campaign in the folder `root`, one line each."""
    yield f"  campaign: {_campaign(root)}"
    gpus = [one for one in findings if one.domain == "gpu" and one.status == "measured"]
    if len(gpus) > 1:
        yield f"  workers: {len(gpus)} GPUs, so that pytest -n auto trains as many at once"
    elif gpus:
        yield "  workers: one GPU, so one experiment at a time"
    else:
        yield "  workers: no GPU that is measured; one experiment at a time"
    yield f"  Slurm: {_slurm()}"
    for extra, modules in _EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        state = f"not installed; pip install 'wattest[{extra}]'" if missing else "installed"
        yield f"  extra {extra}: {state}"


def _campaign(root: Path) -> str:
    try:
        text = (root / "conftest.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"no conftest.py in {root}; wattest init FOLDER makes a project"
    if "wattest.plugin" not in text:
        return f"conftest.py in {root} does not load wattest.plugin: it is no project of a campaign"
    has_experiments = (root / "experiments").is_dir()
    return f"project in {root}" + ("" if has_experiments else ", without its folder experiments/")


def _slurm() -> str:
    if (job := Job.here()) is not None:
        left = job.seconds_left()
        until = "" if left is None else f", {left / 60:.0f} min left"
        return f"inside job {job.name}{until}"
    if shutil.which("sbatch") is None:
        return "not here"
    return "wattest submit queues a campaign"


def lacks(
    campaign: Campaign, findings: Sequence[Finding], gpus: Sequence[GpuState], sys_root: Path
) -> Iterator[str]:
    """Yield what these settings need and this machine or environment does not give."""
    yield from map(str, campaign.faults(campaign.plan.experiments))
    for one in findings:
        if one.status == "unreadable":
            yield f"{one.domain} {one.name} cannot be read: {one.remedy or one.reason}"
    measured = {one.domain for one in findings if one.status == "measured"}
    needing = sorted(
        {
            training.program.name
            for one in campaign.plan.experiments
            for training in one.trainings
            if training.program.gpu_memory_mb is not None
        }
    )
    if needing and "gpu" not in measured:
        yield f"{', '.join(needing)} needs GPU memory (gpu_memory_mb), and no GPU is measured here"
    yield from dict.fromkeys(
        filter(None, (_memory(one, gpus) for one in campaign.plan.experiments))
    )
    if (governor := campaign.settings.governor) is not None:
        file = sys_root / _GOVERNORS
        if not file.exists():
            yield f"governor {governor!r}: this machine offers no control of the CPU frequency"
        elif not os.access(file, os.W_OK):
            yield f"governor {governor!r}: setting it needs root"


def _memory(experiment: Experiment, gpus: Sequence[GpuState]) -> str:
    try:
        require_memory(experiment, gpus)
    except GpuMemoryError as error:
        return str(error)
    return ""
