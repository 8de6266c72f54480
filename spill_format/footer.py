"""The Arrow footer of a file: made of a template, with the note of the index and the list of record batches.

Pure, and free of pyarrow: a merge builds its target's footer with what is here. FORMAT.md section 7 is the byte layout.
"""
# PURE

from __future__ import annotations

import re
import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import REPAIR_ADVICE, CorruptError
from .flatbuffer import field_position, unsigned, vector
from .messages import MAGIC, padding_to

FOOTER_KEY = "spill_format"
"""The key of the footer's custom metadata under which the index section's place is written."""
FOOTER_TAIL_LENGTH = 4 + len(MAGIC)
_NOTE_WIDTH = 112  # the largest numbers fit, so that a merge can rewrite the note in place
_NOTE_VERSION = re.compile(rb'\{"version":"([0-9]{1,5})\.([0-9]{1,5})"')
_NOTE = re.compile(
    _NOTE_VERSION.pattern + rb',"offset":([0-9]{1,19}),"length":([0-9]{1,19}),"partitions":([0-9]{1,10})\} *'
)
_FOOTER_BLOCKS_SLOT = 3  # fields of Arrow's Footer table, in the order of its schema (File.fbs)
_FOOTER_METADATA_SLOT = 4
_MAXIMUM_FOOTER_LENGTH = 2**31 - 1

BLOCK_DTYPE = np.dtype(
    {
        "names": ["offset", "metadata_length", "body_length"],
        "formats": ["<i8", "<i4", "<i8"],
        "offsets": [0, 8, 16],
        "itemsize": 24,
    }
)
"""Arrow's ``Block``: where a message is in the file, the length of its metadata with the prefix, and of its body."""

Blocks = npt.NDArray[np.void]


class IndexPlace(NamedTuple):
    """Where the index section is in the file, in bytes, and for how many partitions it is."""

    offset: int
    length: int
    partition_count: int


def encode_place(major: int, minor: int, place: IndexPlace) -> str:
    """The footer's note of the index section: JSON, padded with spaces to a width that never changes (section 7.1)."""
    offset, length, partition_count = place
    note = f'{{"version":"{major}.{minor}","offset":{offset},"length":{length},"partitions":{partition_count}}}'
    return note.ljust(_NOTE_WIDTH)


def decode_place_version(note: bytes) -> tuple[int, int] | None:
    """Major and minor version from the start of the footer's note, or None where it does not begin as notes do."""
    match = _NOTE_VERSION.match(note)
    return None if match is None else (int(match[1]), int(match[2]))


def decode_place(note: bytes) -> IndexPlace | None:
    """The index section's place from the footer's note, or None where the note is not exactly as it must be."""
    # JSON would admit what no writer writes: floats, signs, keys twice, nesting without end.
    match = _NOTE.fullmatch(note)
    return None if match is None else IndexPlace(int(match[3]), int(match[4]), int(match[5]))


class FooterFrame(NamedTuple):
    """A footer but for its list of blocks: what stands before them, and behind them to the end of the file."""

    start: bytes
    end: bytes


def encode_footer_frame(template: bytes, place_note: str, block_count: int) -> FooterFrame:
    """What surrounds ``block_count`` record batches in the footer that section 7.2 makes of a template.

    Raises:
        ValueError: the template is none, or more record batches than a footer's 31-bit length can hold.
    """
    footer = bytearray(template)
    try:
        note = _find_note(footer)
        blocks_field = field_position(footer, _FOOTER_BLOCKS_SLOT)
    except struct.error as error:
        raise ValueError("the footer template is not a readable flatbuffer") from error
    if note is None or note.stop - note.start != len(place_note):
        raise ValueError(f"the footer template has no room for {len(place_note)} bytes of index place")
    if blocks_field is None:
        raise ValueError("the footer template has no record batch blocks to replace")
    footer[note] = place_note.encode()
    footer += bytes(padding_to(8, len(footer) + 4))
    struct.pack_into("<I", footer, blocks_field, len(footer) - blocks_field)
    length = len(footer) + 4 + block_count * BLOCK_DTYPE.itemsize  # a multiple of 8, since the blocks are
    if length > _MAXIMUM_FOOTER_LENGTH:
        raise ValueError(
            f"{block_count} record batches do not fit a footer of {_MAXIMUM_FOOTER_LENGTH} bytes; write larger batches"
        )
    return FooterFrame(bytes(footer) + struct.pack("<I", block_count), struct.pack("<i", length) + MAGIC)


def find_place_note(footer: bytes, path: object) -> bytes | None:
    """The footer's note of the index section, or None in a footer that has no such key.

    Raises:
        CorruptError: the footer is not a readable flatbuffer.
    """
    try:
        note = _find_note(footer)
    except struct.error as error:
        problem = f"the Arrow footer is not a readable flatbuffer ({error})"
        raise CorruptError(problem, path=str(path), advice=REPAIR_ADVICE) from error
    return None if note is None else footer[note]


def read_blocks(footer: bytes, path: object) -> Blocks:
    """The record batches that a footer lists, of ``BLOCK_DTYPE``, in the footer's order.

    Raises:
        CorruptError: the footer is not a readable flatbuffer, or its list overruns it.
    """
    try:
        field = field_position(footer, _FOOTER_BLOCKS_SLOT)
        if field is None:
            return np.empty(0, dtype=BLOCK_DTYPE)
        place = vector(footer, field, BLOCK_DTYPE.itemsize)
    except struct.error as error:
        problem = f"the Arrow footer's list of record batches cannot be read ({error})"
        raise CorruptError(problem, path=str(path), advice=REPAIR_ADVICE) from error
    return np.frombuffer(footer[place], dtype=BLOCK_DTYPE)


def _find_note(footer: bytes | bytearray) -> slice | None:
    """Where the note of the index is in a footer, or None in a footer without one."""
    field = field_position(footer, _FOOTER_METADATA_SLOT)
    if field is None:
        return None
    key = FOOTER_KEY.encode()
    pairs = vector(footer, field, 4)
    for entry in range(pairs.start, pairs.stop, 4):
        pair = entry + unsigned(footer, entry)
        key_field, value_field = (field_position(footer, slot, pair) for slot in (0, 1))
        if key_field is None or value_field is None:
            continue
        # The length first: of a hostile footer, a million keys may each claim all of it.
        place = vector(footer, key_field, 1)
        if place.stop - place.start == len(key) and footer[place] == key:
            return vector(footer, value_field, 1)
    return None
