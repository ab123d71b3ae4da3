"""Packets between the handle in pytest and its supervisor, over SOCK_SEQPACKET.

Both ends are the same interpreter, and only the owner holds the other end: `marshal` is safe
here, carries any string (PEP 383 surrogates included), and costs nothing to import.
"""

from __future__ import annotations

import errno
import marshal
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]

# A SOCK_SEQPACKET packet must fit the socket's send buffer (212,992 bytes by default).
MAXIMUM_BYTES = 150_000
_CLOSED = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)


def pack(message: Message) -> bytes:
    """Return one packet."""
    return marshal.dumps(message)


def unpack(packet: bytes) -> Message:
    """Return the message of one packet."""
    message: Message = marshal.loads(packet)
    return message


class Link:
    """The supervisor's ends of two sockets: requests with replies, and news. It never blocks.

    What the owner does not read waits in a short queue: the replies, because no further request
    is read before they are gone, and the latest event of each kind.
    """

    def __init__(self, control: int, news: int) -> None:
        self.control = control
        self.closed = False
        self._news = news
        self._replies: list[Message] = []
        self._events: dict[str, Message] = {}
        for descriptor in (control, news):
            os.set_blocking(descriptor, False)

    def register(self, poller: select.poll) -> None:
        """Have `poller` wake for what there is to do: `flush`, `receive`, or the end."""
        if self.closed:
            return
        poller.register(self.control, select.POLLOUT if self._replies else select.POLLIN)
        if self._events:
            poller.register(self._news, select.POLLOUT)

    def receive(self) -> Message | None:
        """Return the next request, None where there is none now; sets `closed` at its end."""
        if self.closed or self._replies:
            return None
        try:
            packet = os.read(self.control, MAXIMUM_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in _CLOSED:
                raise
            packet = b""
        if not packet:
            self.closed = True
            return None
        return unpack(packet)

    def reply(self, request: Message, **fields: object) -> None:
        """Answer one request."""
        self._replies.append({"id": request["id"], **fields})
        self.flush()

    def event(self, kind: str, **fields: object) -> None:
        """Send news that nobody asked for; a later event of the same kind replaces it."""
        self._events[kind] = {"event": kind, **fields}
        self.flush()

    def flush(self) -> None:
        """Send what waits, events first, as far as the sockets take it."""
        while not self.closed and self._events:
            kind = next(iter(self._events))
            if not self._send(self._news, self._events[kind]):
                break
            del self._events[kind]
        while not self.closed and self._replies:
            if not self._send(self.control, self._replies[0]):
                break
            del self._replies[0]

    def _send(self, descriptor: int, message: Message) -> bool:
        try:
            os.write(descriptor, pack(message))
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _CLOSED:
                raise
            self.closed = True
        return True
