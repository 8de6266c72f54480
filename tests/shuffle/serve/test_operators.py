"""What operators rely on: tokens and names, limits that hold for strangers, health, connections."""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shuffle import PartitionClient, PartitionServer, ServeOptions
from shuffle.client import Place
from shuffle.serve.hosts import AllowedHosts
from shuffle.serve.tokens import ALL, Rights, Tokens
from spill_format import SpillFile
from tests.helpers.commands import run
from tests.helpers.servers import (
    BOUND_SECONDS,
    Authority,
    Server,
    exchanged,
    get,
    read_all,
    running,
    status_of,
    wait_until,
    with_token,
)
from tests.helpers.spills import random_spill

pytestmark = pytest.mark.process
SMALL, LARGE = "/a.arrow/partitions/0", "/deep/large.arrow/partitions/1"


# Tokens


def test_tokens_of_a_file_hold_each_for_its_paths(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_bytes(b"# for all\nnew\nold\n\nnarrow /jobs/7/ /one.arrow\n\xc3\xa9t\xc3\xa9\n")
    tokens = Tokens(ServeOptions(token_file=tmp_path / "tokens", token=" own "))
    assert [tokens.rights_of(f"Bearer {each}".encode()) for each in ("new", "old", "own", "été")] == [ALL] * 4
    narrow = tokens.rights_of(b"bearer  narrow ")
    assert narrow == Rights(("jobs/7", "one.arrow"))
    assert [narrow.allow(name) for name in ("jobs/7/a.arrow", "jobs/77/a.arrow", "one.arrow", "two.arrow")] == [
        True, False, True, False
    ]  # fmt: skip
    assert [tokens.rights_of(each) for each in (b"", b"Bearer", b"Bearer ne", b"Basic new", b"new")] == [None] * 5
    assert Tokens(ServeOptions()).rights_of(b"") == ALL


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"# none\n", "there is no token in the file, which protects nothing"),
        (b"a b\n", "a path behind a token starts with a slash"),
    ],
)
def test_a_file_of_tokens_that_would_protect_nothing_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "tokens").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        Tokens(ServeOptions(token_file=tmp_path / "tokens"))


def test_an_empty_token_variable_is_refused(tmp_path: Path) -> None:
    for command in ("shuffle serve .", "shuffle fetch http://127.0.0.1:1/a.arrow -p 0"):
        completed = run(command, tmp_path, SHUFFLE_TOKEN=" ")
        assert completed.returncode == 2
        assert "$SHUFFLE_TOKEN is empty, which protects nothing" in completed.stderr


