"""Which variables of this process another one may inherit.

A session may be started by git (a hook, `rebase --exec`, `bisect run`), under coverage or with
Python's own debugging aids: what they say is meant for the process that they started, and would
point git at another repository, trace a training, or slow it down.
"""

from __future__ import annotations

from collections.abc import Mapping

# Those of `git rev-parse --local-env-vars`, and what hooks and servers set besides.
_OF_GIT = frozenset((
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT", "GIT_OBJECT_DIRECTORY", "GIT_DIR", "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE", "GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE", "GIT_PREFIX", "GIT_NAMESPACE", "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_SHALLOW_FILE", "GIT_COMMON_DIR", "GIT_QUARANTINE_PATH", "GIT_ATTR_SOURCE",
))  # fmt: skip
_OF_THIS_PYTHON = frozenset((
    "PYTHONASYNCIODEBUG", "PYTHONBREAKPOINT", "PYTHONDEBUG", "PYTHONDEVMODE", "PYTHONINSPECT",
    "PYTHONDUMPREFS", "PYTHONMALLOCSTATS", "PYTHONPERFSUPPORT", "PYTHON_PERF_JIT_SUPPORT",
    "PYTHONPROFILEIMPORTTIME", "PYTHONTRACEMALLOC", "PYTHONVERBOSE", "PYTHONWARNINGS",
))  # fmt: skip
# Where one Python finds its own library, which another must not take for its own.
_OF_ONE_PYTHON = frozenset(("PYTHONHOME", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"))
_PREFIXES = ("PYTEST_", "COV_CORE_", "COVERAGE_")


def for_git(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a call of git that asks about a folder and changes nothing."""
    plain = {name: value for name, value in variables.items() if name not in _OF_GIT}
    return {**plain, "GIT_OPTIONAL_LOCKS": "0"}


def for_training(variables: Mapping[str, str], *, same_python: bool) -> dict[str, str]:
    """Return what a training inherits; `same_python` says whether the Python of pytest runs it."""
    kept_out = _OF_GIT | _OF_THIS_PYTHON | (frozenset() if same_python else _OF_ONE_PYTHON)
    return {
        name: value
        for name, value in variables.items()
        if name not in kept_out and not name.startswith(_PREFIXES)
    }
