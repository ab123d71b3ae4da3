"""The meter: opens windows over all sources of this machine."""

from __future__ import annotations

from pathlib import Path

from wattest.energy.window import Rig, Window


class Meter:
    """Opens windows.

    Args:
        rig: The sources of this machine, and how to read them.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def open(self, folder: Path) -> Window:
        """Open a window whose traces go to `folder`; the last act is to read every source.

        Args:
            folder: Created; if it exists, it must be empty.

        Raises:
            EnergyError: The folder cannot be used.
        """
        return Window(self._rig, folder)
