"""The owner's ends of two sockets: requests with answers, and news that nobody asked for."""

from __future__ import annotations

import select
import socket
import time

from wattest.process.supervisor import wire

_LONGEST_POLL_SECONDS = 3600.0


class Channel:
    """Packets to and from one supervisor; for one thread at a time.

    Answers and news do not share a socket, so no answer can take news away from who waits for it.

    Attributes:
        is_over: whether the other end has closed, that is, the supervisor has ended.
        theirs: the supervisor's ends, for control and for news.
    """

    def __init__(self) -> None:
        """Make all ends.

        Raises:
            OSError: no descriptors are left.
        """
        self._control, their_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._news, their_news = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.theirs = (their_control, their_news)
        self.is_over = False
        self._events: list[wire.Message] = []
        self._replies: dict[int, wire.Message] = {}
        self._waiting: set[int] = set()
        self._last_id = 0

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._control.fileno() < 0

    def fileno(self) -> int:
        """Return a descriptor that is readable when news, or the end, has come."""
        return self._news.fileno()

    def ask(self, do: str, timeout_seconds: float, **fields: object) -> wire.Message | None:
        """Return the answer to a request; None when it did not come in time, or never will.

        An interruption is harmless: the answer is dropped when it comes.
        """
        self._last_id += 1
        asked = self._last_id
        deadline = time.monotonic() + timeout_seconds
        self._waiting.add(asked)
        try:
            self._send(wire.pack({"id": asked, "do": do, **fields}), timeout_seconds)
            while asked not in self._replies and not self.is_over:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._pump(self._control, left)
            return self._replies.pop(asked, None)
        finally:
            self._waiting.discard(asked)

    def tell(self, do: str) -> None:
        """Send a request that has no answer, if there is room for it at once."""
        self._send(wire.pack({"id": 0, "do": do}), 0.0)

    def pump(self, timeout_seconds: float = 0.0) -> None:
        """Take in the news that have come, waiting up to `timeout_seconds` for the first."""
        self._pump(self._news, timeout_seconds)

    def has_event(self, kind: str) -> bool:
        """Return whether an event of a kind has come and was not taken."""
        self.pump()
        return any(event["event"] == kind for event in self._events)

    def take_event(self, kind: str) -> wire.Message | None:
        """Return and forget the first event of a kind that has come, None where there is none."""
        self.pump()
        for index, event in enumerate(self._events):
            if event["event"] == kind:
                return self._events.pop(index)
        return None

    def close_theirs(self) -> None:
        """Close the supervisor's ends, once it has them."""
        for end in self.theirs:
            end.close()

    def close(self) -> None:
        """Close everything; what has come is kept."""
        self.pump()
        self.close_theirs()
        self._control.close()
        self._news.close()

    def _pump(self, source: socket.socket, timeout_seconds: float) -> None:
        if source.fileno() < 0:
            return
        poller = select.poll()
        poller.register(source, select.POLLIN)
        wait = min(timeout_seconds, _LONGEST_POLL_SECONDS)
        while poller.poll(wait * 1000) and self._take_in(source):
            wait = 0.0

    def _send(self, packet: bytes, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                self._control.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                return
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                poller = select.poll()
                poller.register(self._control, select.POLLOUT)
                poller.poll(min(left, _LONGEST_POLL_SECONDS) * 1000)
            except (BrokenPipeError, ConnectionResetError):
                self.is_over = True
                return

    def _take_in(self, source: socket.socket) -> bool:
        """Take in one packet; return False at the end."""
        try:
            packet = source.recv(wire.MAXIMUM_BYTES)
        except ConnectionResetError:
            packet = b""
        if not packet:
            self.is_over = True
            return False
        message = wire.unpack(packet)
        if "event" in message:
            self._events.append(message)
        elif message["id"] in self._waiting:
            self._replies[message["id"]] = message
        return True
