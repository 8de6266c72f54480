"""Header, seals, note and footer as bytes."""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import pytest

from spill_format import CorruptError
from spill_format.framing import (
    BLOCK_DTYPE,
    FILE_START,
    IndexPlace,
    check_alignment,
    decode_place,
    encode_footer,
    encode_header,
    encode_place,
    find_place_note,
    metadata_length_of,
    read_batch_size,
    read_blocks,
    read_header_seal,
    read_seal,
    seal_metadata,
    sealed_crc32c,
)
from spill_format.writer import describe_schema
from tests.helpers.spills import FLAT_SCHEMA, flat_batch

SCHEMA_MESSAGE, TEMPLATE = describe_schema(FLAT_SCHEMA)
NOTE = encode_place(1, 0, IndexPlace(1000, 2000))


def blocks_of(*offsets: int) -> np.ndarray:
    blocks = np.zeros(len(offsets), dtype=BLOCK_DTYPE)
    blocks["offset"], blocks["metadata_length"], blocks["body_length"] = offsets, 64, 8
    return blocks


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


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_footer_lists_what_it_was_given(count: int) -> None:
    blocks = blocks_of(*range(64, 64 + 8 * count, 8))
    tail = encode_footer(TEMPLATE, NOTE, blocks)
    assert tail[-6:] == b"ARROW1"
    (length,) = struct.unpack_from("<i", tail, len(tail) - 10)
    footer = tail[:-10]
    assert length == len(footer)
    assert (len(footer) - blocks.nbytes) % 8 == 0
    assert read_blocks(footer, "x").tobytes() == blocks.tobytes()
    note = find_place_note(footer, "x")
    assert note is not None
    assert decode_place(note) == (1000, 2000)


def test_an_empty_footer_has_no_blocks() -> None:
    assert len(read_blocks(TEMPLATE, "x")) == 0


@pytest.mark.parametrize(
    ("template", "note", "message"),
    [
        (b"", NOTE, "not a readable flatbuffer"),
        (b"\xff" * 100, NOTE, "not a readable flatbuffer"),
        (bytes(100), NOTE, "no room for 88 bytes"),
        (TEMPLATE, "short", "no room for 5 bytes"),
    ],
)
def test_what_is_no_template_is_refused(template: bytes, note: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_footer(template, note, blocks_of())


def test_a_footer_has_a_limit() -> None:
    absurd = np.broadcast_to(blocks_of(64), (2**31 // 24 + 1,))
    with pytest.raises(ValueError, match="89478486 record batches do not fit a footer"):
        encode_footer(TEMPLATE, NOTE, absurd)


@pytest.mark.parametrize(
    "footer",
    [b"", b"\0", b"\xff" * 4, struct.pack("<Ii", 4, 100) + bytes(8), TEMPLATE[:64]],
    ids=["empty", "a byte", "root outside", "vtable before it", "cut"],
)
def test_what_is_no_footer_is_corrupt(footer: bytes) -> None:
    with pytest.raises(CorruptError, match="x: the Arrow footer is not a readable flatbuffer"):
        find_place_note(footer, "x")


@pytest.mark.parametrize(
    "note",
    [
        "",
        "{}",
        '{"version":"1.0","offset":1,"length":2',
        '{"version":"1.0","offset":1e3,"length":2}',
        '{"version":"1.0","offset":-1,"length":2}',
        '{"version":"1.0","offset":1,"length":2} x',
    ],
)
def test_what_is_no_note_names_no_place(note: str) -> None:
    assert decode_place(note.encode()) is None


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
