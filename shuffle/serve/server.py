"""The server: its socket, TLS, and how it stops.

Its connections are ``connections.py``'s business, what it answers ``application.py``'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import ssl
from collections.abc import Callable
from typing import Any

from shuffle.options import ServeOptions
from shuffle.serve.application import Application
from shuffle.serve.catalog import NO_DESCRIPTORS, Catalog
from shuffle.serve.connections import Connections

_LOGGER = logging.getLogger("shuffle.serve")
_BACKLOG = 1024
_SILENT_SECONDS = 10


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
    loop.set_exception_handler(_Faults())
    application = Application(catalog, options)
    connections = Connections(application, options)
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


class _Faults:
    """Tells of faults in the event loop. asyncio tries to accept a connection as often as its backlog is long, and has
    each failure told: that there are no descriptors left is told now and then.
    """

    def __init__(self) -> None:
        self._silent_until = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in NO_DESCRIPTORS):
            loop.default_exception_handler(context)
        elif loop.time() >= self._silent_until:
            self._silent_until = loop.time() + _SILENT_SECONDS
            _LOGGER.warning("connections have to wait: %s", error)


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
