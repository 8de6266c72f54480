"""Limits hold for every connection: however it is answered, encrypted or not, and when the server stops."""

from __future__ import annotations

import signal
import socket
import ssl
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from tests.shuffle.serve.conftest import Authority
from tests.shuffle.serve.servers import BOUND_SECONDS, get, read_all, running

LARGE = "/deep/large.arrow/partitions/1"


def test_a_client_that_takes_no_answer_of_aiohttps_is_given_up(
    shared_root: Path, loop_environment: dict[str, Any]
) -> None:
    with running(shared_root, "--idle-seconds", "0.3", **loop_environment) as server, server.connect() as connection:
        connection.settimeout(1)
        with suppress(TimeoutError, ConnectionError):
            while True:  # until the server's buffers are full as well
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n" * 100)
        deadline = time.monotonic() + BOUND_SECONDS
        while b'shuffle_now{what="connections"} 1.0' not in server.exchange(get("/metrics")):
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
        connection.sendall(f"GET {LARGE} HTTP/1.1\r\nHost: x\r\nX-Other: 1\r\n\r\n".encode())
        connection.recv(1000)
        began = time.monotonic()
        assert server.stop(signal.SIGTERM) == 143
        assert time.monotonic() - began < 5.5  # and not twice as long
