"""What reading costs: records as a table and as a page, beside json.loads of the same files.

    python -m benchmarks.reading_records

Each in a process of its own, as a user has it, imports included; the best of several by CPU time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.campaigns import copied_records, repeated_pairs

_BARE = """import json, pathlib
for path in pathlib.Path({folder!r}).glob("*.json"): json.loads(path.read_bytes())"""
_TABLE = "import wattest; wattest.read_results({folder!r})"
_PAGE = """from wattest.cli import main
main(["report", {folder!r}, "-o", {folder!r} + "/page.html"])"""
_TIMED = """import time{imports}
began = time.process_time()
{code}
open({told!r}, "w").write(str(time.process_time() - began))"""


def main() -> None:
    """Print seconds of CPU, and how many times those of json.loads they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as place:
        table, page = Path(place, "table"), Path(place, "page")
        copied_records(table, 1000)
        repeated_pairs(page, 150, 3)
        _compare("table of 1,000 records", _TABLE, table, rounds, ", pandas")
        _compare("page of 900 records", _PAGE, page, rounds)


def _compare(name: str, code: str, folder: Path, rounds: int, imports: str = "") -> None:
    seconds = [(_seconds(_BARE, folder), _seconds(code, folder, imports)) for _ in range(rounds)]
    bare, own = (sorted(one) for one in zip(*seconds, strict=True))
    print(
        f"{name}: {own[0]:.2f} s ({own[-1]:.2f} s at most), json.loads {bare[0]:.2f} s:"
        f" {own[0] / bare[0]:.1f} times"
    )


def _seconds(code: str, folder: Path, imports: str = "") -> float:
    told = folder / "seconds.txt"
    timed = _TIMED.format(imports=imports, code=code.format(folder=str(folder)), told=str(told))
    subprocess.run([sys.executable, "-c", timed], check=True, stdout=subprocess.DEVNULL)
    return float(told.read_text())


if __name__ == "__main__":
    main()
