"""Take the picture of a report that the README shows: its first screen, as a browser draws it.

Needs Chromium:

    .venv/bin/wattest report results -o report.html
    .venv/bin/python docs/photograph_report.py report.html docs/report.png
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTH, HEIGHT = 1200, 900


def photograph(page: Path, picture: Path) -> None:
    """Leave the top of `page` in `picture`, a PNG."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("Chromium is not installed here")
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}"]
        command += [f"--screenshot={picture.resolve()}", page.resolve().as_uri()]
        subprocess.run(command, check=True, timeout=60, capture_output=True)


if __name__ == "__main__":
    photograph(*map(Path, sys.argv[1:3]))
