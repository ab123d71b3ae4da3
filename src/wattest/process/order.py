"""From a command to the order that the supervisor executes, and from its refusal to words."""

from __future__ import annotations

import errno
import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wattest.errors import ProcessError, SpawnError
from wattest.files import read_text, why_not_executable
from wattest.process.owner import ROLE_VARIABLE, marks
from wattest.process.reports import Command

_MOST_OOM_SCORE = 1000


def order_for(command: Command, tree: str, oom_score_raised_by: int = 0) -> dict[str, Any]:
    """Return what the supervisor shall execute; every string as the bytes that exec gets.

    Raises:
        SpawnError: the command cannot be passed to a program.
        ProcessError: `run_as` is another user, and this one is not root.
    """
    if not command.argv:
        raise SpawnError("cannot start a training: its command is empty")
    environment = {**command.environment, **marks(tree)}
    environment.pop(ROLE_VARIABLE, None)
    try:
        return {
            "programs": [os.fsencode(program) for program in _candidates(command)],
            "argv": [os.fsencode(argument) for argument in command.argv],
            "cwd": os.fsencode(command.cwd.absolute()),
            "environment": {
                os.fsencode(name): os.fsencode(value) for name, value in environment.items()
            },
            "user": _user(command.run_as),
            "oom_score_adj": _oom_score(oom_score_raised_by),
        }
    except (UnicodeEncodeError, TypeError) as error:
        raise SpawnError(f"cannot start {command.argv[0]!r}: {error}") from error


def spawn_error(command: Command, refusal: Mapping[str, Any]) -> SpawnError:
    """Return the error that tells a reader why the program did not start."""
    number, step, why = refusal["errno"], refusal["step"], refusal["text"]
    if step == "folder":
        why = f"its working folder {str(command.cwd)!r} cannot be entered: {os.strerror(number)}"
    elif step == "program":
        why = _explain(command, number) or why
    elif step != "order":
        why = f"{step}: {why}"
    return SpawnError(f"cannot start {command.argv[0]!r}: {why}")


def groups_of(uid: int, gid: int) -> list[int]:
    """Return the groups that a login of this user gets; one without an entry has only `gid`."""
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return [gid]


def _candidates(command: Command) -> list[str]:
    """Return the paths to try, relative ones from the working folder: PATH is searched as usual."""
    program = command.argv[0]
    if "/" in program:
        return [program]
    folders = command.environment.get("PATH", os.defpath).split(":")
    return [f"{folder or '.'}/{program}" for folder in folders]


def _explain(command: Command, number: int) -> str | None:
    """Say in words what execve(2) meant, with the remedy; None where its own words must do."""
    paths = [command.cwd / candidate for candidate in _candidates(command)]
    path = next((path for path in paths if os.path.lexists(path)), None)
    if number in (errno.ENOENT, errno.EACCES) and path is None and "/" not in command.argv[0]:
        closed = ", of which a folder may not be searched" if number == errno.EACCES else ""
        return f"no such program in PATH={command.environment.get('PATH', os.defpath)!r}{closed}"
    if number == errno.ENOENT and path is None:
        return f"no such file: {str(paths[0])!r}"
    if number == errno.ENOENT and path is not None:
        return f"{_interpreter(path)} does not exist"
    if number == errno.EACCES and path is not None:
        if path.is_dir():
            return "it is a folder"
        return f"permission denied: it {why_not_executable(path)}"
    if number == errno.ENOEXEC:
        return "the kernel does not know its format: a script needs a first line such as #!/bin/sh"
    if number == errno.E2BIG:
        return "its arguments and environment are larger than the kernel takes"
    return None


def _interpreter(script: Path) -> str:
    if not script.exists():
        return "the file that its symbolic link names"
    try:
        with script.open("rb") as file:
            first = file.readline(4096)
    except OSError:
        return "its interpreter"
    if not first.startswith(b"#!"):
        return "the program loader that it names"
    name = first[2:].rstrip(b"\n").decode(errors="replace").strip(" \t")
    hint = " (the line ends in a carriage return: a Windows file)" if name.endswith("\r") else ""
    return f"the interpreter {name!r} of its first line{hint}"


def _user(run_as: tuple[int, int] | None) -> tuple[int, int, list[int]] | None:
    """Return (uid, gid, groups) of the user to become; None where that is this one."""
    own = (os.geteuid(), os.getegid())
    if run_as is None or (own[0] != 0 and run_as == own):
        return None
    if own[0] != 0:
        raise ProcessError(f"cannot run a training as user {run_as[0]}: only root can do that")
    return *run_as, groups_of(*run_as)


def _oom_score(raised_by: int) -> int | None:
    own = read_text(Path("/proc/self/oom_score_adj")) if raised_by else None
    return None if own is None else min(_MOST_OOM_SCORE, int(own) + raised_by)
