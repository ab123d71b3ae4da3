"""The Slurm job around us: what it is, when it ends, and how it is queued again."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from wattest.errors import WattestError

REQUEUE_MOST = 3
"""How often a task queues itself again when its time is up."""
_CALL_SECONDS = 15
# A count, or a Unix time as far as calendars go.
_NUMBER = re.compile(r"[1-9][0-9]{0,10}")


@dataclass(frozen=True)
class Job:
    """A batch job, or one task of a job array.

    `name` is what Slurm's commands take for exactly this task. The last task of an array has the
    array's own number as its job id: to queue that again would end all the others.
    """

    name: str
    environment: Mapping[str, str]

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> Job | None:
        """Return the job that this process runs in; None outside of Slurm."""
        job = environment.get("SLURM_JOB_ID")
        if not job:
            return None
        array, task = (environment.get(f"SLURM_ARRAY_{name}") for name in ("JOB_ID", "TASK_ID"))
        return cls(f"{array}_{task}" if array and task else job, environment)

    @property
    def restarts(self) -> int:
        """How often it has been queued again."""
        told = self.environment.get("SLURM_RESTART_COUNT", "")
        return int(told) if _NUMBER.fullmatch(told) else 0

    @cached_property
    def ends_at(self) -> float | None:
        """Unix time at which Slurm ends it; None where there is no limit or nobody tells.

        `SLURM_JOB_END_TIME` exists from Slurm 23.02 on; before that `squeue` is asked.
        """
        told = self.environment.get("SLURM_JOB_END_TIME", "")
        if _NUMBER.fullmatch(told):
            return float(told)
        try:
            text = call("squeue", "--noheader", "--jobs", self.name, "--format", "%e")
            return datetime.fromisoformat(text.splitlines()[0].strip()).timestamp()
        except (WattestError, ValueError, IndexError):
            return None

    def seconds_left(self) -> float | None:
        """Seconds until its end; None where that is not known."""
        return None if self.ends_at is None else self.ends_at - time.time()

    def is_wanted(self) -> bool:
        """Tell whether this very run of it shall go on: it runs, or its time limit is what ends it.

        One that was cancelled is already completing, for no reason that Slurm knows. A node that
        Slurm had lost runs what may have begun on another one since.
        """
        try:
            text = call("squeue", "--noheader", "--jobs", self.name, "--format", "%T|%r|%N")
        except WattestError:
            return False
        state, reason, nodes = [*text.strip().split("|"), "", ""][:3]
        here = self.environment.get("SLURM_JOB_NODELIST", nodes)
        return nodes == here and (state == "RUNNING" or reason == "TimeLimit")

    def requeue(self) -> None:
        """Queue it again, which also ends it.

        Raises:
            WattestError: Slurm does not.
        """
        call("scontrol", "requeue", self.name)

    def facts(self) -> dict[str, Any]:
        """Return what a record says of it."""
        own = self.environment
        ends = None if self.ends_at is None else datetime.fromtimestamp(self.ends_at).isoformat()
        return {
            "name": "slurm",
            "job_id": own.get("SLURM_JOB_ID"),
            "array_job_id": own.get("SLURM_ARRAY_JOB_ID"),
            "array_task_id": own.get("SLURM_ARRAY_TASK_ID"),
            "restart_count": self.restarts,
            "node": own.get("SLURMD_NODENAME"),
            "partition": own.get("SLURM_JOB_PARTITION"),
            "end_time": ends,
        }


def call(*command: str) -> str:
    """Return what a command of Slurm prints.

    Raises:
        WattestError: it is not there, does not answer, or refuses; one line.
    """
    environment = dict(os.environ)
    if command[0] == "squeue":
        # A user may prefer to see some jobs alone, or times in other words.
        for name in [one for one in environment if one.startswith("SQUEUE_")]:
            del environment[name]
        environment["SLURM_TIME_FORMAT"] = "standard"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=True,
            timeout=_CALL_SECONDS, stdin=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
    except FileNotFoundError:
        raise WattestError(
            f"{command[0]} is not found: is this a machine of the cluster?"
        ) from None
    except subprocess.CalledProcessError as error:
        told = " ".join(str(error.stderr or error.stdout).split())
        raise WattestError(f"{command[0]}: {told or f'exit code {error.returncode}'}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WattestError(f"{command[0]}: {error}") from None
    return done.stdout
