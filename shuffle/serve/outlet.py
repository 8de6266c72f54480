"""Where the bytes of an answer leave: a socket that is written to directly or, with TLS, a response of aiohttp's.

A client that takes nothing for too long is given up here. This module does not know what the bytes mean.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import sys
import termios
from typing import Protocol, cast

from aiohttp import web


class Outlet(Protocol):
    """Takes the bytes of an answer in order."""

    sent: int
    """Bytes sent so far, including heads of answers."""

    async def write(self, data: bytes) -> None:
        """Send bytes immediately. If they are held back to share a packet with the file after them (``MSG_MORE``,
        ``TCP_CORK``), they wake the client up later, and a partition of 64 KiB takes a sixth longer.

        Raises:
            ConnectionError: the connection is lost.
            TimeoutError: the client takes nothing.
        """
        ...

    def abort(self) -> None:
        """Reset the connection, so that the client cannot mistake this for the end of the answer."""
        ...


class SocketOutlet:
    """Writes to a connection without TLS.

    The transport reads from the connection, and closes it. The outlet has a second descriptor of the socket: an event
    loop lets nobody watch a transport's, and no other connection can get its number while a file is sent.

    Args:
        transport: the connection's transport.
        idle_seconds: seconds for which a client may take nothing.
    """

    def __init__(self, transport: asyncio.Transport, idle_seconds: float) -> None:
        self._transport = transport
        self._idle_seconds = idle_seconds
        original = cast(socket.socket, transport.get_extra_info("socket"))
        self._socket = socket.socket(original.family, original.type, original.proto, os.dup(original.fileno()))
        self._socket.setblocking(False)
        self._waiting: asyncio.Future[None] | None = None
        self.sent: int = 0

    def descriptor(self) -> int:
        """Return the descriptor, to be written to without blocking after the first ``write``.

        Raises:
            ConnectionError: the connection is closing or lost.
        """
        if self._transport.is_closing():
            raise _reset()
        return self._socket.fileno()

    async def write(self, data: bytes) -> None:
        """See ``Outlet``."""
        while self._transport.get_write_buffer_size():  # bytes of an earlier answer go first
            await self.writable()
            await asyncio.sleep(0)  # the transport's turn
        rest = memoryview(data)
        while rest:
            self.descriptor()  # raises if the connection is lost
            try:
                count = self._socket.send(rest)
            except BlockingIOError:
                await self.writable()
            else:
                rest = rest[count:]
                self.sent += count

    async def writable(self) -> None:
        """Wait until the socket takes bytes again; raises as ``write`` does.

        The kernel reports that once much of the buffer is free, for which a slow client may need more than
        ``idle_seconds``: the wait goes on as long as some bytes reach the client.
        """
        descriptor = self.descriptor()
        loop = asyncio.get_running_loop()
        self._waiting = waiting = loop.create_future()
        loop.add_writer(descriptor, _settle, waiting)
        self._watch(waiting, unsent_bytes(descriptor))
        try:
            await waiting
        finally:
            self._timer.cancel()
            if self._waiting is waiting:  # else it is closed, and another file may have its number
                self._waiting = None
                loop.remove_writer(descriptor)

    def abort(self) -> None:
        """See ``Outlet``."""
        self._transport.abort()

    def _watch(self, waiting: asyncio.Future[None], unsent: int) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._expire, waiting, unsent)

    def _expire(self, waiting: asyncio.Future[None], unsent_before: int) -> None:
        if waiting.done() or self._socket.fileno() < 0:
            return
        unsent = unsent_bytes(self._socket.fileno())
        if unsent < unsent_before:
            self._watch(waiting, unsent)
        else:
            _settle(waiting, TimeoutError())

    def close(self) -> None:
        """Close the descriptor; a pending ``write`` fails, because the connection is lost."""
        if self._waiting is not None:
            asyncio.get_running_loop().remove_writer(self._socket.fileno())
            _settle(self._waiting, _reset())
            self._waiting = None
        self._socket.close()


class ResponseOutlet:
    """Writes to a response of aiohttp's, which encrypts. ``acceptor.py`` gives up a client that takes nothing.

    Args:
        request: the request that is answered.
        response: has the status and the fields of the answer.
    """

    def __init__(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        self._request = request
        self._response = response
        self.sent: int = 0

    async def write(self, data: bytes) -> None:
        """See ``Outlet``."""
        await self._response.prepare(self._request)  # once
        await self._response.write(data)
        self.sent += len(data)

    def abort(self) -> None:
        """See ``Outlet``."""
        if self._request.transport is not None:  # None if the connection is lost already
            self._request.transport.abort()


def unsent_bytes(descriptor: int) -> int:
    """Return the bytes in a socket's send buffer that the client has not received."""
    answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def _settle(waiting: asyncio.Future[None], error: Exception | None = None) -> None:
    if not waiting.done():
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)


def _reset() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