def test_rights_hold_for_every_resource(shared_root: Path, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("all\nnarrow /deep\n")
    with PartitionServer(shared_root, token_file=tmp_path / "tokens") as server:
        for target, status in (
            (LARGE, 200), ("/deep/large.arrow", 200), (SMALL, 403), ("/a.arrow", 403), ("/metrics", 403), ("/", 200)
        ):  # fmt: skip
            assert status_of(exchanged(server, with_token(target, "narrow"))) == status
            assert status_of(exchanged(server, with_token(target, "all"))) == 200
            assert status_of(exchanged(server, get(target))) == 401
        figures = exchanged(server, with_token("/metrics", "narrow"))
        assert figures.endswith(b"figures are for tokens that hold for all paths\n")
        assert b"a.arrow" not in exchanged(server, with_token("/", "narrow")).replace(b"large.arrow", b"")
        with PartitionClient(token="narrow") as client:
            places = [Place.of(f"{server.url}{name}", 0) for name in ("a.arrow", "deep/large.arrow")]
            assert [each.error is None for each in client.read_many(places)] == [False, True]
            with pytest.raises(OSError, match="this token does not hold for this path"):
                client.read(f"{server.url}a.arrow", 0)


def test_a_stranger_keeps_no_connection(shared_root: Path) -> None:
    with PartitionServer(shared_root, token="open-sesame") as server:
        for fields in ("", "X-Other: 1\r\n"):
            request = f"GET {SMALL} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()
            answered = exchanged(server, request)  # which ends
            assert status_of(answered) == 401
            assert b"\r\nConnection: close\r\n" in answered
            assert answered.endswith(b"a bearer token is needed, and the right one\n")


def test_names_that_are_answered(shared_root: Path) -> None:
    allowed = AllowedHosts(["files.example", "*.x"])
    for field in ("localhost", "LOCALHOST:80", "127.0.0.1:8", "[::1]:80", socket.gethostname(), "files.example."):
        assert allowed.allow(field)
    for field in ("", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "a b", "1.2.3", "@localhost"):
        assert not allowed.allow(field)
    assert AllowedHosts(["*"]).allow("anything")
    with PartitionServer(shared_root) as server:
        for target in (SMALL, "/", "/a.arrow"):
            for fields in (b"", b"X-Other: 1\r\n"):
                request = get(target).replace(b"localhost\r\n", b"evil.example\r\n" + fields)
                assert status_of(exchanged(server, request)) == 421
        assert status_of(exchanged(server, get("/healthz").replace(b"localhost", b"evil.example"))) == 200


# Limits


@pytest.mark.parametrize("secure", [False, True])
def test_one_address_cannot_take_all_connections(shared_root: Path, authority: Authority, secure: bool) -> None:
    options = ServeOptions(address_connections=3, certificate=authority.certificate if secure else None)
    with PartitionServer(shared_root, options=options) as server, ExitStack() as stack:
        address = ("127.0.0.1", int(server.url.rstrip("/").rpartition(":")[2]))

        def connect() -> socket.socket:
            connection = stack.enter_context(socket.create_connection(address, timeout=BOUND_SECONDS))
            if secure:
                return stack.enter_context(authority.context().wrap_socket(connection, server_hostname="127.0.0.1"))
            return connection

        held = [connect() for _ in range(3)]
        time.sleep(0.1)
        for target, status in ((SMALL, 503), ("/healthz", 200), ("/readyz", 200)):
            further = connect()
            further.sendall(get(target))
            assert status_of(read_all(further)) == status
        held[0].close()
        for connection in held[1:]:
            connection.sendall(get(SMALL))
            assert status_of(read_all(connection)) == 200


def test_health_and_readiness_are_told_when_all_connections_are_taken(shared_root: Path) -> None:
    with PartitionServer(shared_root, connections=2) as server, ExitStack() as stack:
        address = ("127.0.0.1", int(server.url.rstrip("/").rpartition(":")[2]))
        for _ in range(2):
            stack.enter_context(socket.create_connection(address))
        time.sleep(0.1)
        assert status_of(exchanged(server, get(SMALL))) == 503
        assert exchanged(server, get("/healthz")).endswith(b"\r\n\r\nok\n")
        assert status_of(exchanged(server, get("/readyz"))) == 503


def test_health_looks_at_the_root(shared_root: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(shared_root, tmp_path / "root"))
    with PartitionServer(root) as server:
        assert status_of(exchanged(server, get("/readyz"))) == 200
        root.rename(tmp_path / "elsewhere")
        for target in ("/healthz", "/readyz"):
            answered = exchanged(server, get(target))
            assert status_of(answered) == 503
            assert answered.endswith(b"the root cannot be read: No such file or directory\n")


@pytest.fixture(scope="module")
def wide_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 200,000 partitions, more than the server keeps the layout of, most of them empty."""
    import pyarrow as pa

    from spill_format import SpillWriter

    root = tmp_path_factory.mktemp("wide")
    schema = pa.schema([("n", pa.int64())])
    with SpillWriter(root / "wide.arrow", schema, 200_000) as writer:
        for partition in range(0, 200_000, 400):
            writer.write(partition, pa.record_batch([np.arange(partition % 7 + 1)], schema=schema))
    return root


def test_wide_ranges_of_a_file_of_many_partitions_are_right_and_cheap(wide_root: Path) -> None:
    with (
        PartitionServer(wide_root) as server,
        PartitionClient() as client,
        SpillFile(wide_root / "wide.arrow") as spill,
    ):
        for first, last in ((0, 200_000), (3, 199_999), (400, 401), (100, 3000)):
            assert client.read(f"{server.url}wide.arrow", first, last) == spill.read(first, last)
        layout = json.loads(
            exchanged(server, b"GET /wide.arrow HTTP/1.0\r\nHost: localhost\r\n\r\n").partition(b"\r\n\r\n")[2]
        )
        assert layout["offsets"] == spill.layout.offsets.tolist()
        assert spill.layout.rows is not None
        assert spill.layout.crc32c is not None
        assert layout["rows"] == spill.layout.rows.tolist()
        assert layout["crc32c"] == [f"{each:08x}" for each in spill.layout.crc32c.tolist()]
        body = json.dumps([f"/wide.arrow/partitions/{n}-{199_000 + n}" for n in range(900)]).encode()
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        began = time.process_time()  # of the server's threads, too
        host, port = server.url.removeprefix("http://").rstrip("/").split(":")
        with socket.create_connection((host, int(port)), timeout=BOUND_SECONDS) as connection:
            connection.sendall(head + body)
            assert status_of(connection.recv(100)) == 200
        assert time.process_time() - began < 1.5  # it was ten seconds


def test_what_is_kept_open_is_limited_by_memory_too(tmp_path: Path) -> None:
    for number in range(8):
        random_spill(tmp_path / f"{number}.arrow", [1] * 3000)
    with PartitionServer(tmp_path, layout_bytes=200_000) as server:
        for number in range(8):
            assert status_of(exchanged(server, get(f"/{number}.arrow/partitions/0"))) == 200
        figures = exchanged(server, get("/metrics")).decode()
    assert float(re.findall(r"\nshuffle_known_layout_bytes ([0-9.e+]+)", figures)[0]) <= 200_000
    assert 1 <= float(re.findall(r"\nshuffle_open_files ([0-9.]+)", figures)[0]) <= 3


# Connections


@pytest.mark.parametrize("fields", ["", "X-Other: 1\r\n"])
def test_who_says_no_more_still_gets_all_answers(
    shared_root: Path, fields: str, loop_environment: dict[str, Any]
) -> None:
    with running(shared_root, **loop_environment) as server:
        for target in (SMALL, LARGE):
            with server.connect() as connection:
                for each in (target, SMALL):
                    connection.sendall(f"GET {each} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
                connection.shutdown(socket.SHUT_WR)
                answered = read_all(connection)  # which ends
            assert answered.count(b"HTTP/1.1 200 OK") == 2
            assert answered.endswith(b"\xff\xff\xff\xff\0\0\0\0")


def test_who_asks_whether_to_go_on_is_told_to(server: Server) -> None:
    body = json.dumps([SMALL]).encode()
    fields = f"Host: localhost\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: {len(body)}"
    with server.connect() as connection:
        connection.sendall(f"POST / HTTP/1.1\r\n{fields}\r\n\r\n".encode())
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert status_of(read_all(connection)) == 200


@pytest.mark.parametrize("secure", [False, True])
def test_who_takes_little_by_little_is_not_given_up(
    shared_root: Path, authority: Authority, secure: bool, loop_environment: dict[str, Any]
) -> None:
    options = ("--certificate", str(authority.certificate)) if secure else ()
    with running(shared_root, "--idle-seconds", "0.4", *options, **loop_environment) as server, ExitStack() as stack:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 10)
        plain.settimeout(BOUND_SECONDS)
        plain.connect(server.address)
        connection = stack.enter_context(plain)
        if secure:
            connection = stack.enter_context(authority.context().wrap_socket(plain, server_hostname="127.0.0.1"))
        connection.sendall(get(LARGE))
        for _ in range(30):  # for much longer than the idle seconds, which its socket's buffer would fill
            assert connection.recv(16 << 10)
            time.sleep(0.1)


def test_answers_that_end_early_do_not_count_as_whole(shared_root: Path, tmp_path: Path) -> None:
    with running(shared_root, "--access-log", str(tmp_path / "log"), "--access-log-format", "json") as server:
        with server.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            connection.sendall(get(LARGE))
            connection.recv(1000)
        broken = b'shuffle_http_requests_total{route="partitions",status="broken-off"} 1.0'
        wait_until(lambda: broken in server.exchange(get("/metrics")))
        assert b'route="partitions",status="200"' not in server.exchange(get("/metrics"))
    line = json.loads((tmp_path / "log").read_text().splitlines()[0])
    assert line["broken_off"]
    assert 0 < line["bytes"] < 10 << 20
