"""How the bundled programs start and end: `train.sh`, its flags, its exit codes and its errors."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
from programs import (
    EVERY_PROGRAM,
    EXAMPLES,
    IGNORED,
    LOG_PATTERNS,
    REID,
    REPOS,
    RESNET,
    modules,
    train,
    train_here,
)

torch = pytest.importorskip("torch", reason="the bundled programs need torch")
pytest.importorskip("sklearn", reason="the bundled programs need scikit-learn")


@pytest.mark.parametrize(
    ("repo", "arguments", "said"),
    [
        (RESNET, ("-n", "resnet18"), "resnet18"),
        (RESNET, ("-e", "0"), "-e/--epochs"),
        (RESNET, ("-e", "1.5"), "-e/--epochs"),
        (RESNET, ("--lr", "nan"), "--lr"),
        (RESNET, ("--lr", "inf"), "--lr"),
        (RESNET, ("--lr", "-0.1"), "--lr"),
        (RESNET, ("--wd", "-1"), "--wd"),
        (RESNET, ("--seed", "-1"), "--seed"),
        (RESNET, ("--batch-size", "1"), "--batch-size"),
        (RESNET, ("--workers", "two"), "--workers"),
        (RESNET, ("--learning_rate", "0.1"), "--learning_rate"),
        (RESNET, ("extra\nline",), "extra line"),
        (REID, ("-n", "hrnet18"), "not bundled"),
        (REID, ("-n", "pcb"), "not bundled"),
        (REID, ("--droprate", "1"), "--droprate"),
        (REID, ("--total", "3"), "--total"),
        (EXAMPLES, ("-n", "mnist_rnn"), "not bundled"),
        (EXAMPLES, ("-n", "siamese"), "not bundled"),
        (EXAMPLES, ("-l", "0"), "-l/--lr"),
        (EXAMPLES, ("-b",), "-b/--batch-size"),
    ],
)
def test_a_wrong_flag_is_answered_in_one_line(
    repo: str, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        train_here(repo, *arguments)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert re.fullmatch("error: .*\n", printed.err)


@pytest.mark.parametrize("repo", EVERY_PROGRAM)
def test_a_wrong_flag_ends_train_sh_at_once(repo: str) -> None:
    done = train(repo, "--lr", "nan")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch("error: .*--lr.*\n", done.stderr)


def test_a_failed_training_prints_no_metric_and_one_line() -> None:
    done = train(EXAMPLES, "--data", "/nowhere", "--seed", "1")
    assert done.returncode == 1
    assert not any(re.search(p, done.stdout) for p in LOG_PATTERNS[EXAMPLES].values())
    assert re.fullmatch(r"error: .*no such folder.*\n", done.stderr)


WORKERS_FAULT = """Caught TrainingError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "market.py", line 80, in _read
common.program.TrainingError: a.jpg cannot be read as an image
"""


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError("no\nroom"), 1, "MemoryError: no room"),
        (OSError(28, "No space left"), 1, r"OSError: \[Errno 28\] No space left"),
        (RuntimeError(WORKERS_FAULT), 1, ".*a.jpg cannot be read as an image"),
    ],
)
def test_what_ends_a_training_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: BaseException,
    code: int,
    said: str,
) -> None:
    def fail(options: object) -> NoReturn:
        raise fault

    program = modules(EXAMPLES).program
    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(SystemExit) as ended:
        program.run(program.Parser("any", ["any"], "any"), fail)
    assert ended.value.code == code
    assert re.fullmatch(f"error: {said}\n", capsys.readouterr().err)


def test_each_line_is_seen_at_once_also_in_a_pipe() -> None:
    killed_at_once = (
        "import os; from common import program as p; "
        "p.run(p.Parser('any', ['any'], 'any'), lambda options: print('Epoch 1/2') or os._exit(7))"
    )
    done = subprocess.run(
        [sys.executable, "-c", killed_at_once], cwd=REPOS, stdout=subprocess.PIPE, check=False
    )
    assert done.returncode == 7
    assert done.stdout.endswith(b"Epoch 1/2\n")


@pytest.mark.parametrize("repo", EVERY_PROGRAM)
def test_an_empty_data_folder_is_an_error_and_not_the_digits(repo: str, tmp_path: Path) -> None:
    program = modules(repo)
    loader = {RESNET: "cifar", REID: "market", EXAMPLES: "mnist"}[repo]
    with pytest.raises(program.program.TrainingError, match="missing"):
        getattr(program, loader).load(tmp_path)


@pytest.mark.parametrize("repo", EVERY_PROGRAM)
def test_an_interpreter_without_torch_is_named(repo: str, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    done = train(repo, PYTHON=str(bare), PYTHONPATH="")
    assert done.returncode == 1
    assert re.fullmatch(r"error: No module named 'torch'; install it for .*\n", done.stderr)


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "cuda:x", "meta", ""])
def test_an_impossible_device_is_refused(device: str) -> None:
    program = modules(EXAMPLES).program
    with pytest.raises(program.TrainingError, match="--device"):
        program.start(1, device)


def test_the_gpu_memory_limit_is_a_share_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    board = SimpleNamespace(total_memory=8 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: board)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, device: shares.append(share)
    )
    program = modules(EXAMPLES).program
    for limit in ("", "2048", "99999"):
        monkeypatch.setenv("WATTEST_GPU_MEMORY_LIMIT_MB", limit)
        program.limit_gpu_memory(torch.device("cuda", 0))
    assert shares == [0.25, 1]
    for wrong in ("0", "-1", "1.5", "much", "²"):
        monkeypatch.setenv("WATTEST_GPU_MEMORY_LIMIT_MB", wrong)
        with pytest.raises(program.TrainingError, match="WATTEST_GPU_MEMORY_LIMIT_MB"):
            program.limit_gpu_memory(torch.device("cuda", 0))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the programs under a path with spaces."""
    root = tmp_path / "my project"
    shutil.copytree(REPOS, root / "repos", ignore=IGNORED)
    return root


