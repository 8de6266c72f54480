"""A server's connections: counted, limited, and given up where a client takes nothing of what aiohttp writes to it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import cast

from aiohttp import web
from aiohttp.http import HttpProcessingError

from shuffle.options import ServeOptions
from shuffle.serve.application import Application
from shuffle.serve.lane import Lane

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Acceptor(web.Server):
    """All connections: counted, and no more than the limit."""

    def __init__(self, application: Application, options: ServeOptions) -> None:
        super().__init__(application.handle)
        self._application = application
        self._options = options
        self._lanes: set[Lane] = set()
        self._logger = _logger()

    def __call__(self) -> web.RequestHandler:
        """What handles any connection."""
        return _Handler(self, self._options, self._logger)

    def accept(self) -> asyncio.Protocol:
        """What handles a new connection."""
        if self._application.connection_count >= self._options.connections:
            self._application.metrics.refused.inc()
            return _Busy()
        header_seconds = self._options.header_seconds
        protocol: asyncio.Protocol
        if self._options.certificate is not None:
            protocol = self()
        else:
            protocol = Lane(self._application, self, self._lanes, header_seconds)
        self._application.expect(protocol, header_seconds)
        return protocol

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take note of it, and let bytes that a client does not take pile up in the kernel, not here."""
        self._application.connected(handler, transport)
        transport.set_write_buffer_limits(high=1)  # with 0, asyncio's TLS pauses for ever when nothing is queued
        super().connection_made(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget it."""
        self._application.disconnected(handler)
        super().connection_lost(handler, exc)

    async def stop(self, grace_seconds: float) -> None:
        """Finish what is being answered, and close all connections."""
        self.pre_shutdown()
        answering = [task for lane in list(self._lanes) if (task := lane.stop()) is not None]
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):  # aiohttp's own waits twice as long
                await asyncio.gather(self.shutdown(grace_seconds), *([asyncio.wait(answering)] if answering else []))


class _Handler(web.RequestHandler):
    """aiohttp's, for one connection."""

    def __init__(self, connections: Acceptor, options: ServeOptions, logger: logging.Logger) -> None:
        super().__init__(
            connections,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=options.header_seconds,
            lingering_time=options.header_seconds,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's way to have none
            logger=logger,
        )
        self._idle_seconds = options.idle_seconds
        self._connection: asyncio.Transport | None = None  # aiohttp forgets its own where that is still to be flushed
        self._waiting_bytes = 0
        self._idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._connection = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        super().connection_made(transport)

    def pause_writing(self) -> None:
        """The client does not take what there is: not for too long."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """It took all."""
        self._unwatch()
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See ``asyncio.Protocol``."""
        self._unwatch()
        self._connection = None
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self._connection is not None:
            self._waiting_bytes = self._connection.get_write_buffer_size()
            self._idle_timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._expire)

    def _unwatch(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _expire(self) -> None:
        if self._connection is None:
            return
        if self._connection.get_write_buffer_size() < self._waiting_bytes:
            self._watch()
        else:
            self._connection.abort()


def _logger() -> logging.Logger:
    """For faults of ours. What clients send is no news, and must not fill a disk: they are told themselves."""
    logger = logging.getLogger("shuffle.serve.http")
    of_clients = (HttpProcessingError, web.RequestPayloadError)
    logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], of_clients)))
    return logger


class _Busy(asyncio.Protocol):
    """Tells a connection beyond the limit to come back later."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        connection.write(_BUSY)
        connection.close()
