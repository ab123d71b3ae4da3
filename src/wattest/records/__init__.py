"""What came of experiments, on disk: one JSON document each, and one CSV for each session.

`build` makes a record from an outcome, and `write` leaves it whole or not at all; `read_record`
takes nothing that its readers cannot use. `finished_experiments` is what `--resume` skips.
"""

from wattest.records.document import Context, build, compare
from wattest.records.folder import prepare, reserve, write
from wattest.records.headline import Headline, headline, junit_properties
from wattest.records.reading import loads_of, read_record, result_of
from wattest.records.resume import Finished, complete_csv, finished_experiments
from wattest.records.table import Row, Table

__all__ = [
    "Context",
    "Finished",
    "Headline",
    "Row",
    "Table",
    "build",
    "compare",
    "complete_csv",
    "finished_experiments",
    "headline",
    "junit_properties",
    "loads_of",
    "prepare",
    "read_record",
    "reserve",
    "result_of",
    "write",
]