def interpreter(path: Path) -> Path:
    """Make a program that prints its name, folder, PID, OpenMP policy and arguments."""
    path.parent.mkdir(parents=True)
    path.write_text('#!/bin/bash\nprintf "%s\\n" "$0" "$PWD" $$ "$OMP_WAIT_POLICY" "$@"\n')
    path.chmod(0o755)
    return path


def start(
    project: Path, *arguments: str, cwd: Path, program: str = EXAMPLES, **environment: str
) -> tuple[int, list[str]]:
    """Run a copied `train.sh` with nothing but the given environment; return PID and lines."""
    with subprocess.Popen(
        [project / "repos" / program / "train.sh", *arguments],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", **environment},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return process.pid, output.splitlines()


@pytest.mark.parametrize("program", EVERY_PROGRAM)
def test_train_sh_becomes_the_interpreter_and_passes_arguments_as_they_are(
    project: Path, tmp_path: Path, program: str
) -> None:
    python = interpreter(tmp_path / "some where" / "python")
    arguments = ["--lr", "5.123456789e-06", "", "a b", "$(touch x)", "*"]
    pid, lines = start(project, *arguments, cwd=tmp_path, program=program, PYTHON=str(python))
    folder = project / "repos" / program
    assert lines == [str(python), str(folder), str(pid), "PASSIVE", "train.py", *arguments]
    assert not (folder / "x").exists()


def test_python_may_be_relative_to_the_callers_folder(project: Path, tmp_path: Path) -> None:
    python = interpreter(tmp_path / "bin dir" / "python")
    _, lines = start(project, cwd=tmp_path, PYTHON="bin dir/python", OMP_WAIT_POLICY="ACTIVE")
    assert lines[0] == str(python)
    assert lines[3] == "ACTIVE"


def test_the_projects_environment_comes_before_python3_on_the_path(
    project: Path, tmp_path: Path
) -> None:
    on_path = interpreter(tmp_path / "path" / "python3")
    search = f"{on_path.parent}:/usr/bin:/bin"
    assert start(project, cwd=tmp_path, PATH=search)[1][0] == str(on_path)
    own = interpreter(project / ".venv" / "bin" / "python")
    assert Path(start(project, cwd=tmp_path, PATH=search)[1][0]).resolve() == own


def test_no_two_files_are_alike() -> None:
    files = [path for path in REPOS.rglob("*") if path.is_file()]
    ours = [path for path in files if not {"__pycache__", "data"} & set(path.parts)]
    assert len({path.read_bytes() for path in ours}) == len(ours) > 0
