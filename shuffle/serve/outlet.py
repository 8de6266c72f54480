"""Where the bytes of an answer leave: a socket that is written to directly, or, through TLS, an answer of aiohttp's.

A client that takes nothing for too long is given up here. Nothing here knows what is sent.
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
    """What takes the bytes of an answer in order."""

    sent: int
    """Bytes that were sent so far, heads included."""

    async def write(self, data: bytes) -> None:
        """Send bytes, at once: held back to share a packet with the file behind them (``MSG_MORE``, ``TCP_CORK``), they
        wake their reader up later, and a partition of 64 KiB takes a sixth longer.

        Raises:
            ConnectionError: the client has gone.
            TimeoutError: it takes nothing.
        """
        ...

    def abort(self) -> None:
        """Break the connection off: nobody may take this for an end."""
        ...


class SocketOutlet:
    """A connection without TLS, for as long as it lasts.

    The transport goes on reading from the connection, and closes it. Here is a second descriptor of its socket: event
    loops let nobody watch one that a transport has, and no other connection can have this number while a file is sent.

    Args:
        transport: of the connection.
        idle_seconds: how long a client may take nothing.
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
        """What may be written to without blocking, after the first ``write``.

        Raises:
            ConnectionError: the connection is closing, or lost.
        """
        if self._transport.is_closing():
            raise _reset()
        return self._socket.fileno()

    async def write(self, data: bytes) -> None:
        """See ``Outlet``."""
        while self._transport.get_write_buffer_size():  # of an answer before: nothing may overtake it
            await self.writable()
            await asyncio.sleep(0)  # the transport's turn
        rest = memoryview(data)
        while rest:
            self.descriptor()  # or it is lost
            try:
                count = self._socket.send(rest)
            except BlockingIOError:
                await self.writable()
            else:
                rest = rest[count:]
                self.sent += count

    async def writable(self) -> None:
        """Wait until the socket takes bytes again; raises as ``write`` does.

        It does when a good part of its buffer is free, for which a slow client may need longer than it may take
        nothing: as long as bytes reach the client, it is waited for.
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
            if self._waiting is waiting:  # else the descriptor is closed, and its number may be another's
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
        """The connection is lost: whoever waits for it is told."""
        if self._waiting is not None:
            asyncio.get_running_loop().remove_writer(self._socket.fileno())
            _settle(self._waiting, _reset())
            self._waiting = None
        self._socket.close()


class ResponseOutlet:
    """An answer of aiohttp's: its head goes first, and the transport encrypts it. ``acceptor.py`` gives up clients that
    take nothing of it.

    Args:
        request: what is answered.
        response: status and fields of the answer.
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
        if self._request.transport is not None:  # else the connection is lost already
            self._request.transport.abort()


def unsent_bytes(descriptor: int) -> int:
    """Bytes in a socket's buffer that the other side has not taken."""
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
