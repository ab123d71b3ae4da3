"""Earlier trainings as files tell of them: rows of CSV files, and what is taken by them."""

from __future__ import annotations

import csv
from pathlib import Path

from wattest.plan.history import History, load_history

HYPERPARAMETERS = ("hyperparam_batch_size", "hyperparam_epochs", "hyperparam_learning_rate")
COLUMNS = [
    *("experiment_id", "timestamp", "repository", "model", "training_success"),
    *HYPERPARAMETERS,
    *("num_mutated_params", "mutated_param", "mode", "error_message"),
    *("fg_repository", "fg_model", "fg_training_success"),
    *(f"fg_{name}" for name in HYPERPARAMETERS),
]


def single(**cells: object) -> dict[str, object]:
    """Return a row of a training alone, as older campaigns wrote it: no mode."""
    return {"repository": "toy", "model": "small", "training_success": "True", **cells}


def parallel(**cells: object) -> dict[str, object]:
    """Return a row of a parallel experiment: what was mutated, and all values with `fg_`."""
    foreground = {"fg_repository": "toy", "fg_model": "small", "fg_training_success": "True"}
    return {**single(), **foreground, "mode": "parallel", **cells}


def write_csv(path: Path, rows, columns=COLUMNS) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def load(tmp_path: Path, *rows, columns=COLUMNS) -> History:
    history = load_history([write_csv(tmp_path / "past.csv", rows, columns)])
    assert history.warnings == ()
    return history


def taken(history: History, *names: str, alone: bool = True, model: str = "small"):
    return history.taken("toy", model, parallel=not alone, names=names)
