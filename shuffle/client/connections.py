"""Connections to servers, kept for the next request. Thread-safe; each connection is one thread's at a time."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections import defaultdict
from collections.abc import Mapping

from shuffle.client.place import Host
from shuffle.config import FetchOptions


class Connections:
    """The connections of a client."""

    def __init__(self, options: FetchOptions) -> None:
        self._options = options
        self._idle: dict[Host, list[http.client.HTTPConnection]] = defaultdict(list)
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None

    def request(
        self, host: Host, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a request and read the head of its answer. The connection is to be given back, or closed.

        Raises:
            OSError, http.client.HTTPException: there is no answer.
        """
        if self._options.token is not None:
            headers = {**headers, "Authorization": f"Bearer {self._options.token}"}
        while (idle := self._take(host)) is not None:
            try:
                return idle, _answer(idle, method, path, headers, body)
            except (ConnectionError, http.client.BadStatusLine):
                idle.close()  # the server closed it while nobody was looking: that is no failure
        connection = self._connect(host)
        try:
            return connection, _answer(connection, method, path, headers, body)
        except BaseException:
            connection.close()
            raise

    def give_back(self, host: Host, connection: http.client.HTTPConnection) -> None:
        """Keep a connection whose answer was read to its end."""
        if connection.sock is None:  # the server closes it
            return
        with self._lock:
            self._idle[host].append(connection)

    def close(self) -> None:
        """Close all that are kept."""
        with self._lock:
            kept = [connection for connections in self._idle.values() for connection in connections]
            self._idle.clear()
        for connection in kept:
            connection.close()

    def _take(self, host: Host) -> http.client.HTTPConnection | None:
        with self._lock:
            return self._idle[host].pop() if self._idle[host] else None

    def _connect(self, host: Host) -> http.client.HTTPConnection:
        timeout = self._options.timeout_seconds
        if host.scheme == "http":
            return http.client.HTTPConnection(host.name, host.port, timeout=timeout)
        return http.client.HTTPSConnection(host.name, host.port, timeout=timeout, context=self._tls_context())

    def _tls_context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context(cafile=self._options.authority)
                if self._options.certificate is not None:
                    self._tls.load_cert_chain(self._options.certificate, self._options.key)
            return self._tls


def _answer(
    connection: http.client.HTTPConnection, method: str, path: str, headers: Mapping[str, str], body: bytes | None
) -> http.client.HTTPResponse:
    connection.request(method, path, body, headers)
    return connection.getresponse()
