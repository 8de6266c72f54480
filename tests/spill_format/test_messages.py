"""Header, frames and seals of messages as bytes."""

from __future__ import annotations

import pyarrow as pa
import pytest

from spill_format.encoder import describe_schema
from spill_format.messages import (
    FILE_START,
    check_alignment,
    encode_header,
    metadata_length_of,
    read_batch_size,
    read_header_seal,
    read_seal,
    seal_metadata,
    sealed_crc32c,
)
from tests.helpers.spills import FLAT_SCHEMA, flat_batch

SCHEMA_MESSAGE, _ = describe_schema(FLAT_SCHEMA)


@pytest.mark.parametrize("alignment", [8, 64, 4096, 65536])
def test_a_header_is_aligned_sealed_and_read_by_arrow(alignment: int) -> None:
    header = encode_header(SCHEMA_MESSAGE, alignment, 7)
    assert header.startswith(FILE_START)
    assert len(header) % alignment == 0
    seal = read_header_seal(header[8:])
    assert seal == (7, alignment, sealed_crc32c(header[8:]))
    assert pa.ipc.read_schema(pa.py_buffer(header[8:])) == FLAT_SCHEMA


def test_a_header_is_made_of_another_ones() -> None:
    wide, narrow = encode_header(SCHEMA_MESSAGE, 4096, 7), encode_header(SCHEMA_MESSAGE, 8, 7)
    assert encode_header(wide[8:], 4096) == wide
    assert encode_header(narrow[8:], 4096) == wide
    seal = read_header_seal(encode_header(wide[8:], 8)[8:])
    assert seal is not None
    assert seal.alignment == 8


def test_a_header_needs_to_be_told_the_number_of_partitions() -> None:
    with pytest.raises(ValueError, match="does not say how many partitions"):
        encode_header(SCHEMA_MESSAGE, 8)


@pytest.mark.parametrize(
    ("alignment", "error"),
    [(0, ValueError), (-8, ValueError), (4, ValueError), (24, ValueError), (1 << 17, ValueError)]
    + [(value, TypeError) for value in (True, 64.0, "64", None)],
)
def test_what_is_no_alignment_is_refused(alignment: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="alignment"):
        check_alignment(alignment)


def test_a_sealed_message_is_read_by_arrow() -> None:
    batch = flat_batch(3)
    message = batch.serialize().to_pybytes()
    length = metadata_length_of(message)
    sealed = seal_metadata(message[:length], 5, 123, 32)
    assert len(sealed) == length + 32 + 16 == metadata_length_of(sealed)
    assert read_seal(sealed) == (5, 123, sealed_crc32c(sealed))
    assert read_header_seal(sealed) is None
    assert pa.ipc.read_record_batch(pa.py_buffer(sealed + message[length:]), FLAT_SCHEMA) == batch


@pytest.mark.parametrize("metadata", [b"", b"SEAL", bytes(64)])
def test_where_there_is_no_seal_none_is_read(metadata: bytes) -> None:
    assert read_seal(metadata) is None
    assert read_header_seal(metadata) is None


@pytest.mark.parametrize(
    "message", [b"", b"\xff" * 7, b"\xff" * 8, b"\xff" * 4 + bytes(4), b"\xff\xff\xff\xff\x07\0\0\0", bytes(16)]
)
def test_what_is_no_message_has_no_length(message: bytes) -> None:
    with pytest.raises(ValueError, match="message"):
        metadata_length_of(message)


@pytest.mark.parametrize("row_count", [0, 1, 1000])
def test_a_record_batch_says_how_large_it_is(row_count: int) -> None:
    message = memoryview(flat_batch(row_count).serialize())
    length = metadata_length_of(message)
    size = read_batch_size(message[:length])
    assert (size.row_count, size.body_bytes, size.node_count) == (row_count, len(message) - length, 2)


@pytest.mark.parametrize("flatbuffer", [b"", bytes(8), b"\xff" * 64])
def test_what_is_no_record_batch_has_no_size(flatbuffer: bytes) -> None:
    with pytest.raises(ValueError, match=r"flatbuffer|header|claims"):
        read_batch_size(bytes(8) + flatbuffer)
