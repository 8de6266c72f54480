"""Limits hold for every connection: however it is answered, encrypted or not, and when the server stops."""

from __future__ import annotations

import os
import resource
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.servers import BOUND_SECONDS, Authority, Server, get, read_all, running

LARGE = "/deep/large.arrow/partitions/1"


def test_a_client_that_takes_no_answer_of_aiohttps_is_given_up(
    shared_root: Path, loop_environment: dict[str, Any]
) -> None:
    with running(shared_root, "--idle-seconds", "0.3", **loop_environment) as server, server.connect() as connection:
        connection.settimeout(1)
        with suppress(TimeoutError, ConnectionError):
            while True:  # until the server's buffers are full as well
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n" * 100)
        deadline = time.monotonic() + BOUND_SECONDS
        while b"shuffle_http_connections 1.0" not in server.exchange(get("/metrics")):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_connections_that_have_not_shaken_hands_are_counted(
    shared_root: Path, authority: Authority, loop_environment: dict[str, Any]
) -> None:
    options = ("--certificate", str(authority.certificate), "--connections", "3", "--header-seconds", "1")
    with running(shared_root, *options, **loop_environment) as server:
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(server.connect())
            time.sleep(0.1)
            with authority.context().wrap_socket(server.connect(), server_hostname="127.0.0.1") as further:
                assert read_all(further).startswith(b"HTTP/1.1 503 ")
        deadline = time.monotonic() + BOUND_SECONDS
        answered = b""
        while not answered.startswith(b"HTTP/1.1 200 "):
            assert time.monotonic() < deadline
            time.sleep(0.1)
            with authority.context().wrap_socket(server.connect(), server_hostname="127.0.0.1") as later:
                later.sendall(get("/healthz"))
                with suppress(ConnectionError, ssl.SSLError):
                    answered = read_all(later)


def test_stopping_takes_no_longer_than_it_may(shared_root: Path) -> None:
    with running(shared_root, "--grace-seconds", "3") as server, server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        connection.sendall(f"GET {LARGE} HTTP/1.1\r\nHost: localhost\r\nX-Other: 1\r\n\r\n".encode())
        connection.recv(1000)
        began = time.monotonic()
        assert server.stop(signal.SIGTERM) == 143
        assert time.monotonic() - began < 5.5  # and not twice as long


def free_descriptor(server: Server) -> int:
    """The number that the next file or connection of a server gets."""
    used = {int(name) for name in os.listdir(f"/proc/{server.process.pid}/fd")}
    return next(number for number in count() if number not in used)


@contextmanager
def descriptors_below(server: Server, limit: int) -> Iterator[None]:
    """Let a server have none from this number on."""
    before = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, before)


PLACES = b'["/a.arrow/partitions/0"]'


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /a.arrow/partitions/0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"HEAD /a.arrow/partitions/0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /a.arrow HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(PLACES), PLACES),
    ],
)
def test_without_descriptors_clients_are_told_to_come_back(shared_root: Path, request_bytes: bytes) -> None:
    with running(shared_root) as server, server.connect() as connection:
        connection.sendall(b"GET /none.arrow/partitions/0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 404 ")
        with descriptors_below(server, free_descriptor(server)):
            connection.sendall(request_bytes)
            answered = connection.recv(1000)
        assert answered.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in answered
        connection.sendall(request_bytes)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert b'"a.arrow"' in server.exchange(get("/"))  # of which nobody remembers that it could not be opened


def test_a_connection_that_gets_no_second_descriptor_is_broken_off(
    shared_root: Path, loop_environment: dict[str, Any]
) -> None:
    with running(shared_root, **loop_environment) as server:
        assert server.status_of(b"/healthz") == 200
        with descriptors_below(server, free_descriptor(server) + 1):
            for _ in range(3):
                assert server.exchange(get(LARGE)) == b""
        assert server.status_of(LARGE.encode()) == 200
        assert b"shuffle_http_connections 1.0" in server.exchange(get("/metrics"))
        server.stop()
        assert server.process.stderr is not None
        *said, _ = server.process.stderr.read().splitlines()
    assert len(said) <= 4  # asyncio would fail to accept a thousand times
    assert all(line.endswith(": Too many open files") for line in said), said


def test_who_waits_for_a_turn_has_no_file_open(shared_root: Path) -> None:
    with running(shared_root, "--sends", "1") as server, server.connect() as slow, ExitStack() as stack:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        slow.sendall(f"GET {LARGE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        slow.recv(100)
        waiting = [stack.enter_context(server.connect()) for _ in range(3)]
        for connection, fields in zip(waiting, ("", "X-Other: 1\r\n", "Range: bytes=1-\r\n"), strict=True):
            connection.sendall(f"GET /a.arrow/partitions/0 HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
        assert server.status_of(b"/healthz") == 200  # and so it has seen those before
        assert server.open_files_in(shared_root) == [str(shared_root / "deep" / "large.arrow")]
        slow.close()
        for connection in waiting:
            assert connection.recv(1000).startswith(b"HTTP/1.1 20")
