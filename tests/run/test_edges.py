"""The edges of a training's window: who was on the GPUs, and a meter that cannot open one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conftest import TOY, Project, schema_faults
from wattest.errors import EnergyError
from wattest.run.activeload import ActiveLoad
from wattest.run.foreground import Foreground
from wattest.run.outcome import Attempt
from wattest.run.verdict import judge
from wattest.terminal import Console

GONE = 2**22 + 7
"""A PID that no kernel gives."""


class Gpus:
    """Sensors, as far as they tell who is on the GPUs."""

    def __init__(self, *answers: dict[int, str] | Exception) -> None:
        self.answers = list(answers)

    def gpu_processes(self) -> dict[int, str]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def flags_of(tmp_path: Path, *answers: dict[int, str] | Exception) -> list[str]:
    """The flags of an attempt at whose two edges NVML gave these answers."""
    attempt = Attempt(1, ("train",), 9.0, tmp_path / "log", tmp_path / "energy", "now")
    load = ActiveLoad()
    foreground = Foreground(Console(None), Gpus(*answers), None, None)  # type: ignore[arg-type]
    for _ in answers:
        foreground._look_at_gpus(attempt, load)
    judge(attempt, load)
    return attempt.flags


def test_a_neighbour_is_foreign_and_we_are_not(tmp_path):
    found = {os.getpid(): "GPU-1", os.getppid(): "GPU-1"}
    (flag,) = flags_of(tmp_path, found, {})
    assert flag == f"foreign processes on a GPU: {os.getppid()} on GPU-1"


def test_a_pid_that_is_not_ours_to_see_is_not_known_and_not_foreign(tmp_path):
    (flag,) = flags_of(tmp_path, {GONE: "GPU-1"}, {GONE: "GPU-1"})
    assert flag == f"whose PID {GONE} on GPU-1 is, is not known"


def test_what_both_edges_say_alike_is_one_flag(tmp_path):
    silent = EnergyError("GPU-1: does not tell its processes: Unknown Error")
    (flag,) = flags_of(tmp_path, silent, silent)
    assert flag == f"who is on the GPUs is not known: {silent}"


@pytest.mark.parametrize("error", ["EnergyError('GPU-1: gone')", "OSError(28, 'disk full')"])
def test_a_meter_that_cannot_open_its_window_fails_the_attempt_alone(project: Project, error):
    project.settings(TOY, max_retries=1)
    project.interfere(
        "energy.sensors:Sensors.open_window",
        "from wattest.errors import EnergyError\n"
        "    if not os.path.exists('once'):\n"
        "        open('once', 'w').close()\n"
        f"        raise {error}",
    )
    result = project.run()
    record = project.record(result.stdout.str())
    assert schema_faults(record, "result", "record") == []
    first, second = record["attempts"]
    assert first["faults"][0].startswith("its energy could not be measured: ")
    assert first["energy_provenance"] is None
    assert second["faults"] == []
    assert record["training_success"] is True
