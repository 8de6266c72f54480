"""Files that are read by ranges: from a real HTTP server through fsspec, from pyarrow's file systems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.fs
import pytest

from shuffle.testing import write_spill
from spill_format import ChecksumError, NotPartitionedError, SpillFile, TruncatedError
from spill_format.remote import RemoteSpillFile
from spill_format.storage.remote import RemoteStorage
from tests.helpers.anatomy import Anatomy
from tests.helpers.http_files import HttpFiles, http_files
from tests.helpers.spills import flat_batch, write_sample


@pytest.fixture
def path(verified_dir: Path) -> Path:
    return write_sample(verified_dir / "sample.arrow")


@pytest.fixture
def server(verified_dir: Path) -> Iterator[HttpFiles]:
    fsspec.filesystem("http").clear_instance_cache()
    with http_files(verified_dir) as files:
        yield files


FILESYSTEMS = {
    "pyarrow local": pyarrow.fs.LocalFileSystem,
    "fsspec local": lambda: fsspec.filesystem("file"),
    "pyarrow over fsspec": lambda: pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fsspec.filesystem("file"))),
}


@pytest.mark.parametrize("filesystem", FILESYSTEMS.values(), ids=FILESYSTEMS.keys())
def test_a_remote_file_reads_as_a_local_one(path: Path, filesystem: type) -> None:
    with SpillFile(path) as local, RemoteSpillFile(str(path), filesystem()) as remote:
        assert remote.schema == local.schema
        assert remote.layout.offsets.tolist() == local.layout.offsets.tolist()
        assert remote.batch_counts.tolist() == local.batch_counts.tolist()
        for first in range(4):
            assert remote.read(first) == local.read(first)
            for last in range(first, 5):
                assert remote.read(first, last) == local.read(first, last)
        assert remote.read(0, 4, columns=["s"]) == local.read(0, 4, columns=["s"])
        assert remote.batches(2).read_all() == local.read(2)
        with pytest.raises(IndexError):
            remote.read(4)


def test_a_small_file_takes_one_request_to_open_and_one_a_read(path: Path, server: HttpFiles) -> None:
    with RemoteSpillFile(f"{server.url}/{path.name}") as remote, SpillFile(path) as local:
        size = path.stat().st_size
        assert server.requests == [("HEAD", 0, size), ("GET", 0, size)]
        for first, last in ((0, 1), (2, 3), (0, 4)):
            del server.requests[:]
            assert remote.read(first, last) == local.read(first, last)
            start, end = local.range_of(first, last)
            assert server.requests == [("GET", start, end - start)]
        del server.requests[:]
        assert remote.read(1).num_rows == 0
        assert server.requests == []


@pytest.mark.parametrize(("partition_count", "requests"), [(500, 3), (20_000, 4)])
def test_a_large_file_is_opened_by_few_requests(
    verified_dir: Path, server: HttpFiles, partition_count: int, requests: int
) -> None:
    partitions = {partition: [flat_batch(2, partition)] for partition in range(0, partition_count, 2)}
    path = write_spill(partitions, verified_dir / "x.arrow", partition_count=partition_count)
    with RemoteSpillFile(f"{server.url}/x.arrow") as remote, SpillFile(path) as local:
        assert len(server.requests) == requests  # size, end and start; where the end was too short, the index's
        ranges_bytes = local.layout.byte_count
        read_bytes = sum(count for method, _, count in server.requests if method == "GET")
        assert read_bytes < path.stat().st_size - ranges_bytes + (72 << 10) + 100
        assert remote.read(7, 12) == local.read(7, 12)
        assert len(server.requests) == requests + (3 if partition_count > 2048 else 1)  # two kinds of blocks; ranges


def test_dictionaries_have_their_types_again(verified_dir: Path, server: HttpFiles) -> None:
    batch = pa.record_batch({"d": pa.array(["a", "b", "a"]).dictionary_encode(), "n": np.arange(3)})
    write_spill({0: [batch]}, verified_dir / "x.arrow", schema=batch.schema, partition_count=1, compression="zstd")
    with RemoteSpillFile(f"{server.url}/x.arrow") as remote:
        assert remote.read(0).to_batches() == [batch]
        assert remote.read(0, columns=["d"]).schema == batch.schema.remove(1)


def test_a_file_that_is_replaced_between_reads_is_not_mixed(path: Path, server: HttpFiles) -> None:
    with RemoteSpillFile(f"{server.url}/{path.name}") as remote:
        original = path.read_bytes()
        path.write_bytes(original[:-200])
        sound = Anatomy.cut(original)
        path.write_bytes(sound.patched(sound.offsets[2] + 300, b"\xee"))
        with pytest.raises(ChecksumError) as caught:
            remote.read(2)
        assert caught.value.partition == 2
        path.write_bytes(original[: sound.offsets[2] + 10])
        with pytest.raises(TruncatedError, match="another number of bytes"):
            remote.read(2)
        path.write_bytes(original)


def test_a_shorter_file_ends_too_early(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"12345")
    too_early = pytest.raises(
        TruncatedError, match="short, offset 2: the file ends too early: expected 4 bytes, found 3"
    )
    with RemoteStorage(pyarrow.fs.LocalFileSystem()).open(tmp_path / "short") as file, too_early:
        file.read_at(2, 4)


def test_what_is_no_partitioned_file_is_refused(tmp_path: Path) -> None:
    with pa.ipc.new_file(tmp_path / "plain", pa.schema([("n", pa.int64())])):
        pass
    with pytest.raises(NotPartitionedError):
        RemoteSpillFile(str(tmp_path / "plain"), pyarrow.fs.LocalFileSystem())
    with pytest.raises(FileNotFoundError):
        RemoteSpillFile(str(tmp_path / "none"), pyarrow.fs.LocalFileSystem())
