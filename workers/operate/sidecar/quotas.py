"""Client quotas, asked of a broker by Kafka's own protocol: the client library cannot ask.

DescribeClientQuotas (API key 48, version 0) with request header version 1, as the message formats
of Apache Kafka 4.1 have them. Without encryption and login only: over others we say that it was
not asked.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

from workers.operate.sidecar.sight import Quota
from workers.stream.failures import CODES
from workers.topology import Broker

DESCRIBE_CLIENT_QUOTAS = 48
TIMEOUT = 10.0
LARGEST = 16 * 1024**2


class Unasked(Exception):  # noqa: N818  what there is, not an error of ours
    """Quotas are not known; says why."""


def quotas(broker: Broker) -> tuple[Quota, ...]:
    """Every quota of users and client ids.

    Raises:
        Unasked: they could not be asked for.
    """
    protocol = broker.security.client_properties().get("security.protocol", "PLAINTEXT")
    if protocol != "PLAINTEXT":
        raise Unasked(f"the client library cannot ask for quotas, nor can we over {protocol}")
    for server in broker.bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        with suppress(OSError):
            return _read(_asked(host.strip("[]"), int(port)))
    raise Unasked("no broker answered the question for quotas")


def _asked(host: str, port: int) -> bytes:
    client = b"workers.sidecar"
    head = struct.pack(">hhih", DESCRIBE_CLIENT_QUOTAS, 0, 1, len(client)) + client
    # No filter: every entity; not strict.
    request = head + struct.pack(">ib", 0, 0)
    with socket.create_connection((host, port), timeout=TIMEOUT) as opened:
        opened.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", _exactly(opened, 4))
        if not 0 <= size <= LARGEST:
            raise Unasked(f"an answer of {size} bytes")
        # After the correlation id.
        return _exactly(opened, size)[4:]


def _exactly(opened: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        part = opened.recv(count - len(found))
        if not part:
            raise ConnectionError("the broker closed the connection")
        found += part
    return bytes(found)


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def number(self, form: str) -> int | float:
        (found,) = struct.unpack_from(f">{form}", self._content, self._at)
        self._at += struct.calcsize(f">{form}")
        value: int | float = found
        return value

    def count(self) -> int:
        """Of an array; a null one has none."""
        return max(0, int(self.number("i")))

    def text(self) -> str | None:
        size = int(self.number("h"))
        if size < 0:
            return None
        found = self._content[self._at : self._at + size].decode()
        self._at += size
        return found


def _read(answer: bytes) -> tuple[Quota, ...]:
    read = _Reader(answer)
    try:
        read.number("i")
        code, _ = int(read.number("h")), read.text()
        if code:
            raise Unasked(f"the broker refuses: {CODES.get(code, code)}")
        return tuple(_entry(read) for _ in range(read.count()))
    except (struct.error, UnicodeDecodeError) as error:
        raise Unasked(f"an answer that is none: {type(error).__name__}") from error


def _entry(read: _Reader) -> Quota:
    entity = {read.text() or "": read.text() for _ in range(read.count())}
    limits = {read.text() or "": float(read.number("d")) for _ in range(read.count())}
    return Quota(entity, limits)
