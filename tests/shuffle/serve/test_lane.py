"""Plain GETs of partitions, which are answered without aiohttp: as it would, and never more than was asked."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from spill_format import SpillFile
from tests.helpers.servers import BOUND_SECONDS, Server, read_all, running
from tests.helpers.spills import random_spill

SMALL = "/a.arrow/partitions/2"
LARGE = "/deep/large.arrow/partitions/1"


@pytest.fixture(scope="module")
def server(shared_root: Path, loop_environment: dict[str, Any]) -> Iterator[Server]:
    """A server on either event loop."""
    with running(shared_root, **loop_environment) as started:
        yield started


def plain(target: str, fields: str = "") -> bytes:
    """A request that is taken the short way, unless its fields are others than such have."""
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()


def answer(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of the next answer on a connection that stays."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, head
        head += byte
    (length,) = re.findall(rb"Content-Length: (\d+)", head)
    body = bytearray()
    while len(body) < int(length) and (piece := connection.recv(int(length) - len(body))):
        body += piece
    return head, bytes(body)


def fields_of(head: bytes) -> set[bytes]:
    return {line for line in head.split(b"\r\n") if not line.startswith(b"Date: ")}


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (SMALL, 200),
        ("/a.arrow/partitions/1-4", 200),
        (LARGE, 200),
        ("/a.arrow/partitions/6", 404),
        ("/none.arrow/partitions/0", 404),
        (f"/{'x' * 300}.arrow/partitions/0", 404),
    ],
)
def test_both_ways_answer_the_same(server: Server, target: str, status: int) -> None:
    with server.connect() as short, server.connect() as long:
        for _ in range(2):
            short.sendall(plain(target))
            long.sendall(plain(target, "X-Other: 1\r\n"))
            (head, body), (other_head, other_body) = answer(short), answer(long)
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert fields_of(head) == fields_of(other_head)
            assert body == other_body


WRONG, RIGHT = "Authorization: Bearer open\r\n", "Authorization: Bearer open-sesame\r\n"


@pytest.mark.parametrize(
    "fields", ["", WRONG, RIGHT, WRONG + RIGHT, RIGHT + WRONG, f"Accept: a\r\n{RIGHT}Accept: b\r\n"]
)
def test_both_ways_want_the_token(tmp_path: Path, fields: str) -> None:
    random_spill(tmp_path / "a.arrow", [3])
    with running(tmp_path, SHUFFLE_TOKEN="open-sesame") as server, server.connect() as short, server.connect() as long:
        short.sendall(plain("/a.arrow/partitions/0", fields))
        long.sendall(plain("/a.arrow/partitions/0", f"{fields}X-Other: 1\r\n"))
        (head, body), (other_head, other_body) = answer(short), answer(long)
        assert head.startswith(b"HTTP/1.1 200 " if "sesame" in fields.partition(WRONG)[0] else b"HTTP/1.1 401 ")
        assert (fields_of(head), body) == (fields_of(other_head), other_body)


def test_one_connection_may_ask_for_anything_in_any_order(server: Server, shared_root: Path) -> None:
    with server.connect() as connection:
        connection.sendall(plain(SMALL))
        _, whole = answer(connection)
        for fields, expected in (("", whole), ("Range: bytes=100-\r\n", whole[100:]), ("", whole)):
            connection.sendall(plain(SMALL, fields))
            assert answer(connection)[1] == expected
        connection.sendall(plain("/healthz") + plain(SMALL))
        assert answer(connection)[1] == b"ok\n"
        assert answer(connection)[1] == whole


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_request_may_come_in_pieces(server: Server, cut: int) -> None:
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(plain(SMALL)[:cut])
        time.sleep(0.05)
        connection.sendall(plain(SMALL)[cut:])
        assert answer(connection)[0].startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("fields", ["", "X-Other: 1\r\n"])
def test_a_request_may_come_before_the_last_answer_has_gone(server: Server, fields: str) -> None:
    with server.connect() as connection:
        connection.sendall(plain(LARGE))
        time.sleep(0.05)
        connection.sendall(plain(SMALL, fields))
        time.sleep(0.05)
        connection.sendall(plain(LARGE))
        large = answer(connection)[1]
        assert len(answer(connection)[1]) < len(large)
        assert answer(connection)[1] == large


def test_a_body_is_never_taken_for_a_request(server: Server) -> None:
    body = plain(SMALL)
    with server.connect() as connection:
        connection.sendall(plain(SMALL))
        answer(connection)
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        time.sleep(0.05)
        connection.sendall(body)
        answered = read_all(connection)
    assert answered.startswith(b"HTTP/1.1 400 ")
    assert answered.count(b"HTTP/1.1") == 1


def test_a_connection_without_further_requests_is_closed(shared_root: Path) -> None:
    with running(shared_root, "--header-seconds", "0.5") as server, server.connect() as idle, server.connect() as busy:
        idle.sendall(plain(SMALL))
        answer(idle)
        deadline = time.monotonic() + 1.2
        while time.monotonic() < deadline:
            busy.sendall(plain(SMALL))
            assert answer(busy)[0].startswith(b"HTTP/1.1 200 ")
            time.sleep(0.1)
        idle.settimeout(BOUND_SECONDS)
        assert idle.recv(1) == b""


def test_a_client_that_takes_nothing_is_given_up(shared_root: Path) -> None:
    with running(shared_root, "--idle-seconds", "0.3") as server, server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        connection.sendall(plain(LARGE))
        time.sleep(1.5)
        answered = b""
        with suppress(ConnectionError):
            answered = read_all(connection)
        assert len(answered) < 10 << 20


def test_answers_beyond_the_limit_wait_and_are_then_refused(shared_root: Path) -> None:
    options = ("--sends", "1", "--queue-seconds", "0.3")
    with running(shared_root, *options) as server, server.connect() as slow, server.connect() as other:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        slow.sendall(plain(LARGE))
        slow.recv(1, socket.MSG_PEEK)
        other.sendall(plain(SMALL))
        head, body = answer(other)
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in head
        assert body == b"too many answers are being sent; try again later\n"
        answer(slow)
        other.sendall(plain(SMALL))
        assert answer(other)[0].startswith(b"HTTP/1.1 200 ")


def test_slow_and_vanishing_readers_leave_nothing(shared_root: Path) -> None:
    with running(shared_root) as server:
        server.status_of(LARGE.encode())
        before = server.memory_bytes()
        slow = [server.connect() for _ in range(100)]
        for connection in slow:
            connection.sendall(plain(LARGE))
        for connection in slow:
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert server.memory_bytes() - before < 20 << 20
        for connection in slow:
            connection.close()
        deadline = time.monotonic() + BOUND_SECONDS
        expected = {b"shuffle_http_sends 0.0", b"shuffle_http_connections 1.0"}
        while True:
            with server.connect() as connection:
                connection.sendall(plain("/metrics"))
                if expected <= set(answer(connection)[1].splitlines()):
                    break
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert len(server.open_files_in(shared_root)) == 1


@pytest.mark.parametrize("change", ["replaced", "cut", "written"])
def test_a_file_that_changes_while_it_is_sent(shared_root: Path, tmp_path: Path, change: str) -> None:
    root = Path(shutil.copytree(shared_root, tmp_path / "root"))
    path = root / "deep" / "large.arrow"
    with SpillFile(path) as spill:
        start, end = spill.range_of(1)
    ranges = path.read_bytes()[start:end]
    with running(root) as server, server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        connection.sendall(plain(LARGE))
        connection.recv(1, socket.MSG_PEEK)
        if change == "replaced":
            random_spill(root / "new", [5, 600_000, 7]).rename(path)
        elif change == "cut":
            os.truncate(path, 1000)
        else:
            with open(path, "r+b") as file:
                file.seek((start + end) // 2)
                file.write(b"x" * 100_000)
        if change == "replaced":
            assert answer(connection)[1].endswith(ranges + b"\xff\xff\xff\xff\0\0\0\0")
        else:
            answered = b""
            with suppress(ConnectionError):
                answered = read_all(connection)
            assert not answered.endswith(b"\xff\xff\xff\xff\0\0\0\0")


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_an_answer_takes_six_system_calls(shared_root: Path, tmp_path: Path, loop_environment: dict[str, Any]) -> None:
    """Beside those by which an event loop waits, and Python has memory."""
    trace = tmp_path / "trace"
    traced = ("strace", "-D", "-f", "-o", str(trace))
    with running(shared_root, prefix=traced, **loop_environment) as server, server.connect() as connection:
        for _ in range(2):
            connection.sendall(plain(SMALL))
            answer(connection)
            time.sleep(0.2)  # the trace's turn
        lines = trace.read_text().splitlines()
    last = max(number for number, line in enumerate(lines) if f'"GET {SMALL} ' in line)
    calls = [match[1] for line in lines[last:] if (match := re.match(r"\d+ +(\w+)\(", line))]
    names = {"recvfrom": "read", "newfstatat": "stat", "fstat": "stat"}
    others = {"epoll_wait", "epoll_pwait", "getpid", "mmap", "mremap", "munmap"}
    essential = [names.get(call, call) for call in calls if call not in others]
    assert essential == ["read", "stat", "sendto", "sendfile", "stat", "sendto"]
