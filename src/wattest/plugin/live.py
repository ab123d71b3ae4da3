"""One live line for each of several workers, on the terminal of their controller.

A worker sends its line as a datagram; a thread of the controller hands it to xdist's own queue, so
that the main thread alone writes on the terminal.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import threading
from contextlib import suppress
from typing import Any

import pytest

from wattest.terminal import Console

_EVENT = "wattest_live"
_MOST_BYTES = 4096


class SentConsole(Console):
    """What a worker shows its live line on: its controller's terminal.

    Args:
        address: The abstract name of the controller's socket (unix(7)).
        worker: How xdist calls this worker.
    """

    def __init__(self, address: str, worker: str) -> None:
        super().__init__(None)
        self._to = f"\0{address}"
        self._worker = worker
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    @property
    def is_live(self) -> bool:
        """Tell that a line can be shown: the controller gives its address only then."""
        return True

    def live(self, text: str) -> None:
        """Send the line; one that the controller has no time for is as good as the next."""
        self._live_shown = bool(text)
        told = json.dumps([self._worker, text]).encode()[:_MOST_BYTES]
        with suppress(OSError):
            self._socket.sendto(told, self._to)

    def clear_live(self) -> None:
        """Send that there is none any more."""
        if self._live_shown:
            self.live("")


class LiveLines:
    """The lines of all workers below what pytest writes; registered as a plugin.

    Args:
        config: pytest's.
        reporter: pytest's terminal reporter, on a terminal.

    Attributes:
        address: Where workers send their lines to.
    """

    def __init__(self, config: pytest.Config, reporter: Any) -> None:
        self._config = config
        self._reporter = reporter
        self._lines: dict[str, str] = {}
        self._shown = 0
        self.address = f"wattest-{secrets.token_hex(16)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(f"\0{self.address}")
        threading.Thread(target=self._receive, name="wattest-live", daemon=True).start()

    def show(self, worker: str, text: str) -> None:
        """Show a worker's line, or none, in place of the one before."""
        self.clear()
        if text:
            self._lines[worker] = text
        else:
            self._lines.pop(worker, None)
        width, height = shutil.get_terminal_size()
        lines = [f"{name}  {line}"[: width - 1] for name, line in sorted(self._lines.items())]
        lines = lines[: max(1, height - 2)]
        if lines:
            self._reporter.ensure_newline()
            self._reporter.write("\n".join(lines), flush=True)
            self._shown = len(lines)

    def clear(self) -> None:
        """Remove the lines from the terminal."""
        if self._shown:
            up = f"\x1b[{self._shown - 1}A" if self._shown > 1 else ""
            self._reporter.write(f"\r{up}\x1b[J", flush=True)
            self._shown = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        """Make room for what pytest says of a test that begins."""
        self.clear()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self) -> None:
        """Make room for what pytest says of a test that has ended."""
        self.clear()

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Make room for what is said of a worker that is gone, and forget its line."""
        self.clear()
        self._lines.pop(node.gateway.id, None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Show nothing more."""
        self.clear()
        self._lines.clear()
        # The thread ends with its socket.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _receive(self) -> None:
        session: Any = None
        while True:
            try:
                worker, text = json.loads(self._socket.recv(_MOST_BYTES))
            except OSError:
                return
            except ValueError:
                continue
            if session is None:
                session = self._config.pluginmanager.get_plugin("dsession")
                setattr(session, f"worker_{_EVENT}", self.show)
            plain = "".join(filter(str.isprintable, str(text)))
            session.queue.put((_EVENT, {"worker": str(worker), "text": plain}))


def live_lines(config: pytest.Config, console: Console) -> LiveLines | None:
    """Return what shows the workers' lines; None where there is no terminal to show them on."""
    if not console.is_live:
        return None
    lines = LiveLines(config, config.pluginmanager.get_plugin("terminalreporter"))
    config.pluginmanager.register(lines, "wattest-live")
    return lines
