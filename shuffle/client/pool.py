"""Connections to servers, kept for the next request. Thread-safe; a connection is used by one thread at a time."""

from __future__ import annotations

import ssl
import threading
from collections import defaultdict
from collections.abc import Mapping

from shuffle.client.deadline import NEVER, Deadline
from shuffle.client.exchange import Answer, Connection
from shuffle.client.place import Host
from shuffle.http_options import FetchOptions, certificates_in_use


class ConnectionPool:
    """The connections of a client, each for one method: plain GETs are answered the short way only among themselves."""

    def __init__(self, options: FetchOptions) -> None:
        self._options = options
        self._idle: dict[tuple[Host, str], list[Connection]] = defaultdict(list)
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None

    def request(
        self,
        host: Host,
        method: str,
        path: str,
        fields: Mapping[str, str],
        body: bytes = b"",
        deadline: Deadline = NEVER,
    ) -> Answer:
        """Send a request and read the head of its answer, which must be given back.

        Raises:
            OSError: there is no answer, or the token's file cannot be read.
            ValueError: the token is not valid.
        """
        if (token := self._options.current_token()) is not None:
            fields = {**fields, "Authorization": f"Bearer {token.decode('latin-1')}"}
        while (idle := self._take(host, method)) is not None:
            try:
                return idle.request(method, path, fields, body, deadline)
            except ConnectionError:
                idle.close()  # the server closed the idle connection: that is no failure
            except BaseException:
                idle.close()
                raise
        tls = self._tls_context() if host.scheme == "https" else None
        connect_seconds = max(min(self._options.connect_seconds, deadline.left()), 0.001)
        connection = Connection(host, connect_seconds, self._options.timeout_seconds, tls)
        try:
            return connection.request(method, path, fields, body, deadline)
        except BaseException:
            connection.close()
            raise

    def give_back(self, host: Host, method: str, answer: Answer) -> None:
        """Keep the connection of an answer for another request, if the answer was read to its end; else close it."""
        if not answer.leaves_connection:
            answer.connection.close()
            return
        with self._lock:
            self._idle[host, method].append(answer.connection)

    def close(self) -> None:
        """Close all connections that are kept."""
        with self._lock:
            kept = [connection for connections in self._idle.values() for connection in connections]
            self._idle.clear()
        for connection in kept:
            connection.close()

    def _take(self, host: Host, method: str) -> Connection | None:
        while True:
            with self._lock:
                idle = self._idle[host, method]
                connection = idle.pop() if idle else None
            if connection is None or connection.is_silent:
                return connection
            connection.close()

    def _tls_context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                options = self._options
                with certificates_in_use(options.authority, options.certificate, options.key):
                    context = ssl.create_default_context(cafile=options.authority)
                    if options.certificate is not None:
                        context.load_cert_chain(options.certificate, options.key)
                self._tls = context
            return self._tls
