"""The index section; what is wrong with a damaged one is in tests/faults/test_corrupt_files.py."""

from __future__ import annotations

import dataclasses
import struct

import numpy as np
import pytest
from crc32c import crc32c

from spill_format import CorruptError, PartitionLayout, VersionError
from spill_format.index import PartitionIndex, check_version, decode, version_of


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
    )


def with_checksum(section: bytes) -> bytes:
    return section[:-4] + struct.pack("<I", crc32c(section[:-4]))


def test_messages_are_where_the_lengths_say(index: PartitionIndex) -> None:
    assert index.message_lengths.tolist() == [56, 72, 64]
    assert index.message_offsets.tolist() == [64, 120, 192, 256]
    assert index.first_messages.tolist() == [0, 2, 2, 3]
    assert index.blocks().tolist() == [(64, 40, 16), (120, 48, 24), (192, 56, 8)]


def test_the_arrays_of_a_decoded_index_are_views_of_the_section(index: PartitionIndex) -> None:
    section = index.encode()
    decoded = decode(section)
    whole = np.frombuffer(section, dtype=np.uint8)
    for array in (decoded.layout.offsets, decoded.layout.rows, decoded.body_lengths, decoded.metadata_lengths):
        assert array is not None
        assert np.shares_memory(array, whole)
        assert not array.flags.writeable


def test_a_file_without_record_batches_has_an_index() -> None:
    layout = PartitionLayout(np.full(6, 64), np.zeros(5, dtype=np.int64), np.zeros(5, dtype=np.uint32))
    empty = PartitionIndex(layout, 64, np.zeros(0, np.int32), np.zeros(0, np.int64), b"")
    decoded = decode(empty.encode())
    assert decoded.layout.partition_count == 5
    assert decoded.first_messages.tolist() == [0] * 6
    assert len(decoded.blocks()) == 0


def test_an_index_needs_rows_and_checksums(index: PartitionIndex) -> None:
    bare = dataclasses.replace(index, layout=PartitionLayout(index.layout.offsets))
    with pytest.raises(ValueError, match="needs the rows and checksums"):
        bare.encode()


def test_a_newer_minor_version_may_add_behind_the_template(index: PartitionIndex) -> None:
    section = bytearray(index.encode())
    section[-8:-8] = b"added!!!"
    struct.pack_into("<Q", section, 16, len(section))
    with pytest.raises(CorruptError, match="its length differs from that of its arrays"):
        decode(with_checksum(bytes(section)))
    struct.pack_into("<H", section, 10, 1)
    newer = with_checksum(bytes(section))
    assert decode(newer).footer_template == b"template"
    assert version_of(newer) == (1, 1)


@pytest.mark.parametrize(("major", "advice"), [(2, "upgrade"), (65535, "upgrade"), (0, "no release")])
def test_another_major_version_is_refused(index: PartitionIndex, major: int, advice: str) -> None:
    section = bytearray(index.encode())
    struct.pack_into("<H", section, 8, major)
    with pytest.raises(VersionError, match=f"x.arrow, offset 99: version of the format: .*found {major}.0; .*{advice}"):
        decode(bytes(section), "x.arrow", 99)


@pytest.mark.parametrize("minor", [0, 1, 65535])
def test_every_minor_version_of_this_major_is_read(minor: int) -> None:
    check_version(1, minor, "x.arrow")


def test_pieces_are_the_section_and_hold_no_copies_of_the_arrays(index: PartitionIndex) -> None:
    pieces = list(index.encode_pieces())
    assert b"".join(pieces) == index.encode()
    assert sum(map(len, pieces)) == index.encoded_length
    views = [np.frombuffer(piece, dtype=np.uint8) for piece in pieces if isinstance(piece, memoryview)]
    for array in (index.layout.offsets, index.layout.rows, index.layout.crc32c, index.body_lengths):
        assert any(np.shares_memory(array, view) for view in views)
