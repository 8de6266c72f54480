"""The server: its socket, its connections and their limits, TLS, and how it stops.

What it answers is ``application.py``'s business.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import ssl
from collections.abc import Callable
from typing import cast

from aiohttp import web
from aiohttp.http import HttpProcessingError

from shuffle.config import ServeOptions
from shuffle.serve.application import Application
from shuffle.serve.catalog import Catalog
from shuffle.serve.lane import Lane

_BACKLOG = 1024
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def serve(
    root: str | os.PathLike[str],
    host: str,
    port: int,
    options: ServeOptions,
    announce: Callable[[str], None],
) -> int:
    """Serve the partitioned files below a directory until SIGINT or SIGTERM.

    The first signal stops it gracefully: what is being sent is finished, within ``options.grace_seconds``, and nothing
    new is taken. The second one stops it at once. To be called from the main thread.

    Args:
        root: the directory.
        host, port: where to listen; port 0 is any free one.
        options: limits, secrets, and how files are sent.
        announce: is given the URL as soon as requests are answered.

    Returns:
        The number of the signal.

    Raises:
        OSError: the root is no directory, or the address cannot be had.
        ValueError: the certificate or its key cannot be used.
    """
    catalog = Catalog(root, options.open_files)
    tls = _tls_context(options)
    _allow_descriptors(options)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(catalog, host, port, options, tls, announce))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes event loops of uvloop's, which take less time for a request; None where it is not installed."""
    try:
        import uvloop
    except ImportError:  # there is none for every system and every Python
        return None
    return uvloop.new_event_loop


async def _serve(
    catalog: Catalog,
    host: str,
    port: int,
    options: ServeOptions,
    tls: ssl.SSLContext | None,
    announce: Callable[[str], None],
) -> int:
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signals.put_nowait, int(number))
    application = Application(catalog, options)
    connections = _Connections(application, options)
    listening = await loop.create_server(
        connections.accept,
        host,
        port,
        ssl=tls,
        backlog=_BACKLOG,
        ssl_handshake_timeout=options.header_seconds if tls else None,
    )
    try:
        announce(_url(listening.sockets[0].getsockname(), secure=tls is not None))
        stopped_by = await signals.get()
    finally:
        listening.close()  # new connections are refused from here on
    stopping = asyncio.create_task(connections.stop(options.grace_seconds))
    second = asyncio.create_task(signals.get())
    await asyncio.wait({stopping, second}, return_when=asyncio.FIRST_COMPLETED)
    for task in (stopping, second):
        task.cancel()
    catalog.close()
    return stopped_by


class _Connections(web.Server):
    """All connections: counted, and no more than the limit."""

    def __init__(self, application: Application, options: ServeOptions) -> None:
        super().__init__(
            application.handle,
            keepalive_timeout=options.header_seconds,
            lingering_time=options.header_seconds,
            access_log=None,
            logger=_logger(),
        )
        self._application = application
        self._options = options
        self._lanes: set[Lane] = set()

    def accept(self) -> asyncio.Protocol:
        """What handles a new connection."""
        if self._application.connection_count >= self._options.connections:
            self._application.metrics.refused.inc()
            return _Busy()
        if self._options.certificate is not None:
            return self()
        return Lane(self._application, self, self._lanes, self._options.header_seconds)

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
        if answering:
            await asyncio.gather(self.shutdown(grace_seconds), asyncio.wait(answering, timeout=grace_seconds))
        else:
            await self.shutdown(grace_seconds)


def _logger() -> logging.Logger:
    """For faults of ours. What clients send is no news, and must not fill a disk: they are told themselves."""
    logger = logging.getLogger("shuffle.serve.http")
    logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))
    return logger


class _Busy(asyncio.Protocol):
    """Tells a connection beyond the limit to come back later."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        connection.write(_BUSY)
        connection.close()


def _tls_context(options: ServeOptions) -> ssl.SSLContext | None:
    if options.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.certificate, options.key)
        if options.client_authority is not None:
            context.load_verify_locations(options.client_authority)
            context.verify_mode = ssl.CERT_REQUIRED
    except ssl.SSLError as error:
        files = ", ".join(str(file) for file in (options.certificate, options.key, options.client_authority) if file)
        raise ValueError(f"{files}: no certificate, key or authority that can be used: {error}") from error
    return context


def _allow_descriptors(options: ServeOptions) -> None:
    """As many descriptors as the limits need, if this process may have them: two a connection, one an open file."""
    wanted = 2 * options.connections + options.open_files + options.sends + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _url(address: tuple[str, int], *, secure: bool) -> str:
    host, port = address[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{shown}:{port}/"
