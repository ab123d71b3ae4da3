"""Packets between the client in pytest and its supervisor, over SOCK_SEQPACKET.

Both ends are the same interpreter, and only the owner holds the other end: `marshal` is safe
here, carries any string (PEP 383 surrogates included), and costs nothing to import.
"""

from __future__ import annotations

import marshal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]

# A SOCK_SEQPACKET packet must fit the socket's send buffer (212,992 bytes by default).
MAXIMUM_BYTES = 150_000


def pack(message: Message) -> bytes:
    """Return one packet."""
    return marshal.dumps(message)


def unpack(packet: bytes) -> Message:
    """Return the message of one packet."""
    message: Message = marshal.loads(packet)
    return message


class Link:
    """The supervisor's ends of two sockets: requests with replies, and news. It never blocks.

    What the owner does not read waits in the sockets; beyond what they hold, it is dropped.
    """

    def __init__(self, control: int, news: int) -> None:
        self.control = control
        self.closed = False
        self._news = news
        for descriptor in (control, news):
            os.set_blocking(descriptor, False)

    def receive(self) -> Message | None:
        """Return the next request, None where there is none now; sets `closed` at its end."""
        try:
            packet = os.read(self.control, MAXIMUM_BYTES)
        except BlockingIOError:
            return None
        except ConnectionError:
            packet = b""
        self.closed = self.closed or not packet
        return unpack(packet) if packet else None

    def reply(self, request: Message, **fields: object) -> None:
        """Answer one request."""
        self._send(self.control, {"id": request["id"], **fields})

    def event(self, kind: str, **fields: object) -> None:
        """Send news that nobody asked for."""
        self._send(self._news, {"event": kind, **fields})

    def _send(self, descriptor: int, message: Message) -> None:
        try:
            os.write(descriptor, pack(message))
        except BlockingIOError:
            pass
        except ConnectionError:
            self.closed = True
