"""Accepts connections within limits, gives each its protocol, and gives up clients that take nothing from aiohttp."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress
from typing import cast

from aiohttp import web
from aiohttp.http import HttpProcessingError

from shuffle.http_options import ServeOptions
from shuffle.serve.application import Application
from shuffle.serve.connection_table import ConnectionTable
from shuffle.serve.lane import Lane
from shuffle.serve.outlet import unsent_bytes
from shuffle.serve.resource import Health, Readiness

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_SPARE_CONNECTIONS = 64
"""Connections beyond the limits that are open at a time: each gets one answer, and is closed."""
_SPARE_SECONDS = 2
_PROBE = re.compile(rb"(?:GET|HEAD) (/healthz|/readyz) HTTP/1\.[01]\r\n")


class Acceptor(web.Server):
    """Counts connections, and refuses those beyond the limits.

    Args:
        application: answers requests.
        table: the connections.
        options: have the limits.
    """

    def __init__(self, application: Application, table: ConnectionTable, options: ServeOptions) -> None:
        super().__init__(self._handle)
        self._application = application
        self._table = table
        self._options = options
        self._lanes: set[Lane] = set()
        self._spare: set[Spare] = set()
        self._logger = _logger()

    def __call__(self) -> _Handler:
        """Return a protocol that handles any request, by aiohttp."""
        return _Handler(self, self._options, self._logger)

    def accept(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        if self._table.is_full:
            return self._beyond("all")
        header_seconds = self._options.header_seconds
        protocol: asyncio.Protocol
        if self._options.certificate is not None:
            protocol = self()
        else:
            protocol = Lane(self._application, self, self._lanes, header_seconds)
        self._table.expect(protocol, header_seconds)
        return protocol

    def admit(self, protocol: asyncio.Protocol, transport: asyncio.Transport) -> bool:
        """Return whether a new connection is within the limits; if not, another protocol has it."""
        limit = self._table.limit_beyond(protocol, transport)
        if limit is None:
            return True
        spare = self._beyond(limit)
        transport.set_protocol(spare)
        spare.connection_made(transport)
        return False

    def hand_over(self, transport: asyncio.Transport, data: bytes, *, is_half_closed: bool) -> None:
        """See ``lane.Others``."""
        handler = self()
        transport.set_protocol(handler)
        handler.take_over(transport)
        handler.data_received(data)
        if is_half_closed and not handler.eof_received():
            transport.close()

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Register the connection. Bytes that its client does not take stay in the kernel, not in this process."""
        self._table.add(handler, transport)
        transport.set_write_buffer_limits(high=1)  # with 0, asyncio's TLS pauses for ever when nothing is queued
        super().connection_made(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget the connection."""
        self._table.discard(handler)
        super().connection_lost(handler, exc)

    async def stop(self, grace_seconds: float) -> None:
        """Finish the current answers, and close all connections."""
        self.pre_shutdown()
        for spare in list(self._spare):
            spare.end()
        answering = [task for lane in list(self._lanes) if (task := lane.stop()) is not None]
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):  # aiohttp's own waits twice as long
                await asyncio.gather(self.shutdown(grace_seconds), *([asyncio.wait(answering)] if answering else []))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        handler = cast(_Handler, request.protocol)
        try:
            response = await self._application.handle(request)
        finally:
            handler.answered_count += 1
        if handler.has_no_further_request:
            response.force_close()
        return response

    def _beyond(self, limit: str) -> Spare:
        self._application.metrics.refused(limit)
        return Spare(self._application, self._spare)


class Spare(asyncio.Protocol):
    """A connection beyond the limits: it gets the server's health if it asks for it, and 503 otherwise.

    Args:
        application: knows the server's health.
        spares: the set of all such connections; each adds and removes itself.
    """

    def __init__(self, application: Application, spares: set[Spare]) -> None:
        self._application = application
        self._spares = spares
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._timer = asyncio.get_running_loop().call_later(_SPARE_SECONDS, self.end)
        if len(self._spares) >= _SPARE_CONNECTIONS:
            self.end()
        self._spares.add(self)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        match = _PROBE.match(data)
        if match is None:
            self.end()
        elif self._answering is None:
            self._answering = asyncio.get_running_loop().create_task(self._answer(match[1].decode()))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """See ``asyncio.Protocol``."""
        self._timer.cancel()
        self._spares.discard(self)

    def end(self) -> None:
        """Tell the client to come back later."""
        self._transport.write(_BUSY)
        self._transport.close()

    async def _answer(self, path: str) -> None:
        status, text = await self._application.state_of(Health() if path == "/healthz" else Readiness())
        phrase = "OK" if status == 200 else "Service Unavailable"
        body = f"{text}\n".encode()
        head = f"HTTP/1.1 {status} {phrase}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self._transport.write(head.encode() + body)
        self._transport.close()


class _Handler(web.RequestHandler):
    """aiohttp's protocol of one connection."""

    def __init__(self, acceptor: Acceptor, options: ServeOptions, logger: logging.Logger) -> None:
        super().__init__(
            acceptor,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=options.header_seconds,
            lingering_time=options.header_seconds,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's way to have none
            logger=logger,
        )
        self.answered_count = 0
        self._acceptor = acceptor
        self._idle_seconds = options.idle_seconds
        self._connection: asyncio.Transport | None = None  # aiohttp forgets its own where that is still to be flushed
        self._unsent = 0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._is_half_closed = False

    @property
    def has_no_further_request(self) -> bool:
        """Whether the client sends no more, and has all its answers."""
        return self._is_half_closed and self.answered_count >= self._request_count

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._connection = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        if self._acceptor.admit(self, self._connection):
            super().connection_made(transport)

    def take_over(self, transport: asyncio.Transport) -> None:
        """Go on with a connection that was admitted before."""
        self._connection = transport
        super().connection_made(transport)

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp's is never true, though asyncio asks
        """See ``asyncio.Protocol``: a client that sends no more still wants its answers, unless a body is cut.

        TLS has no half of an end.
        """
        self._is_half_closed = True
        is_plain = self._connection is not None and self._connection.get_extra_info("sslcontext") is None
        bodies = [body for _, body in self._messages]
        if self._current_request is not None:
            bodies.append(self._current_request.content)
        return is_plain and self.answered_count < self._request_count and all(body.is_eof() for body in bodies)

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``: the client takes nothing, which it may not do for too long."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``: the client took everything."""
        self._unwatch()
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See ``asyncio.Protocol``."""
        self._unwatch()
        self._connection = None
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self._connection is not None:
            self._unsent = _unsent(self._connection)
            self._idle_timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._expire)

    def _unwatch(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _expire(self) -> None:
        if self._connection is None:
            return
        if _unsent(self._connection) < self._unsent:
            self._watch()
        else:
            self._connection.abort()


def _unsent(transport: asyncio.Transport) -> int:
    """Return the bytes that a client has not taken, in this process and in the kernel."""
    connection = transport.get_extra_info("socket")
    in_kernel = unsent_bytes(connection.fileno()) if connection is not None and connection.fileno() >= 0 else 0
    return transport.get_write_buffer_size() + in_kernel


def _logger() -> logging.Logger:
    """Return a logger for the server's own faults. What clients send must not fill a disk."""
    logger = logging.getLogger("shuffle.serve.http")
    of_clients = (HttpProcessingError, web.RequestPayloadError)
    logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], of_clients)))
    return logger
