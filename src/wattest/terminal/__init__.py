"""What a person sees on the terminal: one line per event, one live line, one table at the end.

A `Console` writes through pytest's own reporter, past its capturing, and falls silent when nobody
reads any more. `shown` writes paths as seen from where the person stands. The table is drawn by
rich, which is imported when it is needed.
"""

from wattest.terminal.console import Console, shown
from wattest.terminal.table import summary_lines, table_lines

__all__ = ["Console", "shown", "summary_lines", "table_lines"]
