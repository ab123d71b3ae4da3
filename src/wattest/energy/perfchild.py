"""`perf stat` in a process tree that cannot outlive us."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from wattest.energy import PerfLauncher
from wattest.process import Command, Rung, Tree


def perf_launcher(rung: Rung = Rung.GUARD, owners: Sequence[int] = ()) -> PerfLauncher:
    """Return what starts `perf stat`, held by this rung, for as long as all `owners` live."""
    return lambda argv, log: _PerfChild(argv, log, rung, tuple(owners))


class _PerfChild:
    def __init__(self, argv: Sequence[str], log: Path, rung: Rung, owners: tuple[int, ...]) -> None:
        command = Command(tuple(argv), log.parent, dict(os.environ))
        self._tree = Tree(command, log, rung=rung, owners=owners)
        self._pid = self._tree.start()

    def poll(self) -> int | None:
        end = self._tree.poll()
        if end is None:
            return None
        return end.exit_code if end.exit_code is not None else -(end.signal or 0)

    def interrupt(self) -> None:
        if self._tree.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGINT)

    def close(self) -> None:
        self._tree.stop(grace_seconds=0)
        self._tree.close()
