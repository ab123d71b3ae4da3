"""What goes to a process tree, and what comes back: frozen, in plain units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Rung(Enum):
    """What holds a process tree together, from the weakest to the strongest.

    `GUARD` works everywhere and survives the death of any one of pytest, guard and supervisor.
    `CGROUP` adds a cgroup v2 leaf: the kernel also ends what an ordinary user may not signal
    (set-uid children), and forks cannot outrun it. `PID_NAMESPACE` also survives the death of
    all three at once; it needs CAP_SYS_ADMIN.
    """

    GUARD = "guard"
    CGROUP = "cgroup"
    PID_NAMESPACE = "pid-namespace"


@dataclass(frozen=True)
class Command:
    """A program with its arguments, never seen by a shell.

    `environment` is complete: nothing is inherited, `WATTEST_OWNER` and `WATTEST_TREE` are added.
    `run_as` is (uid, gid) for the program, with the groups of that user; only root may set it.
    """

    argv: tuple[str, ...]
    cwd: Path
    environment: Mapping[str, str]
    run_as: tuple[int, int] | None = None


@dataclass(frozen=True)
class Exit:
    """How the main process of a tree ended.

    One of `exit_code` and `signal` is None. The times are CLOCK_MONOTONIC, taken by the process
    right before its exec, and by the supervisor when it was reaped. CPU times are those of the
    whole tree, as far as it was waited for; `max_rss_bytes` is the peak of its largest process.
    `oom_kills` counts the processes of this process's cgroup, and of those below it, that the
    kernel has killed meanwhile for lack of memory; 0 where nobody counts them.
    """

    exit_code: int | None
    signal: int | None
    started_ns: int
    ended_ns: int
    user_cpu_seconds: float
    system_cpu_seconds: float
    max_rss_bytes: int
    leftovers_killed: int
    oom_kills: int = 0

    @property
    def status(self) -> int:
        """The exit code, negative for a signal."""
        return -self.signal if self.signal is not None else self.exit_code or 0


@dataclass(frozen=True)
class Survivor:
    """A process that outlived SIGKILL and the deadline; `state` as in `ps` (D: in a driver)."""

    pid: int
    state: str
    command: str


@dataclass(frozen=True)
class StopReport:
    """How a stop went. `survivors` is normally empty: then nothing is left, by proof."""

    was_running: bool
    sigkill_needed: bool
    survivors: tuple[Survivor, ...]
    duration_seconds: float


@dataclass(frozen=True)
class LoopStatus:
    """What a loop has done so far; times in nanoseconds, instants on CLOCK_MONOTONIC.

    `alive_ns` adds up the time in which a run's main process was alive; `cpu_seconds` the CPU
    time of the whole tree, alive and reaped. A gap lies between the end of one run and the start
    of the next, back-off included; `gap_median_ns` is that of the last 1024. `exit_codes` counts
    runs by `"0"`, `"1"`, `"signal 9"` or `"not started"`; runs that a stop has ended count as
    neither completed nor failed.
    """

    now_ns: int
    started_ns: int
    runs_started: int
    runs_completed: int
    failures: int
    alive_ns: int
    cpu_seconds: float
    current_run: int
    exit_codes: Mapping[str, int]
    gap_median_ns: int | None
    gap_max_ns: int | None
