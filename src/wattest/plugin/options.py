"""The command line's options, their ini twins, and what they say together."""

from __future__ import annotations

import argparse
import math
import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wattest.errors import ConfigurationError
from wattest.files import sudo_user
from wattest.plugin import workers

if TYPE_CHECKING:
    import pytest

    from wattest.session import SessionOptions

_ALLOWED_MISSING = ("cpu", "gpu")
_CPU_ENERGY = ("exclusive", "shared", "off")
_SUPERVISION = ("guard", "cgroup", "pid-namespace")


def add_options(parser: pytest.Parser) -> None:
    """Add the options; most have an ini twin called ``wattest_…``."""
    group = parser.getgroup("wattest", "energy experiments (wattest)")

    def both(name: str, kind: Any = None, **said: Any) -> None:
        group.addoption(f"--{name}", **said)
        parser.addini(_twin(name), f"as --{name}", type=kind)

    both("config", metavar="SETTINGS", help="settings file (settings/default.json)")
    both("models-config", metavar="REGISTRY", help="registry (config/models_config.json)")
    both("results-dir", metavar="DIR", help="where records go (results)")
    both("sysfs", metavar="DIR", help="another root for /sys (WATTEST_SYSFS)")
    both("require-energy", "bool", action="store_true", default=None,
         help="refuse to run where neither CPU nor GPU energy can be measured")  # fmt: skip
    both("allow-missing", "args", action="append", choices=_ALLOWED_MISSING,
         help="accept knowingly that this sensor exists and cannot be read")  # fmt: skip
    both("cpu-energy", choices=_CPU_ENERGY,
         help="whether the CPU's counters are this session's alone (exclusive; shared where several"
         " workers outnumber the packages), or not read (off)")  # fmt: skip
    both("supervision", choices=_SUPERVISION, help="how process trees are held")
    both("wait-for-counters", metavar="SECONDS", type=float,
         help="wait so long for another session that measures on this machine")  # fmt: skip
    both(
        "run-as",
        metavar="USER",
        help="run the trainings as this user (as root only; under sudo: who called it)",
    )
    shard = "run only the K-th of N parts of the plan; slurm: that of this task"
    group.addoption("--shard", metavar="K/N|slurm", help=shard)
    group.addoption("--seed", metavar="N", type=seed, help="root seed of the plan")
    group.addoption(
        "--resume", action="store_true", help="run only what the plan still lacks in the results"
    )
    group.addoption("--session", metavar="ID", help="resume the campaign of this session")


def _twin(name: str) -> str:
    return f"wattest_{name.replace('-', '_')}"


def option(config: pytest.Config, name: str) -> Any:
    """Return the value of ``--name``, else of its ini twin; None where neither is set."""
    value = config.getoption(f"--{name}")
    if value is None:
        value = config.getini(_twin(name))
    return value or None


def project_root(config: pytest.Config) -> Path:
    """Return the folder of the campaign's project: pytest's root, whatever `-c` or `--rootdir` say.

    Where that holds no registry it is the folder of a ``conftest.py`` which holds one.
    """
    files = [getattr(one, "__file__", None) or "" for one in config.pluginmanager.get_plugins()]
    places = [Path(file).parent for file in files if Path(file).name == "conftest.py"]
    for place in (config.rootpath, *places):
        if (place / "config/models_config.json").is_file():
            return place
    return config.rootpath


def results_folder(config: pytest.Config) -> Path:
    """Return where records go, as an absolute path; what an ini file says begins at the project."""
    named: str | None = option(config, "results-dir")
    if named is None:
        return project_root(config) / "results"
    is_typed = config.getoption("--results-dir") is not None
    folder = config.invocation_params.dir if is_typed else project_root(config)
    # Not Path.expanduser: it raises for an unknown user.
    return folder / os.path.expanduser(named)  # noqa: PTH111


def session_to_resume(config: pytest.Config) -> str | None:
    """Return the session whose campaign `--resume` shall continue; None leaves the choice."""
    session: str | None = config.getoption("--session")
    if session is not None and not config.getoption("--resume"):
        raise ConfigurationError([f"--session {session}: add --resume to continue its campaign"])
    return session


