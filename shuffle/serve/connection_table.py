"""A server's connections: how many there are, from which addresses, and where their answers leave."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from shuffle.http_options import ServeOptions
from shuffle.serve.outlet import SocketOutlet
from spill_format.errors import in_words

_LOGGER = logging.getLogger("shuffle.serve")


class ConnectionTable:
    """Counts connections, and keeps the outlets of those that TLS does not encrypt.

    Args:
        options: with the limits.
    """

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._outlets: dict[asyncio.BaseProtocol, SocketOutlet | None] = {}
        self._expected: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}
        self._addresses: dict[asyncio.BaseProtocol, str] = {}
        self._by_address: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """The number of open connections; a connection counts from before its TLS handshake."""
        return len(self._outlets) + len(self._expected)

    @property
    def is_full(self) -> bool:
        """Whether there are as many connections as allowed."""
        return self.count >= self._options.connections

    def expect(self, protocol: asyncio.BaseProtocol, seconds: float) -> None:
        """Count an accepted connection until it is made; a TLS handshake that fails is not reported."""
        loop = asyncio.get_running_loop()
        self._expected[protocol] = loop.call_later(seconds, self._expected.pop, protocol, None)

    def limit_beyond(self, protocol: asyncio.BaseProtocol, transport: asyncio.Transport) -> str | None:
        """Return the limit that a new connection exceeds: ``"all"``, ``"address"`` or None."""
        if (timer := self._expected.pop(protocol, None)) is not None:
            timer.cancel()
        elif self.is_full:  # it took longer than it was expected to
            return "all"
        address = address_of(transport)
        return "address" if address and self._by_address[address] >= self._options.address_connections else None

    def add(self, protocol: asyncio.BaseProtocol, transport: asyncio.Transport) -> SocketOutlet | None:
        """Register a connection; return its outlet, or None with TLS.

        The connection is reset if there is no descriptor left for it.
        """
        self._outlets[protocol] = None
        if protocol not in self._addresses:
            self._addresses[protocol] = address_of(transport)
            self._by_address[self._addresses[protocol]] += 1
        if transport.get_extra_info("sslcontext") is None:
            try:
                self._outlets[protocol] = SocketOutlet(transport, self._options.idle_seconds)
            except OSError as error:
                _LOGGER.warning("broken off: %s", in_words(error))
                transport.abort()
        return self._outlets[protocol]

    def discard(self, protocol: asyncio.BaseProtocol) -> None:
        """Forget a connection that is lost, or that another protocol has now."""
        if (outlet := self._outlets.pop(protocol, None)) is not None:
            outlet.close()
        address = self._addresses.pop(protocol, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def outlet_of(self, protocol: asyncio.BaseProtocol | None) -> SocketOutlet | None:
        """Return a connection's outlet; None with TLS, or if the connection is lost."""
        return self._outlets.get(protocol) if protocol is not None else None


def address_of(transport: asyncio.BaseTransport) -> str:
    """Return a client's address; empty for a unix socket."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
