"""What a stream goes to fails: that is told as what it is, at once, and nothing is lost in silence."""

from __future__ import annotations

import errno
import io
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shuffle.client import PartitionClient, Place
from shuffle.client.download import Download
from shuffle.client.pool import ConnectionPool
from shuffle.client.sinks import FileSink, MemorySink
from tests.helpers.commands import command_line
from tests.helpers.proxies import proxied
from tests.helpers.servers import BOUND_SECONDS, Server
from tests.shuffle.client.test_client import LARGE, QUICK, stream_of


@contextmanager
def limited(kind: int, limit: int) -> Iterator[None]:
    """Let this process have no more of something."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


class FullOnce(io.BytesIO):
    """Takes nothing the second time that it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self._writes = 0

    def write(self, data: Any) -> int:
        self._writes += 1
        if self._writes == 2:
            raise BlockingIOError(errno.EAGAIN, "full")
        return super().write(data)


class Sparing(io.RawIOBase):
    """Takes some bytes at a time."""

    def __init__(self) -> None:
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = memoryview(data)[:100_000]
        self.taken += piece
        return len(piece)


def test_a_pipe_that_takes_nothing_ends_the_download(server: Server, shared_root: Path) -> None:
    full = FullOnce()
    with proxied(server.address) as proxy, PartitionClient(QUICK) as client:
        with pytest.raises(BlockingIOError, match="full"):
            client.pipe(f"{proxy.url}/{LARGE}", 1, None, full)
        assert len(proxy.heads) == 1
    assert stream_of(shared_root, LARGE, 1, 2).startswith(full.getvalue())


def test_a_pipe_that_takes_some_bytes_at_a_time_gets_them_all(server: Server, shared_root: Path) -> None:
    sparing = Sparing()
    with PartitionClient(QUICK) as client:
        client.pipe(f"{server.url}/{LARGE}", 1, None, sparing)  # type: ignore[arg-type]  # of IO it has what is needed
    assert sparing.taken == stream_of(shared_root, LARGE, 1, 2)


def test_a_pipe_that_does_not_block_loses_nothing(server: Server) -> None:
    output, input_ = os.pipe()
    os.set_blocking(input_, False)
    with (
        PartitionClient(QUICK) as client,
        open(output, "rb"),
        open(input_, "wb", buffering=0) as raw,
        pytest.raises(BlockingIOError),
    ):
        client.pipe(f"{server.url}/{LARGE}", 1, None, raw)


def test_a_reader_that_has_enough_ends_the_command(server: Server) -> None:
    with proxied(server.address) as proxy:
        fetching = subprocess.Popen(
            command_line(f"shuffle fetch {proxy.url}/{LARGE} -p 1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        with fetching:
            assert fetching.stdout is not None
            fetching.stdout.read(1)
            fetching.stdout.close()
            assert fetching.wait(BOUND_SECONDS) != 0
        assert len(proxy.heads) == 1


def test_a_file_that_may_not_grow_is_no_fault_of_the_network(server: Server, tmp_path: Path) -> None:
    with proxied(server.address) as proxy, PartitionClient(QUICK) as client:
        with limited(resource.RLIMIT_FSIZE, 3 << 20), pytest.raises(OSError, match="File too large") as caught:
            client.save(f"{proxy.url}/{LARGE}", 1, None, tmp_path / "saved")
        assert caught.value.errno == errno.EFBIG
        assert len(proxy.heads) == 1
    assert list(tmp_path.iterdir()) == []


def test_too_many_open_files_are_no_fault_of_the_network(server: Server, tmp_path: Path) -> None:
    connections = ConnectionPool(QUICK)
    place = Place.of(f"{server.url}/{LARGE}", 1)
    Download(place, MemorySink(), connections, QUICK).run()  # its connection stays
    with open(tmp_path / "x", "w+b") as file:
        next_descriptor = os.dup(file.fileno())
        os.close(next_descriptor)
        with limited(resource.RLIMIT_NOFILE, next_descriptor), pytest.raises(OSError, match="Too many open") as caught:
            Download(place, FileSink(file.fileno()), connections, QUICK).run()
    connections.close()
    assert caught.value.errno == errno.EMFILE


def test_a_file_that_nothing_is_spliced_into_is_written(server: Server, shared_root: Path, tmp_path: Path) -> None:
    connections = ConnectionPool(QUICK)
    with open(tmp_path / "x", "a+b") as appended:
        sink = FileSink(appended.fileno())
        Download(Place.of(f"{server.url}/{LARGE}", 1), sink, connections, QUICK).run()
    connections.close()
    assert (tmp_path / "x").read_bytes() == stream_of(shared_root, LARGE, 1, 2)
