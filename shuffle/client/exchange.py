"""One request and its answer: as much of HTTP/1.1 as it takes to ask a server of partitions.

``http.client`` needs longer for the head of an answer than a partition of 64 KiB needs to arrive, and two system calls
where one is enough. Answers in chunks are not understood: they have no length that could be checked.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import struct
from collections.abc import Mapping

from shuffle.client.deadline import NEVER, Deadline
from shuffle.client.place import Host
from shuffle.wire import decode_length

_BUFFER_BYTES = 16 << 10
"""Size of a connection's buffer for heads of answers, and for the bytes that arrive with a head."""

_MAXIMUM_HEAD_BYTES = 64 << 10
_WINDOW_BYTES = 4 << 20
"""Bytes that a server may send before they are read. With less, a partition of 1 MiB arrives in several steps, and each
step wakes both processes."""

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\r\n]*))?\r\n")


class Connection:
    """A connection to a server; one thread's at a time.

    Args:
        host: the server.
        connect_seconds: seconds for the connection to be made.
        timeout_seconds: seconds for some more bytes to be sent or to arrive.
        tls: encrypts the connection; None for ``http``.

    All methods, and those of its answers, raise ``OSError`` if the network, or what the server sent, is at fault.
    """

    def __init__(self, host: Host, connect_seconds: float, timeout_seconds: float, tls: ssl.SSLContext | None) -> None:
        self.timeout_seconds = timeout_seconds
        self.is_plain: bool = tls is None
        self._deadline = NEVER
        self._wait_seconds = 0.0  # not set yet
        self._host = str(host).partition("//")[2]
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._unread = self._buffer[:0]
        self.socket: socket.socket = _connected(host, connect_seconds)
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                self.socket = tls.wrap_socket(self.socket, server_hostname=host.name)
            self.begin_wait()
        except BaseException:
            self.socket.close()
            raise
        self._events = select.poll()
        self._events.register(self.socket, select.POLLIN)

    def request(
        self, method: str, path: str, fields: Mapping[str, str], body: bytes = b"", deadline: Deadline = NEVER
    ) -> Answer:
        """Send a request, and read the head of its answer; the deadline holds for all of the answer.

        Raises:
            ValueError: a field's value has a line break.
        """
        self._deadline = deadline
        self.begin_wait()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", "Accept-Encoding: identity"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join(lines)
        if not head.count("\r") == head.count("\n") == len(lines) - 1:
            raise ValueError("a field of a request must be one line")
        self._unread = self._buffer[:0]
        self.socket.sendall(f"{head}\r\n\r\n".encode("latin-1") + body)
        while (answer := Answer(self, self._head())).status < 200:
            pass  # an interim answer
        return answer

    def begin_wait(self) -> None:
        """Let the next call on the socket wait no longer than the time-out and the deadline allow.

        Raises:
            TimeoutError: the deadline has passed.
        """
        if self._deadline.is_endless and self._wait_seconds == self.timeout_seconds:
            return  # nearly always
        left = self._deadline.left()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        seconds = max(min(self.timeout_seconds, left), 0.001)
        if seconds == self._wait_seconds:
            return
        self._wait_seconds = seconds
        if self.is_plain:  # let the kernel wait: Python's own time-outs ask it twice
            limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
            self.socket.settimeout(None)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        else:
            self.socket.settimeout(seconds)

    def expired(self) -> TimeoutError:
        """Return the error for a wait that took too long."""
        return TimeoutError(f"nothing arrived for {self._wait_seconds:g} s")

    @property
    def has_unread(self) -> bool:
        """Whether bytes have arrived that were not read."""
        return len(self._unread) > 0

    @property
    def is_silent(self) -> bool:
        """Whether the server has neither closed the connection nor sent bytes that belong to no request."""
        return not self._events.poll(0)

    def receive_into(self, view: memoryview) -> int:
        """Read bytes into a view; return how many, 0 at the end of the connection."""
        if count := min(len(self._unread), len(view)):
            view[:count], self._unread = self._unread[:count], self._unread[count:]
            return count
        return self._receive(view, socket.MSG_WAITALL if self.is_plain else 0)

    def receive(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes as they arrive; none at the end of the connection."""
        if not self._unread:
            self._refill()
        return self.arrived(limit)

    def arrived(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes that are in the buffer already."""
        taken, self._unread = bytes(self._unread[:limit]), self._unread[limit:]
        return taken

    def receive_until(self, end: bytes, limit: int) -> bytes:
        """Return bytes up to and including ``end``; fewer if the connection ends, or ``limit`` is reached."""
        taken = b""
        while len(taken) < limit and (self._unread or self._refill()):
            seen = taken + bytes(self._unread[: limit - len(taken)])
            found = seen.find(end, max(0, len(taken) - len(end) + 1))
            taken += self.arrived((len(seen) if found < 0 else found + len(end)) - len(taken))
            if found >= 0:
                break
        return taken

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def _refill(self) -> int:
        self._unread = self._buffer[: self._receive(self._buffer, 0)]
        return len(self._unread)

    def _receive(self, view: memoryview, flags: int) -> int:
        self.begin_wait()
        try:
            return self.socket.recv_into(view, 0, flags)
        except (BlockingIOError, TimeoutError):
            raise self.expired() from None

    def _head(self) -> bytes:
        head = self.receive_until(b"\r\n\r\n", _MAXIMUM_HEAD_BYTES)
        if not head.endswith(b"\r\n\r\n"):
            raise ConnectionResetError("the server closed the connection before an answer")
        return head


class Answer:
    """An answer whose head has arrived.

    Attributes:
        connection: on which the answer arrives.
        status, reason: from its first line.
        byte_count: length of its body, or None if the head does not tell it.
    """

    def __init__(self, connection: Connection, head: bytes) -> None:
        match = _STATUS_LINE.match(head)
        if match is None:
            raise ConnectionError(f"no answer of HTTP/1.1: {head[:60]!r}")
        self.connection = connection
        self.status: int = int(match[2])
        self.reason: str = (match[3] or b"").decode("latin-1")
        self._head = head
        self._names = head.lower()
        try:
            self.byte_count = None if self.field("transfer-encoding") else decode_length(self.field("content-length"))
        except ValueError:
            self.byte_count = None
        self._left = self.byte_count or 0
        self._stays = (
            match[1] == b"1" and self.byte_count is not None and "close" not in self.field("connection").lower()
        )

    def field(self, name: str) -> str:
        """The value of the first header field of a name, which is given in lower case; empty if there is none."""
        start = self._names.find(f"\r\n{name}:".encode())
        if start < 0:
            return ""
        start += len(name) + 3
        return self._head[start : self._head.index(b"\r\n", start)].decode("latin-1").strip()

    @property
    def leaves_connection(self) -> bool:
        """Whether the answer was read to its end, and its connection may be used again."""
        return self._stays and self._left == 0 and not self.connection.has_unread

    def read_into(self, view: memoryview) -> int:
        """Read bytes into a view; return how many, 0 at the end of the body or of the connection."""
        return self.taken(self.connection.receive_into(view[: self._left])) if self._left else 0

    def read(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes as they arrive; none at the end of the body or of the connection."""
        piece = self.connection.receive(min(limit, self._left)) if self._left else b""
        self.taken(len(piece))
        return piece

    def arrived(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes that arrived with the head."""
        piece = self.connection.arrived(min(limit, self._left))
        self.taken(len(piece))
        return piece

    def read_until(self, end: bytes, limit: int) -> bytes:
        """Return bytes up to and including ``end``; fewer if the answer ends, or ``limit`` is reached."""
        piece = self.connection.receive_until(end, min(limit, self._left))
        self.taken(len(piece))
        return piece

    def taken(self, count: int) -> int:
        """Count bytes of the body that were read from the connection."""
        self._left -= count
        return count


def _connected(host: Host, timeout_seconds: float) -> socket.socket:
    failures: list[OSError] = []
    for family, kind, protocol, _, address in socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM):
        try:
            connection = _unconnected(family, kind, protocol)
            try:
                connection.settimeout(timeout_seconds)
                connection.connect(address)
            except BaseException:
                connection.close()
                raise
        except OSError as error:
            failures.append(error)
        else:
            return connection
    raise failures[-1]  # there is one: getaddrinfo raises if a name has no address


def _unconnected(family: int, kind: int, protocol: int) -> socket.socket:
    connection = socket.socket(family, kind, protocol)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW_BYTES)
    if connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= _WINDOW_BYTES:
        return connection
    connection.close()  # the system allows less: the kernel's own growing buffer is better then
    return socket.socket(family, kind, protocol)
