"""The short way for the request that reducers make by the million: a plain GET of partitions, on a connection without
TLS.

A request is taken here only if it is recognised to its last byte. A connection on which anything else arrives is
aiohttp's from there on, and for good: so that never two parsers decide where one request ends and the next one begins.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, cast

from shuffle.serve.application import Application
from shuffle.serve.connection_table import address_of
from shuffle.serve.outlet import SocketOutlet
from shuffle.serve.plain_get import PlainGet, recognised

_LOGGER = logging.getLogger("shuffle.serve")


class Others(Protocol):
    """The part of the acceptor that a lane knows."""

    def hand_over(self, transport: asyncio.Transport, data: bytes, *, is_half_closed: bool) -> None:
        """Let aiohttp handle a connection, beginning with ``data``."""
        ...

    def admit(self, protocol: asyncio.Protocol, transport: asyncio.Transport) -> bool:
        """Return whether a connection is within the limits; if not, another protocol has it."""
        ...


class Lane(asyncio.Protocol):
    """Handles a connection until anything but a plain GET of partitions arrives on it.

    Args:
        application: answers requests.
        others: admits a connection, and takes it over.
        lanes: the set of all lanes; each adds and removes itself.
        header_seconds: seconds that a connection may stay without a request.
    """

    def __init__(self, application: Application, others: Others, lanes: set[Lane], header_seconds: float) -> None:
        self._answering: asyncio.Task[None] | None = None
        self._application = application
        self._others = others
        self._lanes = lanes
        self._header_seconds = header_seconds
        self._next_bytes = b""
        self._stopping = False
        self._is_half_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._loop = asyncio.get_running_loop()
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        if not self._others.admit(self, self._transport):
            return
        self._client = address_of(transport)
        self._outlet = cast(SocketOutlet, self._application.connections.add(self, self._transport))
        self._active_at = self._loop.time()
        self._timer = self._loop.call_later(self._header_seconds, self._expire)
        self._lanes.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """See ``asyncio.Protocol``."""
        self._end()

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self._answering is not None:  # the next request, before this one is answered
            self._next_bytes += data
            self._transport.pause_reading()
            return
        if (request := recognised(data)) is not None:
            self._answering = self._loop.create_task(self._answer(request))
        else:
            self._hand_over(data)

    def eof_received(self) -> bool:
        """See ``asyncio.Protocol``: a client that sends no more still gets its answers."""
        self._is_half_closed = True
        return self._answering is not None

    def stop(self) -> asyncio.Task[None] | None:
        """Close the connection after the current answer; return the task of that answer, if there is one."""
        self._stopping = True
        if self._answering is None:
            self._transport.close()
        return self._answering

    async def _answer(self, request: PlainGet) -> None:
        stays = False
        try:
            stays = await self._application.answer_plain_get(request, self._client, self._outlet)
        except Exception:
            _LOGGER.exception("not answered: %s", request.resource)
            self._outlet.abort()
        self._answering = None
        self._active_at = self._loop.time()
        if self._stopping or not stays or (self._is_half_closed and not self._next_bytes):
            self._transport.close()
        elif self._next_bytes and not self._transport.is_closing():
            data, self._next_bytes = self._next_bytes, b""
            self._transport.resume_reading()
            self.data_received(data)

    def _end(self) -> None:
        self._timer.cancel()
        self._lanes.discard(self)
        self._application.connections.discard(self)

    def _hand_over(self, data: bytes) -> None:
        self._end()
        self._others.hand_over(self._transport, data, is_half_closed=self._is_half_closed)

    def _expire(self) -> None:
        left = self._active_at + self._header_seconds - self._loop.time()
        if self._answering is not None:
            left = self._header_seconds
        if left > 0:
            self._timer = self._loop.call_later(left, self._expire)
        else:
            self._transport.close()
