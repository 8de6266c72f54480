"""Header, frames and seals of messages as bytes; and which messages are sound."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pyarrow as pa
import pytest

from spill_format import ChecksumError
from spill_format.checksum import crc32c
from spill_format.encoder import describe_schema
from spill_format.messages import (
    FILE_START,
    MAXIMUM_ALIGNMENT,
    MINIMUM_ALIGNMENT,
    MessageDefect,
    check_alignment,
    decompressed_bytes,
    encode_header,
    find_defect,
    metadata_length_of,
    read_batch_size,
    read_codec,
    read_header_seal,
    read_seal,
    seal_metadata,
    sealed_crc32c,
)
from spill_format.serializer import Serializer
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


def test_the_least_and_the_largest_alignment_are_powers_of_two() -> None:
    assert (MINIMUM_ALIGNMENT, MAXIMUM_ALIGNMENT) == (1 << 3, 1 << 16)


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


def test_a_prefix_is_enough_for_a_message_s_length() -> None:
    message = flat_batch(3).serialize().to_pybytes()
    assert metadata_length_of(message[:8]) == metadata_length_of(message)


def test_a_seal_needs_room_for_the_least_metadata() -> None:
    sealed = seal_metadata(bytes(16), 1, 2, 0)
    assert len(sealed) == 32
    assert read_seal(sealed) == (1, 2, sealed_crc32c(sealed))
    assert read_seal(sealed[1:]) is None


def sealed_message(partition: int = 5) -> tuple[bytes, int]:
    """A sound message, and the length of its metadata."""
    message = flat_batch(3).serialize().to_pybytes()
    length = metadata_length_of(message)
    metadata = seal_metadata(message[:length], partition, crc32c(message[length:]), 8)
    return metadata + message[length:], len(metadata)


def with_other_byte(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_a_message_is_sound_until_something_of_it_changes() -> None:
    content, length = sealed_message()
    assert find_defect(content, length, 5) is None
    assert find_defect(content, length, None) is None
    assert find_defect(content, length, 6) == ("the record batch was written for another partition", 6, 5, False)

    def defect_of(changed: bytes, metadata_length: int = length) -> MessageDefect:
        defect = find_defect(changed, metadata_length, 5)
        assert defect is not None
        return defect

    assert defect_of(bytes(8) + content[8:]).problem == "no message starts with 00 00 00 00 00 00 00 00"
    assert defect_of(content, length + 8) == ("length of a record batch's metadata", length + 8, length, False)
    assert defect_of(with_other_byte(content, length - 16)).problem == "the record batch has no seal"
    seal = read_seal(content[:length])
    assert seal is not None
    changed = with_other_byte(content, length - 20)
    expected, actual = f"{seal.metadata_crc32c:08x}", f"{sealed_crc32c(changed[:length]):08x}"
    assert defect_of(changed) == ("CRC-32C of a record batch's metadata", expected, actual, True)
    changed = with_other_byte(content, len(content) - 1)
    expected, actual = f"{seal.body_crc32c:08x}", f"{crc32c(changed[length:]):08x}"
    assert defect_of(changed) == ("CRC-32C of a record batch's body", expected, actual, True)


@pytest.mark.parametrize("is_of_checksum", [False, True])
def test_a_defect_becomes_the_error_of_its_place(is_of_checksum: bool) -> None:
    defect = MessageDefect("wrong", 1, 2) if not is_of_checksum else MessageDefect("wrong", 1, 2, True)
    error = defect.error("x.arrow", 3, 64, "do this")
    assert isinstance(error, ChecksumError) == is_of_checksum
    assert (error.path, error.partition, error.offset) == ("x.arrow", 3, 64)
    assert str(error) == "x.arrow, partition 3, offset 64: wrong: expected 1, found 2; do this"


COLUMN = pa.record_batch({"n": pa.array(range(1000), pa.int64()), "text": ["abc"] * 1000})
PLAIN_BYTES = 8 * 1000 + 4 * 1001 + 3 * 1000


def serialized(compression: str | None, batch: pa.RecordBatch = COLUMN) -> tuple[memoryview, int]:
    metadata, body = Serializer(batch.schema, compression).serialize(batch)
    return memoryview(b"".join((metadata, *body))), len(metadata)


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_a_message_tells_its_codec_and_what_it_takes_decompressed(codec: str | None) -> None:
    message, length = serialized(codec)
    assert read_codec(message[:length]) == codec
    expected = PLAIN_BYTES if codec else len(message) - length
    assert decompressed_bytes(message, length) == expected


@pytest.mark.parametrize(("claimed", "is_taken"), [(-1, False), (0, True), (1 << 40, True)])
def test_a_buffer_says_how_large_it_is_or_that_it_is_stored_as_it_is(claimed: int, is_taken: bool) -> None:
    batch = COLUMN.select(["n"])
    message, length = serialized("zstd", batch)
    changed = bytearray(message)
    struct.pack_into("<q", changed, length, claimed)
    found = decompressed_bytes(memoryview(changed), length)
    if is_taken:
        assert found == claimed
    else:  # but for the padding
        assert 0 <= len(message) - length - found < 8


def test_a_buffer_outside_of_the_body_is_refused() -> None:
    message, length = serialized("zstd")
    with pytest.raises(ValueError, match="the message's buffers cannot be read"):
        decompressed_bytes(message[: length + 8], length)


def test_a_codec_that_arrow_did_not_have_is_refused() -> None:
    message, length = serialized("zstd")
    refusals = 0
    for place in range(8, length):
        if message[place] == 1:  # zstd's number, and others
            changed = bytearray(message[:length])
            changed[place] = 7
            try:
                read_codec(bytes(changed))
            except ValueError as error:
                refusals += str(error) == "the record batch is compressed with an unknown codec, number 7"
    assert refusals == 1


EMPTY_TABLE = struct.pack("<IHHi", 8, 4, 4, 4)
"""A message without any field, as a flatbuffer."""
EMPTY_BATCH = struct.pack("<IHHHHH2xiIHHi", 16, 10, 8, 0, 0, 4, 12, 8, 4, 4, 4)
"""A message whose header has no fields, all of which have their defaults then."""


@pytest.mark.parametrize("read", [read_codec, read_batch_size])
@pytest.mark.parametrize(
    ("flatbuffer", "problem"), [(b"", "not a readable flatbuffer"), (EMPTY_TABLE, "the message has no header")]
)
def test_what_has_no_header_is_no_record_batch(
    read: Callable[[bytes], object], flatbuffer: bytes, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        read(bytes(8) + flatbuffer)


def test_what_a_message_leaves_out_has_its_default() -> None:
    assert read_batch_size(bytes(8) + EMPTY_BATCH) == (0, 0, 0)
    assert read_codec(bytes(8) + EMPTY_BATCH) is None


@pytest.mark.parametrize("field", ["rows", "body"])
def test_no_size_is_negative(field: str) -> None:
    message, length = serialized(None)
    size = struct.pack("<q", 1000 if field == "rows" else len(message) - length)
    metadata = bytes(message[:length])
    places = [place for place in range(8, length - 7) if metadata[place : place + 8] == size]
    refusals = 0
    for place in places:
        try:
            read_batch_size(metadata[:place] + struct.pack("<q", -1) + metadata[place + 8 :])
        except ValueError as error:
            refusals += "claims" in str(error) and "-1" in str(error)
    assert refusals == 1
