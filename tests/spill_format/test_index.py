"""The index section; what is wrong with a damaged one is in tests/faults/test_corrupt_files.py."""

from __future__ import annotations

import dataclasses
import struct

import numpy as np
import pytest
from crc32c import crc32c

from spill_format import CorruptError, PartitionLayout, VersionError
from spill_format.index import PartitionIndex
from spill_format.index_reader import IndexReader, check_version
from spill_format.storage.windows import ReadAt


@pytest.fixture
def index() -> PartitionIndex:
    """Three partitions of two, no and one messages."""
    return PartitionIndex(
        layout=PartitionLayout(
            np.array([64, 192, 192, 256], dtype=np.int64),
            np.array([7, 0, 1], dtype=np.int64),
            np.array([1, 0, 2**32 - 1], dtype=np.uint32),
        ),
        alignment=64,
        metadata_lengths=np.array([40, 48, 56], dtype=np.int32),
        body_lengths=np.array([16, 24, 8], dtype=np.int64),
        footer_template=b"template",
        partitioner=b"partitioner",
    )


def reading(section: bytes | bytearray, start: int, log: list[int] | None = None) -> ReadAt:
    def read(offset: int, byte_count: int) -> bytes:
        if log is not None:
            log.append(byte_count)
        return bytes(section[offset - start : offset - start + byte_count])

    return read


def test_messages_are_where_the_lengths_say(index: PartitionIndex) -> None:
    assert index.message_lengths.tolist() == [56, 72, 64]
    assert index.message_offsets.tolist() == [64, 120, 192, 256]
    assert index.first_messages.tolist() == [0, 2, 2, 3]
    (blocks,) = index.blocks()
    assert blocks.tolist() == [(64, 40, 16), (120, 48, 24), (192, 56, 8)]


def test_a_file_without_record_batches_has_an_index() -> None:
    layout = PartitionLayout(np.full(6, 64), np.zeros(5, dtype=np.int64), np.zeros(5, dtype=np.uint32))
    empty = PartitionIndex(layout, 64, np.zeros(0, np.int32), np.zeros(0, np.int64), b"")
    section = empty.encode()
    read = reading(section, 72)
    decoded = IndexReader.open(read, "x", 72 + len(section)).whole(read)
    assert decoded.layout.partition_count == 5
    assert decoded.first_messages.tolist() == [0] * 6
    assert not list(decoded.blocks())


def test_an_index_needs_rows_and_checksums(index: PartitionIndex) -> None:
    bare = dataclasses.replace(index, layout=PartitionLayout(index.layout.offsets))
    with pytest.raises(ValueError, match="needs the rows and checksums"):
        bare.encode()


def test_a_newer_minor_version_may_add_to_the_details(index: PartitionIndex) -> None:
    section = bytearray(index.encode())
    section[-112:-112] = b"added!!!"
    (details_length,) = struct.unpack_from("<I", section, len(section) - 24)
    struct.pack_into("<Q", section, len(section) - 64, len(section))
    struct.pack_into("<I", section, len(section) - 24, details_length + 8)
    struct.pack_into("<I", section, len(section) - 12, crc32c(section[-112 - details_length - 8 : -112]))

    def opened(minor: int) -> IndexReader:
        struct.pack_into("<H", section, len(section) - 70, minor)
        struct.pack_into("<I", section, len(section) - 4, crc32c(section[-80:-4]))
        return IndexReader.open(reading(section, 264), "x", 264 + len(section))

    with pytest.raises(CorruptError, match="length of its details"):
        opened(0)
    newer = opened(1)
    assert (newer.footer_template, newer.partitioner, newer.summary.minor) == (b"template", b"partitioner", 1)


@pytest.mark.parametrize(("major", "advice"), [(2, "upgrade"), (65535, "upgrade"), (0, "no release")])
def test_another_major_version_is_refused(index: PartitionIndex, major: int, advice: str) -> None:
    section = bytearray(index.encode())
    struct.pack_into("<H", section, len(section) - 72, major)
    with pytest.raises(VersionError, match=f"x.arrow, offset .*: version of the format: .*found {major}.0; .*{advice}"):
        IndexReader.open(reading(section, 264), "x.arrow", 264 + len(section))


@pytest.mark.parametrize("minor", [0, 1, 65535])
def test_every_minor_version_of_this_major_is_read(minor: int) -> None:
    check_version(1, minor, "x.arrow")


def wide_index(partition_count: int, messages_each: int) -> PartitionIndex:
    """Partitions of as many messages of 64 bytes each."""
    count = partition_count * messages_each
    return PartitionIndex(
        PartitionLayout(
            64 + 64 * messages_each * np.arange(partition_count + 1),
            np.full(partition_count, messages_each),
            np.arange(partition_count, dtype=np.uint32),
        ),
        64,
        np.full(count, 40, np.int32),
        np.full(count, 24, np.int64),
        b"template",
    )


@pytest.mark.parametrize("partition", [0, 2047, 2048, 4999])
def test_a_partition_costs_a_few_blocks_however_many_there_are(partition: int) -> None:
    section, start = wide_index(5000, 100).encode(), 64 + 64 * 500_000 + 8
    log: list[int] = []
    read = reading(section, start, log)
    part = IndexReader.open(read, "x", start + len(section)).part(read, partition, partition + 1)
    assert part.layout.offsets.tolist() == [64 + 6400 * partition, 64 + 6400 * (partition + 1)]
    assert (part.message_lengths == 64).all()
    assert len(part.body_lengths) == 100
    assert sum(log) < 4 * 48 * 1024 + 1024
    assert len(section) > 6_000_000


def test_an_index_of_holes_is_refused_before_memory_is_taken() -> None:
    """Counts and checksums are right, as a forger can make them; the entries are a hole of zeroes."""
    partition_count, block_length = 1 << 20, 2048 * 24
    section = bytearray(wide_index(partition_count, 0).encode())
    details = 8 + 24 * (partition_count + 1)
    section[8:details] = bytes(details - 8)
    table = struct.pack("<I", crc32c(bytes(block_length))) * (partition_count // 2048)
    section[details : details + len(table)] = table
    struct.pack_into("<I", section, len(section) - 12, crc32c(section[details:-112]))
    struct.pack_into("<I", section, len(section) - 4, crc32c(section[-80:-4]))
    log: list[int] = []
    read = reading(section, 72, log)
    reader = IndexReader.open(read, "x", 72 + len(section))
    with pytest.raises(CorruptError, match="offset: expected 32 or more, found 0"):
        reader.whole(read)
    assert sum(log) < 4 << 20
