"""Connections that are kept: each is given back, or closed."""

from __future__ import annotations

import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shuffle.client.place import Host
from shuffle.client.pool import ConnectionPool
from shuffle.http_options import FetchOptions
from tests.helpers.servers import BOUND_SECONDS

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "fields", "error"),
    [(b"", {}, TimeoutError), (EMPTY[:20], {}, TimeoutError), (b"", {"X": "two\nlines"}, ValueError)],
)
def test_a_kept_connection_on_which_a_request_fails_is_closed(
    said: bytes, fields: dict[str, str], error: type[Exception]
) -> None:
    connections = ConnectionPool(FetchOptions(timeout_seconds=0.2))
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as executor:
        host = Host("http", "127.0.0.1", listening.getsockname()[1])

        def answer_once() -> bool:
            """Answer, say no more than a part of the next answer, and see whether the connection is closed."""
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(BOUND_SECONDS)
                connection.recv(1 << 16)
                connection.sendall(EMPTY)
                if connection.recv(1 << 16):
                    connection.sendall(said)
                connection.settimeout(2)
                return connection.recv(1 << 16) == b""

        closed = executor.submit(answer_once)
        connections.give_back(host, "GET", connections.request(host, "GET", "/", {}))
        with pytest.raises(error) as caught:
            connections.request(host, "GET", "/", fields)
        assert closed.result()
        assert caught.value.__traceback__ is not None  # which keeps alive whatever was not closed


def test_an_answer_that_nobody_asked_for_is_no_answer() -> None:
    connections = ConnectionPool(FetchOptions(timeout_seconds=BOUND_SECONDS))
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as executor:
        listening.settimeout(2)  # where there is no second connection
        host = Host("http", "127.0.0.1", listening.getsockname()[1])

        def answer(stray: bytes, status: bytes) -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(EMPTY.replace(b"200", status))
                sent.wait()
                connection.sendall(stray)
                connection.recv(1 << 16)

        sent = threading.Event()
        executor.submit(answer, EMPTY.replace(b"200", b"299"), b"200")
        first = connections.request(host, "GET", "/", {})
        sent.set()
        select.select([first.connection.socket], [], [], BOUND_SECONDS)
        connections.give_back(host, "GET", first)
        executor.submit(answer, b"", b"201")
        second = connections.request(host, "GET", "/", {})
        second.connection.close()
        assert second.status == 201
