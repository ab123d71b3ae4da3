"""A campaign on a cluster: one fixed plan, trained by the tasks of Slurm job arrays.

`submission` queues what a plan still lacks; `progress` says what became of it. Tasks are runs of
pytest with ``--shard``, which know nothing of each other but the records that they leave.
"""

from wattest.cluster.progress import status_lines, write_csv
from wattest.cluster.submission import Request, submit

__all__ = ["Request", "status_lines", "submit", "write_csv"]
