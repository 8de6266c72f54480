"""One server inside an event loop: it listens, answers, and stops.

Its connections are ``acceptor.py``'s business, what it answers ``application.py``'s. Signals, threads and processes are
``server.py``'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from shuffle.http_options import ServeOptions, certificates_in_use
from shuffle.serve.acceptor import Acceptor
from shuffle.serve.application import Application
from shuffle.serve.catalog import NO_DESCRIPTORS, Catalog
from shuffle.serve.listening import BACKLOG
from shuffle.serve.metrics import SHARED_DIRECTORY_VARIABLE
from shuffle.serve.tokens import Tokens
from spill_format.errors import in_words

_LOGGER = logging.getLogger("shuffle.serve")
_SILENT_SECONDS = 10
_SHARING_SECONDS = 1  # the figures of other workers may be this old


class Service:
    """Serves the files below a directory on sockets that are already bound.

    Args:
        root: directory whose files are served.
        options: limits, secrets, and how files are sent.
        incarnation: identity of this run of the server.

    Raises:
        OSError: the root is not a directory.
        ValueError: the certificate or its key cannot be used.
    """

    def __init__(self, root: str | os.PathLike[str], options: ServeOptions, incarnation: str) -> None:
        self._catalog = Catalog(root, options.open_files, options.layout_bytes)
        self._tls = _tls_context(options)
        self._options = options
        self._sockets: Sequence[socket.socket] = ()
        self._application = Application(self._catalog, options, incarnation)
        self._servers: list[asyncio.Server] = []
        self._acceptor: Acceptor | None = None
        _allow_descriptors(options)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Begin to answer requests on bound sockets, which ``refuse`` closes."""
        asyncio.get_running_loop().set_exception_handler(_Faults())
        self._acceptor = Acceptor(self._application, self._application.connections, self._options)
        self._sockets = sockets
        await self._listen()
        if SHARED_DIRECTORY_VARIABLE in os.environ:
            self._share_figures()

    async def reload(self) -> None:
        """Read the files of tokens and certificates again, and open the access log by its name again.

        Raises:
            OSError, ValueError: a file cannot be read or used; the tokens and certificates before stay in use.
        """
        tokens, tls = Tokens(self._options), _tls_context(self._options)
        self._application.tokens = tokens
        if self._application.access_log is not None:
            self._application.access_log.reopen()
        if tls is not None:
            self._tls = tls
            before, self._servers = self._servers, []
            await self._listen()
            for server in before:
                server.close()

    def refuse(self) -> None:
        """Close the listening sockets, so that new connections are refused."""
        for server in self._servers:
            server.close()
        for bound in self._sockets:
            bound.close()

    async def stop(self) -> None:
        """Finish running answers within ``grace_seconds``, and close all connections."""
        self.refuse()
        if self._acceptor is not None:
            await self._acceptor.stop(self._options.grace_seconds)

    def close(self) -> None:
        """Close all files, and the access log."""
        self._catalog.close()
        self._application.close()

    async def _listen(self) -> None:
        assert self._acceptor is not None  # by start
        for bound in self._sockets:
            server = await asyncio.get_running_loop().create_server(
                self._acceptor.accept,
                sock=bound.dup(),  # the original stays open while certificates change
                ssl=self._tls,
                backlog=BACKLOG,
                ssl_handshake_timeout=self._options.header_seconds if self._tls else None,
            )
            self._servers.append(server)

    def _share_figures(self) -> None:
        self._application.update_metrics()
        asyncio.get_running_loop().call_later(_SHARING_SECONDS, self._share_figures)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the maker of uvloop's event loops, which take less time for a request; None without uvloop."""
    try:
        import uvloop
    except ImportError:  # not every system and Python version has it
        return None
    return uvloop.new_event_loop


class _Faults:
    """Logs faults of the event loop. Without free descriptors, asyncio reports one failure for each connection of its
    backlog: such failures are logged once in 10 seconds.
    """

    def __init__(self) -> None:
        self._silent_until = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in NO_DESCRIPTORS):
            loop.default_exception_handler(context)
        elif loop.time() >= self._silent_until:
            self._silent_until = loop.time() + _SILENT_SECONDS
            _LOGGER.warning("connections have to wait: %s", in_words(error))


def _tls_context(options: ServeOptions) -> ssl.SSLContext | None:
    if options.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with certificates_in_use(options.certificate, options.key, options.client_authority):
        context.load_cert_chain(options.certificate, options.key)
        if options.client_authority is not None:
            context.load_verify_locations(options.client_authority)
            context.verify_mode = ssl.CERT_REQUIRED
    return context


def _allow_descriptors(options: ServeOptions) -> None:
    """Raise the limit of descriptors to what the options need: two a connection, one an open file."""
    wanted = 2 * options.connections + options.open_files + options.sends + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