def session_options(config: pytest.Config) -> SessionOptions:
    """Return what the options say of the session; a value of no use is a WattestError."""
    from wattest.run import Launcher
    from wattest.session import SessionOptions

    supervision = next(iter(_chosen(config, "supervision", _SUPERVISION)), None)
    member = workers.member_of(config)
    return SessionOptions(
        results_folder=results_folder(config),
        sys_root=root_of_sys(config),
        require_energy=bool(option(config, "require-energy")),
        allow_missing=frozenset(_chosen(config, "allow-missing", _ALLOWED_MISSING)),
        wait_seconds=_seconds(option(config, "wait-for-counters")),
        launcher=Launcher.by(supervision, workers.owners(config), run_as(config)),
        cpu_energy=member.cpu_energy if member else cpu_energy(config) or "exclusive",
        member=member,
    )


def cpu_energy(config: pytest.Config) -> str | None:
    """Return what ``--cpu-energy`` says; None if it says nothing."""
    return next(iter(_chosen(config, "cpu-energy", _CPU_ENERGY)), None)


def root_of_sys(config: pytest.Config) -> Path:
    """Return the folder that stands for /sys in this run.

    Raises:
        ConfigurationError: what was named is no folder.
    """
    origin = "--sysfs" if config.getoption("--sysfs") else "wattest_sysfs"
    return sys_root(option(config, "sysfs"), origin)


def sys_root(named: str | None, origin: str = "--sysfs") -> Path:
    """Return the folder for /sys: what the option `origin` named, else WATTEST_SYSFS, else /sys.

    Raises:
        ConfigurationError: What was named is no folder.
    """
    if not named:
        named, origin = os.environ.get("WATTEST_SYSFS"), "WATTEST_SYSFS"
    if not named:
        return Path("/sys")
    try:
        reason = "" if stat.S_ISDIR(Path(named).stat().st_mode) else "is no folder"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    if reason:
        raise ConfigurationError([f"{origin}: {named!r}: {reason}; it must be a folder like /sys"])
    return Path(named)


def _chosen(config: pytest.Config, name: str, choices: Sequence[str]) -> list[str]:
    """Return the values of an option, which may come unchecked from its ini twin."""
    value = option(config, name)
    values = [value] if isinstance(value, str) else list(value or ())
    for one in values:
        if one not in choices:
            told = f"{_twin(name)}: {one!r} is none of {', '.join(choices)}"
            raise ConfigurationError([told])
    return values


def _seconds(value: str | float | None) -> float:
    try:
        seconds = float(value or 0)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ConfigurationError([f"--wait-for-counters: {value!r} is no number of seconds"])
    return seconds


def run_as(config: pytest.Config) -> tuple[int, int] | None:
    """Return (uid, gid) of who runs the trainings: who is named, else who called sudo."""
    name: str | None = option(config, "run-as")
    if name is None:
        return sudo_user()
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ConfigurationError([f"--run-as: there is no user {name!r}"]) from None
    if os.geteuid() not in (0, entry.pw_uid):
        raise ConfigurationError([f"--run-as {name}: only root can run trainings as another user"])
    return entry.pw_uid, entry.pw_gid


def named_paths(config: pytest.Config) -> Iterator[Path]:
    """Yield whatever options name as a path, such as ``--junitxml``, ``--log-file``, ``--debug``.

    The project itself, and the folders around it, are left out.
    """
    named = list(vars(config.option).values())
    # Who leaves out the plugin of one of these leaves out its setting, too.
    with suppress(ValueError):
        named.append(config.getini("log_file"))
        named.append(str(config.rootpath / config.getini("cache_dir")))
    for name in named:
        for one in name if isinstance(name, list) else [name]:
            if isinstance(one, str) and one and "\0" not in one:
                # Not Path.expanduser: it raises for an unknown user.
                plain = os.path.expandvars(os.path.expanduser(one))  # noqa: PTH111
                path = Path(os.path.normpath(config.invocation_params.dir / plain))
                if path not in (config.rootpath, *config.rootpath.parents):
                    yield path


def seed(text: str) -> int:
    """Return a root seed from the command line."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on, is {text!r}")
    return int(text)
