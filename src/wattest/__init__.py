"""wattest: what a training costs in energy, and what it gives, on a machine that is busy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame

__version__ = "0.1.0"


def read_rows(*folders: str | Path) -> list[dict[str, Any]]:
    """Return the rows of the session CSV for every record in these folders, oldest first.

    Every row has the same keys; what is unknown is None. A damaged record is named on stderr.

    Raises:
        wattest.errors.RecordError: a folder is not there, or there is no record in any of them.
    """
    from wattest.report.rows import read_rows

    return read_rows(*folders)


def read_results(*folders: str | Path) -> DataFrame:
    """Return the rows of `read_rows` as a table of pandas, with a fitting type for each column.

    What is unknown is NA. Needs the extra `pandas`.

    Raises:
        wattest.errors.ExtraError: pandas is not installed.
        wattest.errors.RecordError: a folder is not there, or there is no record in any of them.
    """
    from wattest.report.rows import read_results

    return read_results(*folders)
