"""Whether threads wait for a CPU is what the kernel says of them."""

from __future__ import annotations

import os
import subprocess
import sys

from conftest import await_until
from wattest.run.liveness import run_delay_seconds


def test_the_run_delay_of_two_that_share_a_cpu_grows() -> None:
    cpu = min(os.sched_getaffinity(0))
    source = f"import os; os.sched_setaffinity(0, {{{cpu}}})\nwhile True: pass"
    rivals = [subprocess.Popen([sys.executable, "-c", source]) for _ in range(2)]
    try:
        pids = [one.pid for one in rivals]
        await_until(lambda: run_delay_seconds(pids) >= 0.3, "they wait for each other")
    finally:
        for one in rivals:
            one.kill()
            one.wait()
