"""Requests for several places: what they ask for, and of how many files at a time."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shuffle.client import PartitionClient, Place
from shuffle.serve.catalog import Catalog, ServedFile
from shuffle.serve.representation import FileSpan, PartitionsStream, stream_of
from shuffle.serve.resource import PartitionsResource
from shuffle.serve.several import AskedPlace, Part, parts_of, segments_of
from shuffle.wire import MULTIPART_END
from spill_format import SpillError
from tests.helpers.servers import Server, read_all, running
from tests.helpers.spills import open_files_in, random_spill
from tests.helpers.stretches import Others

PLACES = b'["/a.arrow/partitions/0"]'


def post(body: bytes, fields: str = "", byte_count: int | None = None) -> bytes:
    length = "" if "chunked" in fields else f"Content-Length: {byte_count or len(body)}\r\n"
    return f"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}{fields}\r\n".encode() + body


ANSWERED = [
    (post(rb'["/\ud800.arrow/partitions/0"]'), 400),
    (post(rb'["/\udcff.arrow/partitions/0"]'), 400),
    (post(rb'["http://[/a.arrow/partitions/0"]'), 404),
    (post(b'["/\xff"]'), 400),
    (post(b"[" * 100_000), 400),
    (post(b"no gzip", "Content-Encoding: gzip\r\n"), 400),
    (post(b"no deflate", "Content-Encoding: deflate\r\n"), 400),
    (post(gzip.compress(PLACES)[:15], "Content-Encoding: gzip\r\n"), 400),
    (post(gzip.compress(bytes(100 << 20)), "Content-Encoding: gzip\r\n"), 413),
    (post(gzip.compress(PLACES), "Content-Encoding: gzip\r\n"), 200),
    (post(zlib.compress(PLACES), "Content-Encoding: deflate\r\n"), 200),
    (post(b"no chunk\r\n", "Transfer-Encoding: chunked\r\n"), 400),
    (post(b"19\r\n%b\r\n0\r\n\r\n" % PLACES, "Transfer-Encoding: chunked\r\n"), 200),
]
CUT_OFF = [
    post(PLACES[:9], byte_count=25),
    post(b"5\r\n[", "Transfer-Encoding: chunked\r\n"),
    post(b"5\r\n[\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n"),
]


@pytest.fixture(scope="module", params=[{}, {"AIOHTTP_NO_EXTENSIONS": "1"}], ids=["C", "Python"])
def server(request: pytest.FixtureRequest, shared_root: Path) -> Iterator[Server]:
    """A server with either of aiohttp's parsers, whose errors are of other classes."""
    with running(shared_root, **request.param) as started:
        yield started


@pytest.mark.parametrize("pause_seconds", [0, 0.05])
@pytest.mark.parametrize(("request_bytes", "status"), ANSWERED)
def test_what_a_body_is_answered_with(server: Server, request_bytes: bytes, status: int, pause_seconds: float) -> None:
    head, end, body = request_bytes.partition(b"\r\n\r\n")
    with server.connect() as connection, suppress(ConnectionError):  # answered before it had said all
        connection.sendall(head + end + body[:1])
        time.sleep(pause_seconds)
        connection.sendall(body[1:])
        assert int(read_all(connection).split(b" ", 2)[1]) == status


def resetting(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


@pytest.mark.parametrize("leave", [socket.socket.close, resetting, lambda it: it.shutdown(socket.SHUT_WR)])
def test_no_body_is_a_fault_of_the_servers(shared_root: Path, leave: Callable[[socket.socket], None]) -> None:
    """However a client leaves that sent one: nothing is logged but faults."""
    with running(shared_root) as server:
        for request_bytes in [*CUT_OFF, *(request_bytes for request_bytes, _ in ANSWERED)]:
            with server.connect() as connection:
                connection.sendall(request_bytes)
                time.sleep(0.02)
                leave(connection)
        assert server.status_of(b"/healthz") == 200
        server.stop()
        assert server.process.stderr is not None
        assert server.process.stderr.read() == "shuffle: terminated\n"


@pytest.fixture
def names(tmp_path: Path) -> list[str]:
    """Of files below the test's directory, each with partitions of 3 and 5 rows."""
    listed = [f"{number}.arrow" for number in range(12)]
    for name in listed:
        random_spill(tmp_path / name, [3, 5])
    return listed


async def stream(file: ServedFile, resource: PartitionsResource) -> PartitionsStream:
    extent = file.extent(resource.start, resource.stop)
    assert extent is not None
    return stream_of(file, extent)


def described(names: list[str], catalog: Catalog, partition: int = 1) -> list[Part]:
    """The parts of an answer with one partition of each file."""

    async def open_file(name: str) -> ServedFile:
        return catalog.open(name)

    places = [
        AskedPlace(f"/{name}/partitions/{partition}", PartitionsResource(name, partition, partition + 1))
        for name in names
    ]
    return asyncio.run(parts_of(places, open_file, stream))


def test_one_file_is_open_at_a_time(names: list[str], tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, 1)
    parts = described(names, catalog)
    assert open_files_in(tmp_path) == []
    open_counts = []
    for segment in segments_of(parts, catalog):
        open_counts.append(len(open_files_in(tmp_path)))
        assert isinstance(segment, bytes) or open_files_in(tmp_path) == [str(tmp_path / segment.file.name)]
    assert set(open_counts) == {0, 1}
    assert open_files_in(tmp_path) == []


def test_an_answer_that_ends_early_leaves_no_file_open(names: list[str], tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, 1)
    segments = segments_of(described(names, catalog), catalog)
    assert [type(next(segments)) for _ in range(3)][-1] is FileSpan
    assert len(open_files_in(tmp_path)) == 1
    segments.close()
    assert open_files_in(tmp_path) == []


def test_a_file_that_is_replaced_between_is_never_sent(names: list[str], tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, 1)
    parts = described(names, catalog)
    random_spill(tmp_path / "new", [3, 5]).rename(tmp_path / names[1])
    with pytest.raises(SpillError, match=r"1\.arrow: the file was replaced before it was sent"):
        list(segments_of(parts, catalog))
    assert open_files_in(tmp_path) == []


def test_others_get_their_turn_while_parts_are_described(names: list[str], tmp_path: Path) -> None:
    async def open_slowly(name: str) -> ServedFile:
        time.sleep(0.01)  # noqa: ASYNC251 (it is busy, not waiting)
        return Catalog(tmp_path, 1).open(name)

    async def describe() -> int:
        async with Others() as others:
            asked = [AskedPlace("/x", PartitionsResource(name, 0, 2)) for name in names]
            await parts_of(asked, open_slowly, stream)
        return others.turn_count

    assert asyncio.run(describe()) >= len(names)


def test_more_files_may_be_asked_for_than_may_be_open(tmp_path: Path) -> None:
    """Also than there are descriptors; and what arrives is what was asked for."""
    names = [f"{number}.arrow" for number in range(200)]
    for number, name in enumerate(names):
        random_spill(tmp_path / name, [number])
    with running(tmp_path, "--open-files", "2") as server:
        used = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (used + 20, used + 20))
        with PartitionClient() as client:
            fetched = list(client.read_many([Place.of(f"{server.url}/{name}", 0) for name in names]))
        assert [each.table.num_rows for each in fetched] == list(range(200))
        body = json.dumps([f"/{name}/partitions/0" for name in names]).encode()
        answered = server.exchange(post(body))
    assert answered.startswith(b"HTTP/1.1 200 ")
    assert answered.endswith(MULTIPART_END)
