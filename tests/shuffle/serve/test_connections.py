"""Clients that are slow, vanish, come in crowds or without the right words; files that change; servers that stop."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shuffle.client import PartitionClient, fetch
from shuffle.http_options import FetchOptions
from spill_format import SpillFile
from tests.helpers.servers import BOUND_SECONDS, Authority, Server, get, read_all, running
from tests.helpers.spills import random_spill

LARGE = "/deep/large.arrow/partitions/1"


def body_of(answered: bytes) -> bytes:
    return answered.partition(b"\r\n\r\n")[2]


def wanted_bytes(answered: bytes) -> int:
    (length,) = re.findall(rb"Content-Length: (\d+)", answered)
    return int(length)


def test_slow_readers_hold_no_memory(shared_root: Path) -> None:
    with running(shared_root) as server, ExitStack() as stack:
        server.status_of(b"/a.arrow/partitions/0")
        before = server.memory_bytes()
        slow = [stack.enter_context(server.connect()) for _ in range(200)]
        for connection in slow:
            connection.sendall(get(LARGE))
        assert server.status_of(b"/a.arrow/partitions/2") == 200  # and nobody else waits for them
        for connection in slow:
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert server.memory_bytes() - before < 20 << 20


def test_slow_readers_of_buffered_sends_hold_what_is_allowed(shared_root: Path) -> None:
    options = ("--transfer-to", "off", "--bytes-in-flight", "8MiB", "--sends", "100")
    with running(shared_root, *options) as server, ExitStack() as stack:
        before = server.memory_bytes()
        slow = [stack.enter_context(server.connect()) for _ in range(100)]
        for connection in slow:
            connection.sendall(get(LARGE))
        for connection in slow:
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        time.sleep(0.2)
        assert server.memory_bytes() - before < 24 << 20


def test_clients_that_vanish_leave_nothing(shared_root: Path) -> None:
    with running(shared_root) as server:
        for _ in range(20):
            with server.connect() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset
                connection.sendall(get(LARGE))
                connection.recv(1000)
        deadline = time.monotonic() + BOUND_SECONDS
        expected = {"shuffle_http_sends 0.0", "shuffle_http_connections 1.0"}
        while not expected <= set(body_of(server.exchange(get("/metrics"))).decode().splitlines()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert len(server.open_files_in(shared_root)) == 1
        server.stop()
        assert server.process.stderr is not None
        assert server.process.stderr.read() == "shuffle: terminated\n"


@pytest.mark.parametrize("limit", ["header", "idle"])
def test_a_connection_that_does_nothing_is_closed(shared_root: Path, limit: str) -> None:
    with running(shared_root, f"--{limit}-seconds", "0.3") as server, server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        if limit == "header":
            connection.sendall(b"GET /a.arrow HTTP/1.1\r\nHost:")
            assert read_all(connection) == b""
        else:
            connection.sendall(get(LARGE))
            time.sleep(1.5)
            answered = b""
            with suppress(ConnectionError):
                answered = read_all(connection)
            assert len(answered) < 10 << 20


def test_connections_beyond_the_limit_are_told_to_come_back(shared_root: Path) -> None:
    with running(shared_root, "--connections", "3") as server, ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(server.connect())
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(1000)
        answered = server.exchange(b"")
        assert answered.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in answered


def test_sends_beyond_the_limit_wait_and_are_then_refused(shared_root: Path) -> None:
    with running(shared_root, "--sends", "1", "--queue-seconds", "0.3") as server, server.connect() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        slow.sendall(get(LARGE))
        slow.recv(100)
        assert server.status_of(LARGE.encode()) == 503
        assert server.status_of(LARGE.encode(), method=b"HEAD") == 200
        waiting = threading.Timer(0.1, lambda: read_all(slow))
        waiting.start()
        assert server.status_of(LARGE.encode()) == 200
        waiting.join()


def test_two_thousand_requests_at_once(server: Server, shared_root: Path) -> None:
    contents = {}
    for partition in (0, 2, 3):
        contents[partition] = body_of(server.exchange(get(f"/a.arrow/partitions/{partition}")))

    async def all_of_them() -> list[bool]:
        connector = aiohttp.TCPConnector(limit=500)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def one(number: int) -> bool:
                partition = (0, 2, 3)[number % 3]
                async with session.get(f"{server.url}/a.arrow/partitions/{partition}") as response:
                    return await response.read() == contents[partition]

            return await asyncio.gather(*map(one, range(2000)))

    assert all(asyncio.run(all_of_them()))
    assert len(server.open_files_in(shared_root)) <= 2


# What requests at random are made of.
REQUEST_WORDS = [
    "/",
    "..",
    "%2e",
    "%00",
    "a.arrow",
    "partitions",
    "0",
    "5",
    "-",
    "999999999999999999999999999999",
    "%ff",
    "?",
    "#",
    "*",
    " ",
    "http://x",
]
REQUEST_HEADERS = [
    "Range",
    "If-Range",
    "If-Match",
    "If-None-Match",
    "Authorization",
    "Content-Length",
    "Expect",
    "Accept",
    "X",
]
HEADER_VALUES = [
    "bytes=",
    "0-",
    "-5",
    '"a"',
    "W/",
    "*",
    ",",
    "Bearer",
    "text/html",
    "111111111111111111111111111111",
    "ÿ",
    "100-continue",
    "-1",
]


def test_requests_of_all_kinds_never_break_the_server(server: Server) -> None:
    """For two seconds; the seed is in the message. Nor does the server fill its standard error, which nobody reads."""
    seed = random.randrange(1 << 32)
    generator = random.Random(seed)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        target = "".join(generator.choices(REQUEST_WORDS, k=generator.randrange(1, 8)))
        headers = "".join(
            f"{name}: {''.join(generator.choices(HEADER_VALUES, k=generator.randrange(3)))}\r\n"
            for name in generator.sample(REQUEST_HEADERS, generator.randrange(4))
        )
        method = generator.choice(["GET", "HEAD", "POST", "OPTIONS", "get", "\x00"])
        request = f"{method} /{target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode(
            "latin-1"
        )
        with server.connect() as connection:
            connection.settimeout(0.2)  # a body that was announced is waited for
            connection.sendall(request)
            answered = b""
            with suppress(TimeoutError, ConnectionError):
                answered = connection.recv(100)
        assert answered == b"" or answered.startswith(b"HTTP/1."), (seed, request)
        assert not answered.startswith(b"HTTP/1.1 500"), (seed, request)
    assert server.status_of(b"/a.arrow/partitions/0") == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("", 401),
        ("Authorization: Bearer open\r\n", 401),
        ("Authorization: Basic open-sesame\r\n", 401),
        ("Authorization: Bearer\r\n", 401),
        ("Authorization: bearer  open-sesame\r\n", 200),
        ("Authorization: Bearer open-sesame\r\n", 200),
        ("Authorization: Bearer open-sesame\xe9\r\n", 401),
    ],
)
def test_a_token_is_needed_for_everything_but_health(tmp_path: Path, header: str, status: int) -> None:
    random_spill(tmp_path / "a.arrow", [3])
    with running(tmp_path, SHUFFLE_TOKEN="open-sesame") as server:
        for target in (b"/", b"/a.arrow", b"/a.arrow/partitions/0", b"/metrics", b"/none.arrow"):
            expected = 404 if target == b"/none.arrow" and status == 200 else status
            assert server.status_of(target, header.encode("latin-1")) == expected
        assert server.status_of(b"/healthz") == 200


def test_tls_and_who_may_use_it(shared_root: Path, authority: Authority) -> None:
    options = ("--certificate", str(authority.certificate), "--client-authority", str(authority.root))
    with running(shared_root, *options) as server:
        assert server.url.startswith("https://127.0.0.1:")
        url = f"{server.url}/a.arrow/partitions/0"
        with urllib.request.urlopen(url, context=authority.context(authority.client), timeout=BOUND_SECONDS) as answer:
            assert answer.status == 200
        for context in (authority.context(), authority.context(authority.stranger), ssl.create_default_context()):
            with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
                urllib.request.urlopen(url, context=context, timeout=BOUND_SECONDS).read()
        with server.connect() as connection, suppress(ConnectionError):  # no TLS at all
            connection.sendall(get("/"))
            assert not read_all(connection).startswith(b"HTTP/1.1 200")


@pytest.fixture
def own_root(shared_root: Path, tmp_path: Path) -> Path:
    """A copy of the shared root, to be changed."""
    return Path(shutil.copytree(shared_root, tmp_path / "root"))


@pytest.mark.parametrize("change", ["replaced", "removed", "cut", "written"])
def test_a_file_that_changes_while_it_is_sent(own_root: Path, change: str) -> None:
    path = own_root / "deep" / "large.arrow"
    before = path.read_bytes()
    with running(own_root) as server, server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        connection.sendall(get(LARGE))
        answered = connection.recv(1000)
        if change == "replaced":
            random_spill(own_root / "new", [5, 600_000, 7]).rename(path)
        elif change == "removed":
            path.unlink()
        elif change == "cut":
            os.truncate(path, 1000)
        else:
            with open(path, "r+b") as file:
                file.seek(len(before) // 2)
                file.write(b"x" * 100_000)
        with suppress(ConnectionError):
            while piece := connection.recv(1 << 20):
                answered += piece
        is_whole = len(body_of(answered)) == wanted_bytes(answered)
        assert is_whole == (change in {"replaced", "removed"})
        if is_whole:
            assert body_of(answered)[1000:-8] in before
        if change == "replaced":
            assert fetch(f"{server.url}/deep/large.arrow", 2).num_rows == 7
        elif change == "removed":
            assert server.status_of(LARGE.encode()) == 410


@pytest.mark.parametrize("fields", ["", "X-Other: 1\r\n"], ids=["plain", "other"])
def test_stopping_finishes_what_is_being_sent_and_takes_nothing_new(
    shared_root: Path, fields: str, loop_environment: dict[str, Any]
) -> None:
    with running(shared_root, **loop_environment) as server, server.connect() as connection, server.connect() as idle:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        connection.sendall(f"GET {LARGE} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
        answered = connection.recv(1000)
        server.process.send_signal(signal.SIGTERM)
        assert read_all(idle) == b""
        with pytest.raises(ConnectionError):
            server.connect()
        answered += read_all(connection)
        assert len(body_of(answered)) == wanted_bytes(answered)
        assert server.process.wait(BOUND_SECONDS) == 143


@pytest.mark.parametrize(("signals", "seconds"), [(2, "30"), (1, "0.3")])
def test_stopping_does_not_wait_for_ever(shared_root: Path, signals: int, seconds: str) -> None:
    with running(shared_root, "--grace-seconds", seconds) as server, server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        connection.sendall(get(LARGE))
        connection.recv(1000)
        for _ in range(signals):
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        assert server.process.wait(BOUND_SECONDS) == 130


def test_a_server_that_is_killed_and_comes_back_loses_nothing(shared_root: Path) -> None:
    options = FetchOptions(backoff_seconds=0.05, attempts=60)
    with SpillFile(shared_root / "deep" / "large.arrow") as spill:
        expected = spill.read(1)
    with running(shared_root) as server, PartitionClient(options) as client, ThreadPoolExecutor(4) as pool:
        fetched = [pool.submit(client.read, f"{server.url}/deep/large.arrow", 1) for _ in range(12)]
        for _ in range(3):
            time.sleep(0.05)
            server.process.kill()
            server.process.wait()
            again = running(shared_root, port=server.address[1])
            with again as restarted:
                time.sleep(0.3)
                if all(future.done() for future in fetched):
                    break
                restarted.process.kill()
        with running(shared_root, port=server.address[1]):
            assert all(future.result(BOUND_SECONDS) == expected for future in fetched)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_bytes_of_files_never_enter_the_server(shared_root: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = "trace=read,pread64,preadv,preadv2,readv,mmap,sendfile,sendto,sendmsg,writev,recvfrom,splice"
    with running(shared_root, prefix=("strace", "-D", "-f", "-y", "-o", str(trace), "-e", calls)) as server:
        server.exchange(get("/a.arrow/partitions/5"))
        start = len(trace.read_text())
        server.exchange(get("/a.arrow/partitions/5"))
        server.exchange(get(LARGE))
        server.exchange(get(LARGE))
        traced = trace.read_text()[start:].splitlines()
    of_file = [line for line in traced if "/a.arrow>" in line]
    assert [line.split()[1].partition("(")[0] for line in of_file] == ["sendfile"]
    sent = [line for line in traced if "/large.arrow>" in line and "sendfile(" in line]
    assert sent
    read = [line for line in traced if "/large.arrow>" in line and "sendfile(" not in line]
    with SpillFile(shared_root / "deep" / "large.arrow") as spill:
        start_of_range, end_of_range = spill.range_of(1)
    offsets = [int(match[1]) for line in read if (match := re.search(r", (\d+)\)\s+= \d+$", line))]
    assert all(not start_of_range <= offset < end_of_range for offset in offsets)  # index and schema alone


def test_the_command_line_tells_no_secret(shared_root: Path) -> None:
    with running(shared_root, SHUFFLE_TOKEN="open-sesame") as server:
        assert "sesame" not in Path(f"/proc/{server.process.pid}/cmdline").read_text()
        completed = subprocess.run(
            ["curl", "-s", "-w", "%{http_code}", "-H", "Authorization: Bearer open-sesame", f"{server.url}/healthz"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert completed.stdout == "ok\n200"
