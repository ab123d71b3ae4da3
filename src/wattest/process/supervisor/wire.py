"""Packets between the client in pytest and its supervisor, over SOCK_SEQPACKET.

Both ends are the same interpreter, and only the owner holds the other end: `marshal` is safe
here, carries any string (PEP 383 surrogates included), and costs nothing to import.
"""

from __future__ import annotations

import errno
import marshal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Message = dict[str, "Any"]

# A SOCK_SEQPACKET packet must fit the socket's send buffer (212,992 bytes by default).
MAXIMUM_BYTES = 150_000
_MOST_ENTRIES = (1 << 17, 8192, 512, 32)


def pack(message: Message) -> bytes:
    """Return one packet."""
    return marshal.dumps(message)


def unpack(packet: bytes) -> Message:
    """Return the message of one packet."""
    message: Message = marshal.loads(packet)
    return message


class End:
    """One end of a pair of sockets. It never blocks.

    What the other side does not read waits in the socket; beyond what that holds, it is dropped.

    Attributes:
        descriptor: of the socket, -1 when this end is closed.
        is_over: whether the other end is closed.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.is_over = False
        os.set_blocking(descriptor, False)

    def receive(self) -> Message | None:
        """Return the next message, None where there is none now; learns of the other's end."""
        try:
            packet = os.read(self.descriptor, MAXIMUM_BYTES)
        except BlockingIOError:
            return None
        except ConnectionError:
            packet = b""
        self.is_over = self.is_over or not packet
        return unpack(packet) if packet else None

    def reply(self, request: Message, **fields: object) -> None:
        """Answer one request."""
        self.send({"id": request["id"], **fields})

    def event(self, kind: str, **fields: object) -> None:
        """Send news that nobody asked for."""
        self.send({"event": kind, **fields})

    def send(self, message: Message) -> None:
        """Send one message; of one that no packet holds, texts and lists lose their ends."""
        try:
            for most in _MOST_ENTRIES:
                packet = pack(_shortened(message, most))
                if len(packet) <= MAXIMUM_BYTES and self._is_taken(packet):
                    return
        except BlockingIOError:
            pass
        except ConnectionError:
            self.is_over = True

    def close(self) -> None:
        """Close this end."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1

    def _is_taken(self, packet: bytes) -> bool:
        try:
            os.write(self.descriptor, packet)
        except OSError as error:
            # The administrator may have made the buffers smaller.
            if error.errno != errno.EMSGSIZE:
                raise
            return False
        return True


def _shortened(value: Any, most: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= most else f"{value[:most]}…"
    if isinstance(value, list | tuple):
        return [_shortened(one, most) for one in value[:most]]
    if isinstance(value, dict):
        return {key: _shortened(one, most) for key, one in value.items()}
    return value
