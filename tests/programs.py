"""Access of the tests to the bundled programs: their modules, and their trainings."""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

REPOS = Path(__file__).parents[1] / "repos"
RESNET = "pytorch_resnet_cifar10"
REID = "Person_reID_baseline_pytorch"
EXAMPLES = "examples"
EVERY_PROGRAM = (RESNET, REID, EXAMPLES)


@functools.cache
def modules(repo: str) -> SimpleNamespace:
    """Import all modules of one program but its `train`, each under its name.

    The programs use the same names, so none of them stays importable.
    """
    folder = REPOS / repo
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "train")
    sys.path.insert(0, str(folder))
    try:
        return SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(folder))
        for name in names:
            sys.modules.pop(name, None)


def train(
    repo: str, *arguments: str, repos: Path = REPOS, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a training to its end with the interpreter of the tests, or the given `PYTHON`."""
    return subprocess.run(
        [repos / repo / "train.sh", *arguments],
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
