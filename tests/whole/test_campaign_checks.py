"""What keeps a campaign from being started, before anything runs."""

from __future__ import annotations

import pytest

from conftest import LOAD, TOY, Project


@pytest.mark.parametrize(
    ("repo", "variable"), [("toy", "CUDA_VISIBLE_DEVICES"), ("busy", "NVIDIA_VISIBLE_DEVICES")]
)
def test_a_program_with_gpus_of_its_own_is_refused_since_others_would_be_measured(
    project: Project, repo: str, variable: str
) -> None:
    project.describe(repo, environment={variable: "1", "OMP_NUM_THREADS": "2"})
    project.settings({"foreground": TOY, "background": LOAD}, TOY)
    result = project.refusal()
    lines = [line for line in result.stderr.lines if "environment" in line]
    assert len(lines) == 1, result.stderr.str()
    place = f"config/models_config.json::$.models.{repo}.environment.{variable}: "
    assert place in lines[0]
    assert f"({variable}=1 pytest …): the meter follows that one" in lines[0]
    assert not list((project.path / "results").glob("training_*"))


def test_other_variables_of_a_program_are_its_own(project: Project) -> None:
    project.describe("toy", environment={"OMP_NUM_THREADS": "2"})
    project.settings(TOY)
    assert project.run_here().ret == 0
