"""Scripted hardware that every tool can be shown, and whose true energy is known exactly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]

from fakes.nvml import FakeGpu, FakeGpuScript  # noqa: E402  (the path comes first)
from fakes.powercap import PowercapTree, PowercapWriter  # noqa: E402
from fakes.profile import square  # noqa: E402

_PROFILE_SECONDS = 7200.0


class Stage:
    """The scripted hardware, alive while entered."""

    def __init__(self, folder: Path) -> None:
        tree = PowercapTree(folder / "sys", "device")
        package, memory = tree.add_package(), tree.add_dram()
        # What the kernel has beside the zones, and some tools start from.
        control = Path("devices/virtual/powercap/intel-rapl")
        (folder / "sys/class/powercap/intel-rapl").symlink_to(Path("../..") / control)
        (folder / "sys" / control / "subsystem").symlink_to("../../../../class/powercap")
        for name in ("devices/system", "fs"):
            (folder / "sys" / name).mkdir(parents=True)
        self._zones = {
            package: square(10.0, 110.0, 1.7, _PROFILE_SECONDS, 0.3),
            memory: square(2.0, 8.0, 1.7, _PROFILE_SECONDS, 0.3),
        }
        # A thousand updates a second that went before all else would be a load of their own.
        self._writer = PowercapWriter(self._zones, period=0.001, is_favoured=False)
        self._gpu = FakeGpu(power=square(70.0, 350.0, 1.3, _PROFILE_SECONDS, 0.4))
        self._script = FakeGpuScript([self._gpu])
        library = folder / "library"
        library.mkdir()
        _compile(library)
        smi = library / "nvidia-smi"  # CodeCarbon asks whether there is one
        smi.write_text("#!/bin/sh\nexit 0\n")
        smi.chmod(0o755)
        fake = self._script.environment(library, folder / "script")
        path = f"{library}:{os.environ['PATH']}"
        self.environment = {**os.environ, **fake, "PATH": path, "PYTHONPATH": ""}
        self.sys_root = folder / "sys"

    def __enter__(self) -> Stage:
        self._writer.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.__exit__(None, None, None)

    def cpu_joules(self, began_ns: int, ended_ns: int, domains: float) -> float:
        """What package, or package and DRAM, truly used."""
        return sum(
            self._writer.energy_joules(zone, began_ns, ended_ns)
            for zone in list(self._zones)[: int(domains)]
        )

    def gpu_joules(self, began_ns: int, ended_ns: int) -> float:
        """What the GPU truly used."""
        return self._script.energy_joules(0, began_ns, ended_ns)


def _compile(folder: Path) -> None:
    source = Path(__file__).with_name("peers_nvml.c")
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC"]
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(["cc", *flags, "-o", library, source], check=True, timeout=60)
