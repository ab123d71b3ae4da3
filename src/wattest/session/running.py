"""What a session trains at the moment, for those who watch a campaign from elsewhere."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from wattest.machine.slurm import Job
from wattest.names import host_name
from wattest.plan.experiment import Experiment
from wattest.process.owner import Owner

NAME = "running.json"


@contextmanager
def announced(folder: Path, plan_digest: str, experiment: Experiment) -> Iterator[None]:
    """Let a file of the session's folder say over the block what it trains."""
    job = Job.here()
    told: dict[str, Any] = {
        "plan_digest": plan_digest,
        "experiment_key": experiment.key,
        "test_id": experiment.id,
        "since": datetime.now().isoformat(timespec="seconds"),
        "host": host_name(),
        "owner": str(Owner.current()),
        "job": None if job is None else job.name,
    }
    # It is told to people alone: nothing fails for the want of it.
    with contextlib.suppress(OSError):
        whole = folder / f".{NAME}.tmp"
        whole.write_text(json.dumps(told, indent=1), encoding="utf-8")
        whole.replace(folder / NAME)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / NAME).unlink()
