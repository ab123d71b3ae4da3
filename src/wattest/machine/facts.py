"""What this machine is: the facts that a reader of the numbers will ask for."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wattest
from wattest.files import read_text
from wattest.machine.software import own_versions
from wattest.machine.variables import for_git
from wattest.names import host_name

_CPUINFO = Path("/proc/cpuinfo")
_MODEL_KEYS = ("model name", "Model", "Hardware", "cpu", "uarch", "cpu model")
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "NVIDIA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTORCH_CUDA_ALLOC_CONF",
    "TF_FORCE_GPU_ALLOW_GROWTH", "WATTEST_SYSFS", "CUDA_MPS_PIPE_DIRECTORY",
)  # fmt: skip
# A file system monitor would be a process that stays, or a program of the repository's choice.
_GIT_OPTIONS = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false")


def host(sys_root: Path) -> dict[str, Any]:
    """Return the host part of a record's environment; what cannot be known is None."""
    from wattest.energy.machine import in_container  # whoever takes only a lease needs no energy

    cpus = sys_root / "devices/system/cpu"
    lines = [line.partition(":") for line in (read_text(_CPUINFO) or "").splitlines()]
    told = [(key.strip(), value.strip()) for key, _, value in lines]
    # Of each key what the first CPU says.
    cpuinfo = dict(reversed(told))
    return {
        "hostname": host_name(),
        "cpu_model": _cpu_model(cpuinfo),
        "cpu_count": os.cpu_count(),
        "cpu_usable": len(os.sched_getaffinity(0)),
        "sockets": len({value for key, value in told if key == "physical id"}) or None,
        "governor": read_text(cpus / "cpu0/cpufreq/scaling_governor"),
        "turbo": _turbo(cpus),
        "smt": _yes_no(read_text(cpus / "smt/active")),
        "ram_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "os": _os_name(),
        "virtual_machine": "hypervisor" in cpuinfo.get("flags", "").split() or None,
        "container": in_container(),
    }


def git_state(folder: Path) -> dict[str, Any]:
    """Return commit and dirty flag of the checkout around `folder`; both None outside of one."""
    commit = _git(folder, "rev-parse", "HEAD")
    status = None if commit is None else _git(folder, "status", "--porcelain", "--", ".")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def environment(programs: Mapping[str, Path], sys_root: Path) -> dict[str, Any]:
    """Return the environment of a record: host, the harness's software, code and variables.

    `programs` maps each trained repository to its folder.
    """
    return {
        "host": host(sys_root),
        "harness_software": {"wattest": wattest.__version__, **own_versions()},
        "code": {
            "harness": git_state(Path(__file__).parent),
            "programs": {name: git_state(folder) for name, folder in programs.items()},
        },
        # Those that matter for a measurement; never a secret.
        "variables": {name: os.environ.get(name) for name in _VARIABLES},
        "interpreter": sys.executable,
        "command": sys.argv,
    }


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *_GIT_OPTIONS, "-C", str(folder), *words],
            capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=True,
            stdin=subprocess.DEVNULL, env=for_git(os.environ),
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _turbo(cpus: Path) -> bool | None:
    no_turbo = read_text(cpus / "intel_pstate/no_turbo")
    if no_turbo is not None:
        return no_turbo == "0"
    return _yes_no(read_text(cpus / "cpufreq/boost"))


def _yes_no(text: str | None) -> bool | None:
    return None if text is None else text == "1"


def _os_name() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except (OSError, ValueError):
        return None


def _cpu_model(cpuinfo: Mapping[str, str]) -> str | None:
    """The CPU's name, which each architecture puts elsewhere; some only lscpu can tell."""
    found = next((cpuinfo[key] for key in _MODEL_KEYS if cpuinfo.get(key)), None)
    if found is not None:
        return found
    try:
        told = subprocess.run(
            ["lscpu"], capture_output=True, text=True, errors="replace", timeout=10, check=True,
            env={**os.environ, "LC_ALL": "C"}, stdin=subprocess.DEVNULL,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    lines = dict(line.strip().partition(":")[::2] for line in told.splitlines())
    return lines.get("Model name", "").strip() or None
