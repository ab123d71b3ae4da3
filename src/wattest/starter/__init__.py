"""A campaign's project in a new folder: what `wattest init` leaves.

The experiment, its fixtures and the schemas are the house's own; settings, registry and a toy
program lie in `files`. An installed wheel holds both.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from wattest.config.schema import schema_folder
from wattest.errors import ConfigurationError
from wattest.files import make_folder, obstacle, sudo_user

__all__ = ["create"]

_OWN = Path(__file__).with_name("files")
_RENAMED = {"gitignore": ".gitignore"}


def create(folder: Path) -> list[Path]:
    """Write a project that runs into `folder`; nothing that is there is overwritten.

    Returns:
        The files, relative to the folder.

    Raises:
        ConfigurationError: Some of them are there already, one line each, or cannot be written.
    """
    wanted = dict(_wanted())
    if blocked := {why for name in wanted if (why := obstacle((folder / name).parent))}:
        raise ConfigurationError(sorted(blocked))
    there = [name for name in wanted if os.path.lexists(folder / name)]
    if there:
        raise ConfigurationError(
            [f"{folder / name}: is there already; name a new folder" for name in there]
        )
    try:
        for name, source in wanted.items():
            make_folder((folder / name).parent)
            shutil.copy(source, folder / name)
            if owner := sudo_user():
                os.chown(folder / name, *owner)
    except OSError as error:
        raise ConfigurationError([f"{error.filename or folder}: {error.strerror}"]) from None
    return sorted(wanted)


def _wanted() -> Iterator[tuple[Path, Path]]:
    """Yield each file of a project by its place there, and where it is copied from."""
    for source in _files(_OWN):
        name = source.relative_to(_OWN)
        yield name.with_name(_RENAMED.get(name.name, name.name)), source
    house = _house()
    for source in (house / "conftest.py", *_files(house / "experiments", house / "fixtures")):
        yield source.relative_to(house), source
    for source in sorted(schema_folder().glob("*.json")):
        yield Path("config", "schemas", source.name), source


def _house() -> Path:
    """Return the folder of the experiment and its fixtures: in the wheel, or the checkout."""
    packaged = Path(__file__).with_name("house")
    return packaged if packaged.is_dir() else Path(__file__).parents[3]


def _files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                yield path
