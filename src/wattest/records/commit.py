"""The record that counts of each experiment: the first that is committed, by an exclusive link.

``results/counted/{plan}/{experiment key}.json`` is a second name of that record. It is made by the
kernel in one step that fails where there is one, also across the nodes of a cluster: of two tasks
that trained the same thing only one counts.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from wattest.files import make_folder
from wattest.names import digest_of, slug
from wattest.plan.experiment import Plan
from wattest.records.reading import read_record, result_of

_SECOND_NS = 1_000_000_000


def counted_name(results: Path, plan: Plan, key: str) -> Path:
    """Return the second name of the record that counts of an experiment of this plan.

    What else the plan was made from is part of the name: records of other settings, or of other
    entries of the registry, do not count for it.
    """
    origin = digest_of([plan.settings_digest, plan.program_digests])
    return results / "counted" / f"{plan.digest}-{origin[:8]}" / f"{slug(key)}.json"


def commit(record: Path, name: Path) -> str | None:
    """Let `record` be the one that counts, unless another already bears the `name`.

    Returns:
        The id of the experiment that counts in its place; None where this one counts. Where the
        file system knows no links, every record counts, and the oldest is taken later on.

    Raises:
        OSError: the folder cannot be made.
    """
    make_folder(name.parent)
    while not (_link(record, name) or _is_same(name, record)):
        other = read_record(name) if counted(name) else None
        if other is not None and result_of(other)["training_success"]:
            return str(other["experiment_id"])
        # Somebody has deleted or damaged the record behind it, so that it is run again.
        name.unlink(missing_ok=True)
    _mark(record)
    return None


def counted(name: Path) -> bool:
    """Tell whether a name in the folder still stands for a record that lies in the results."""
    try:
        return (name.is_symlink() and name.exists()) or name.lstat().st_nlink > 1
    except OSError:
        return False


def is_untouched(name: Path) -> bool:
    """Tell whether nobody has written to a record since it was committed.

    Only that has set its time of writing back; who writes lets it be now once more.
    """
    try:
        found = name.stat()
    except OSError:
        return False
    return found.st_ctime_ns - found.st_mtime_ns >= _SECOND_NS


def _mark(record: Path) -> None:
    """Let a record show that it is committed as it is; one of another user cannot be marked."""
    with suppress(OSError):
        found = record.stat()
        os.utime(record, ns=(found.st_atime_ns, found.st_mtime_ns - _SECOND_NS))


def _link(record: Path, name: Path) -> bool:
    """Give a record its second name; False where that name is taken."""
    for way in (os.link, _symlink):
        try:
            way(record, name)
        except FileExistsError:
            return False
        except OSError:
            continue
        return True
    return True


def _symlink(record: Path, name: Path) -> None:
    name.symlink_to(os.path.relpath(record, name.parent))


def _is_same(name: Path, record: Path) -> bool:
    try:
        return name.samefile(record)
    except OSError:
        return False
