"""Note and footer as bytes."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from spill_format import CorruptError
from spill_format.encoder import describe_schema
from spill_format.footer import (
    BLOCK_DTYPE,
    IndexPlace,
    decode_place,
    encode_footer_frame,
    encode_place,
    find_place_note,
    read_blocks,
)
from tests.helpers.spills import FLAT_SCHEMA

_, TEMPLATE = describe_schema(FLAT_SCHEMA)
PLACE = IndexPlace(1000, 2000, 7)
NOTE = encode_place(1, 0, PLACE)


def blocks_of(*offsets: int) -> np.ndarray:
    blocks = np.zeros(len(offsets), dtype=BLOCK_DTYPE)
    blocks["offset"], blocks["metadata_length"], blocks["body_length"] = offsets, 64, 8
    return blocks


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_footer_lists_what_it_was_given(count: int) -> None:
    blocks = blocks_of(*range(64, 64 + 8 * count, 8))
    frame = encode_footer_frame(TEMPLATE, NOTE, count)
    tail = frame.start + blocks.tobytes() + frame.end
    assert tail[-6:] == b"ARROW1"
    (length,) = struct.unpack_from("<i", tail, len(tail) - 10)
    footer = tail[:-10]
    assert length == len(footer)
    assert (len(footer) - blocks.nbytes) % 8 == 0
    assert read_blocks(footer, "x").tobytes() == blocks.tobytes()
    note = find_place_note(footer, "x")
    assert note is not None
    assert decode_place(note) == PLACE


def test_an_empty_footer_has_no_blocks() -> None:
    assert len(read_blocks(TEMPLATE, "x")) == 0


@pytest.mark.parametrize(
    ("template", "note", "message"),
    [
        (b"", NOTE, "not a readable flatbuffer"),
        (b"\xff" * 100, NOTE, "not a readable flatbuffer"),
        (bytes(100), NOTE, "no room for 112 bytes"),
        (TEMPLATE, "short", "no room for 5 bytes"),
    ],
)
def test_what_is_no_template_is_refused(template: bytes, note: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_footer_frame(template, note, 0)


def test_a_footer_has_a_limit() -> None:
    with pytest.raises(ValueError, match="89478486 record batches do not fit a footer"):
        encode_footer_frame(TEMPLATE, NOTE, 2**31 // 24 + 1)


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
        '{"version":"1.0","offset":1,"length":2}',
        '{"version":"1.0","offset":1,"length":2,"partitions":3',
        '{"version":"1.0","offset":1e3,"length":2,"partitions":3}',
        '{"version":"1.0","offset":-1,"length":2,"partitions":3}',
        '{"version":"1.0","offset":1,"length":2,"partitions":3} x',
    ],
)
def test_what_is_no_note_names_no_place(note: str) -> None:
    assert decode_place(note.encode()) is None
