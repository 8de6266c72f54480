"""Requests and answers over real sockets whose other side says what it is told to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from shuffle.client.exchange import Answer, Connection
from shuffle.client.place import Host

OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def connected(*pieces: bytes, holding: bool = False) -> Iterator[Connection]:
    """A connection to a server that answers with these pieces, and then closes it unless it is ``holding`` it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host = Host("http", "127.0.0.1", listening.getsockname()[1])
        over = threading.Event()

        def run() -> None:
            server, _ = listening.accept()
            with server:
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server.recv(1 << 16)
                for piece in pieces:
                    server.sendall(piece)
                    time.sleep(0.005)
                if holding:
                    over.wait()

        thread = threading.Thread(target=run)
        thread.start()
        connection = Connection(host, 0.5, 0.5, None)
        try:
            yield connection
        finally:
            connection.close()
            over.set()
            thread.join()


def filled(answer: Answer, byte_count: int) -> bytes:
    """So many bytes of an answer, fewer at its end."""
    view = memoryview(bytearray(byte_count))
    position = 0
    while count := answer.read_into(view[position:]):
        position += count
    return bytes(view[:position])


def in_pieces(content: bytes, byte_count: int) -> Sequence[bytes]:
    return [content[start : start + byte_count] for start in range(0, len(content), byte_count)]


@pytest.mark.parametrize("byte_count", [7, 50, 1000])
@pytest.mark.parametrize(
    "interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"]
)
def test_an_answer_may_come_in_pieces(byte_count: int, interim: bytes) -> None:
    content = interim + OK + b'content-LENGTH:  5\r\nETag: "a: b" \r\n\r\nbytes'
    with connected(*in_pieces(content, byte_count)) as connection:
        answer = connection.request("GET", "/", {})
        assert (answer.status, answer.reason, answer.byte_count) == (200, "OK", 5)
        assert (answer.field("etag"), answer.field("age")) == ('"a: b"', "")
        assert filled(answer, 9) == b"bytes"
        assert answer.read(10) == b""
        assert answer.leaves_connection


@pytest.mark.parametrize("byte_count", [1, 3, 1000])
def test_lines_and_pieces_are_read_in_turn(byte_count: int) -> None:
    head = OK + b"Content-Length: 16\r\n\r\n"
    with connected(head, *in_pieces(b"one|two|" + b"three||||", byte_count), holding=True) as connection:
        answer = connection.request("GET", "/", {})
        assert answer.read_until(b"|", 10) == b"one|"
        assert answer.read_until(b"|", 2) == b"tw"
        assert answer.read_until(b"|t", 10) == b"o|t"
        assert filled(answer, 4) == b"hree"
        assert not answer.leaves_connection
        assert answer.read_until(b"-", 10) == b"|||"  # and not what belongs to no answer


@pytest.mark.parametrize(("content", "leaves"), [(b"bytes", True), (b"bytes, more", False)])
def test_bytes_behind_an_answer_spoil_its_connection(content: bytes, leaves: bool) -> None:
    with connected(OK + b"Content-Length: 5\r\n\r\n" + content, holding=True) as connection:
        answer = connection.request("GET", "/", {})
        assert answer.read(10) == b"bytes"
        assert answer.leaves_connection == leaves


def test_an_address_of_an_unknown_family_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(OK + b"Content-Length: 0\r\n\r\n") as connection:
        known = (socket.AF_INET, socket.SOCK_STREAM, 0, "", connection.socket.getpeername())
        unknown = (63, socket.SOCK_STREAM, 0, "", ("x", 1))
        addresses = [unknown]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        with pytest.raises(OSError, match="not supported"):
            Connection(Host("http", "x", 1), 0.5, 0.5, None)
        addresses.append(known)
        Connection(Host("http", "x", 1), 0.5, 0.5, None).close()
        connection.request("GET", "/", {})


@pytest.mark.parametrize(
    ("head", "byte_count"),
    [
        (OK + b"Content-Length: 0\r\nConnection: Close\r\n\r\n", 0),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 0),
        (OK + b"\r\n", None),
        (OK + b"Content-Length: -1\r\n\r\n", None),
        (OK + b"Content-Length: 1_0\r\n\r\n", None),
        (OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", None),
        (OK + b"Content-Length: 1, 1\r\n\r\n", None),
        (OK + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    ],
)
def test_a_connection_is_used_again_only_where_the_answers_end_is_sure(head: bytes, byte_count: int | None) -> None:
    with connected(head) as connection:
        answer = connection.request("GET", "/", {})
        assert answer.byte_count == byte_count
        assert not answer.leaves_connection


@pytest.mark.parametrize("content", [b"", b"HTTP/1.1 200 OK", b"HTTP/2 200\r\n\r\n", b"<html>\r\n\r\n", b"x" * 100_000])
def test_what_is_no_answer_is_the_networks_fault(content: bytes) -> None:
    with connected(content) as connection, pytest.raises(ConnectionError):
        connection.request("GET", "/", {})


@pytest.mark.parametrize("content", [b"", OK, OK + b"Content-Length: 5\r\n\r\nby"])
def test_a_server_that_says_no_more_is_given_up(content: bytes) -> None:
    with (
        connected(content, holding=True) as connection,
        pytest.raises(TimeoutError, match=r"nothing arrived for 0\.5 s"),
    ):
        filled(connection.request("GET", "/", {}), 5)
