"""The short way for the request that reducers make by the million: a plain GET of partitions, on a connection without
TLS.

A request is taken here only if it is recognised to its last byte. A connection on which anything else arrives is
aiohttp's from there on, and for good: so that never two parsers decide where one request ends and the next one begins.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import cast

from shuffle.serve.application import Application
from shuffle.serve.outlet import SocketOutlet
from shuffle.serve.resource import NoResourceError, PartitionsResource, parse

_LOGGER = logging.getLogger("shuffle.serve")
_MAXIMUM_BYTES = 4096
_PLAIN_GET = re.compile(
    rb"GET (/[!-~]+) HTTP/1\.1\r\n"
    rb"(?:(?i:Host|User-Agent|Accept|Accept-Encoding):[ -~]*\r\n)*"
    rb"(?:(?i:Authorization): *([!-~][ -~]*)\r\n(?:(?i:Host|User-Agent|Accept|Accept-Encoding):[ -~]*\r\n)*)?\r\n"
)
"""Fields of which none changes what is answered but who asks, which is said once."""


class Lane(asyncio.Protocol):
    """A connection, until something else than plain GETs of partitions arrives on it.

    Args:
        application: answers.
        http: makes what handles any connection.
        lanes: all that there are, kept by themselves.
        header_seconds: how long a connection may stay without a request.
    """

    def __init__(
        self,
        application: Application,
        http: Callable[[], asyncio.Protocol],
        lanes: set[Lane],
        header_seconds: float,
    ) -> None:
        self._answering: asyncio.Task[None] | None = None
        self._application = application
        self._http = http
        self._lanes = lanes
        self._header_seconds = header_seconds
        self._next_bytes = b""
        self._stopping = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._loop = asyncio.get_running_loop()
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._outlet = cast(SocketOutlet, self._application.connected(self, self._transport))
        self._active_at = self._loop.time()
        self._timer = self._loop.call_later(self._header_seconds, self._expire)
        self._lanes.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """See ``asyncio.Protocol``."""
        self._end()

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self._answering is not None:  # a client may send its next request before it has the answer to this one
            self._next_bytes += data
            self._transport.pause_reading()
            return
        match = _PLAIN_GET.fullmatch(data) if len(data) <= _MAXIMUM_BYTES else None
        resource = match and _partitions_named(match[1])
        if match and resource:
            self._answering = self._loop.create_task(self._answer(resource, (match[2] or b"").decode("ascii")))
        else:
            self._hand_over(data)

    def stop(self) -> asyncio.Task[None] | None:
        """Close the connection, when what is being answered is finished: the task that does that, if any."""
        self._stopping = True
        if self._answering is None:
            self._transport.close()
        return self._answering

    async def _answer(self, resource: PartitionsResource, authorization: str) -> None:
        try:
            await self._application.answer_plain_get(resource, authorization, self._outlet)
        except Exception:
            _LOGGER.exception("not answered: %s", resource)
            self._outlet.abort()
        self._answering = None
        self._active_at = self._loop.time()
        if self._stopping:
            self._transport.close()
        elif self._next_bytes and not self._transport.is_closing():
            data, self._next_bytes = self._next_bytes, b""
            self._transport.resume_reading()
            self.data_received(data)

    def _end(self) -> None:
        self._timer.cancel()
        self._lanes.discard(self)
        self._application.disconnected(self)

    def _hand_over(self, data: bytes) -> None:
        self._end()
        handler = self._http()
        self._transport.set_protocol(handler)
        handler.connection_made(self._transport)
        handler.data_received(data)

    def _expire(self) -> None:
        left = self._active_at + self._header_seconds - self._loop.time()
        if self._answering is not None:
            left = self._header_seconds
        if left > 0:
            self._timer = self._loop.call_later(left, self._expire)
        else:
            self._transport.close()


def _partitions_named(target: bytes) -> PartitionsResource | None:
    try:
        resource = parse(target.decode("ascii"))
    except NoResourceError:
        return None
    return resource if isinstance(resource, PartitionsResource) else None
