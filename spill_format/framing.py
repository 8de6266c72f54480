"""The Arrow IPC file format as bytes: header, padded messages with their seals, footer.

Pure, and free of pyarrow: a merge builds its output's header and footer with what is here. Section numbers are those of
FORMAT.md. What the bytes of a schema or a record batch mean is Arrow's business; only the frame around them is ours.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .checksum import crc32c
from .errors import CorruptError

MAGIC = b"ARROW1"
FILE_START = MAGIC + b"\0\0"
CONTINUATION = b"\xff\xff\xff\xff"
END_OF_STREAM = CONTINUATION + b"\0\0\0\0"
FOOTER_KEY = "spill_format"
"""The key of the footer's custom metadata under which the index section's place is written."""

MINIMUM_ALIGNMENT = 8
MAXIMUM_ALIGNMENT = 65536

_MESSAGE_PREFIX = struct.Struct("<4si")  # continuation marker, metadata length
_SEAL = struct.Struct("<4sIII")  # magic, partition, CRC-32C of the body, CRC-32C of all metadata before this field
_SEAL_MAGIC = b"SEAL"
PREFIX_LENGTH = _MESSAGE_PREFIX.size
SEAL_LENGTH = _SEAL.size
FOOTER_TAIL_LENGTH = 4 + len(MAGIC)
_PLACE_WIDTH = 88  # the largest numbers fit, so that a merge can rewrite the note in place
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


class Seal(NamedTuple):
    """What a message's last 16 bytes of metadata say of it (FORMAT.md section 4)."""

    partition: int
    body_crc32c: int
    metadata_crc32c: int


class IndexPlace(NamedTuple):
    """Where the index section is in the file, in bytes."""

    offset: int
    length: int


def check_alignment(alignment: int) -> None:
    """Raise ValueError unless ``alignment`` is a power of two from 8 to 65536."""
    if not MINIMUM_ALIGNMENT <= alignment <= MAXIMUM_ALIGNMENT or alignment & (alignment - 1):
        raise ValueError(f"alignment must be a power of two from 8 to 65536, not {alignment}")


def padding_to(alignment: int, position: int) -> int:
    """How many bytes bring ``position`` to a multiple of ``alignment``."""
    return -position % alignment


def encode_header(schema_message: bytes, alignment: int) -> bytes:
    """The file up to its first range: magic and the schema message, padded to a multiple of ``alignment``.

    Args:
        schema_message: the message as Arrow writes it, with or without padding.
    """
    check_alignment(alignment)
    padding = padding_to(alignment, len(FILE_START) + len(schema_message))
    return FILE_START + with_padding(schema_message, padding)


def with_padding(message: bytes, byte_count: int) -> bytes:
    """A message without body, its metadata made ``byte_count`` zero bytes longer."""
    return (
        _MESSAGE_PREFIX.pack(CONTINUATION, len(message) - PREFIX_LENGTH + byte_count) + message[8:] + bytes(byte_count)
    )


def metadata_length_of(message: bytes | memoryview) -> int:
    """Bytes of a message's metadata, its 8-byte prefix included, from that prefix.

    Raises:
        ValueError: the bytes do not start with a message's prefix.
    """
    if len(message) < PREFIX_LENGTH:
        raise ValueError(f"a message's prefix has {PREFIX_LENGTH} bytes, not {len(message)}")
    continuation, length = _MESSAGE_PREFIX.unpack_from(message)
    if continuation != CONTINUATION or length <= 0 or length % 8:
        raise ValueError(f"no message starts with {bytes(message[:PREFIX_LENGTH]).hex(' ')}")
    return PREFIX_LENGTH + int(length)


def seal_metadata(metadata: bytes | memoryview, partition: int, body_crc32c: int, padding: int) -> bytes:
    """A record batch message's metadata (prefix included) with padding and its seal behind it."""
    length = len(metadata) - PREFIX_LENGTH + padding + SEAL_LENGTH
    unsealed = b"".join((_MESSAGE_PREFIX.pack(CONTINUATION, length), metadata[PREFIX_LENGTH:], bytes(padding)))
    unsealed += _SEAL.pack(_SEAL_MAGIC, partition, body_crc32c, 0)[:-4]
    return unsealed + crc32c(unsealed).to_bytes(4, "little")


def read_seal(metadata: bytes | memoryview) -> Seal | None:
    """The seal at the end of a message's metadata (prefix included), or None where there is none.

    Whether the checksums are right is for the caller to see: ``metadata_crc32c`` covers ``metadata[:-4]``.
    """
    if len(metadata) < PREFIX_LENGTH + SEAL_LENGTH:
        return None
    magic, partition, body_crc32c, metadata_crc32c = _SEAL.unpack_from(metadata, len(metadata) - SEAL_LENGTH)
    return Seal(partition, body_crc32c, metadata_crc32c) if magic == _SEAL_MAGIC else None


def encode_place(major: int, minor: int, place: IndexPlace) -> str:
    """The footer's note of the index section: JSON, padded with spaces to a width that never changes."""
    return f'{{"version":"{major}.{minor}","offset":{place.offset},"length":{place.length}}}'.ljust(_PLACE_WIDTH)


def encode_footer(template: bytes, place_note: str, blocks: Blocks) -> bytes:
    """A footer with the record batches of ``blocks``, its length and the closing magic (FORMAT.md section 6).

    Args:
        template: a footer without record batches, whose note of the index has the width of ``place_note``.
        blocks: structured array of ``BLOCK_DTYPE``, in file order.

    Raises:
        ValueError: more record batches than a footer's 31-bit length can hold.
    """
    footer = bytearray(template)
    note_start, note_length = _find_note(footer, "the footer template")
    if note_length != len(place_note):
        raise ValueError(f"the template has room for {note_length} bytes of index place, not {len(place_note)}")
    footer[note_start : note_start + note_length] = place_note.encode()
    footer += bytes(padding_to(8, len(footer) + 4))
    blocks_field = _field_position(footer, _FOOTER_BLOCKS_SLOT)
    if blocks_field is None:
        raise ValueError("the footer template has no record batch blocks to replace")
    struct.pack_into("<I", footer, blocks_field, len(footer) - blocks_field)
    length = len(footer) + 4 + blocks.nbytes
    if length > _MAXIMUM_FOOTER_LENGTH:
        raise ValueError(
            f"{len(blocks)} record batches do not fit a footer of {_MAXIMUM_FOOTER_LENGTH} bytes; write larger batches"
        )
    padded = -(-length // 8) * 8
    return b"".join(
        (
            footer,
            struct.pack("<I", len(blocks)),
            blocks.tobytes(),
            bytes(padded - length),
            struct.pack("<i", padded),
            MAGIC,
        )
    )


def find_place_note(footer: bytes, path: object) -> str | None:
    """The footer's note of the index section, or None in a footer that has no such key.

    Raises:
        CorruptError: the footer is not a readable flatbuffer.
    """
    start, length = _find_note(footer, path)
    return None if length < 0 else footer[start : start + length].decode(errors="replace")


def read_blocks(footer: bytes, path: object) -> Blocks:
    """The record batches that a footer lists, of ``BLOCK_DTYPE``, in the footer's order.

    Raises:
        CorruptError: the footer is not a readable flatbuffer, or its list overruns it.
    """
    try:
        field = _field_position(footer, _FOOTER_BLOCKS_SLOT)
        if field is None:
            return np.empty(0, dtype=BLOCK_DTYPE)
        start, count = _vector(footer, field)
        return np.frombuffer(footer, dtype=BLOCK_DTYPE, count=count, offset=start)
    except (struct.error, ValueError) as error:
        raise CorruptError("the Arrow footer's list of record batches cannot be read", path=str(path)) from error


def _find_note(footer: bytes | bytearray, path: object) -> tuple[int, int]:
    """Start and length of the note of the index in a footer; a length of −1 where there is none."""
    try:
        field = _field_position(footer, _FOOTER_METADATA_SLOT)
        if field is None:
            return 0, -1
        start, count = _vector(footer, field)
        for entry in range(start, start + 4 * count, 4):
            pair = entry + _unsigned(footer, entry)
            key_field, value_field = (_field_position(footer, slot, pair) for slot in (0, 1))
            if key_field is None or value_field is None:
                continue
            key_start, key_length = _vector(footer, key_field)
            if footer[key_start : key_start + key_length] == FOOTER_KEY.encode():
                return _vector(footer, value_field)
    except struct.error as error:
        raise CorruptError("the Arrow footer is not a readable flatbuffer", path=str(path)) from error
    return 0, -1


# A flatbuffer table starts with the signed distance back to its vtable: uint16 sizes, then one uint16 a field, its
# distance from the table's start or 0. A field of a vector or a table is the unsigned distance from itself to it.


def _field_position(flatbuffer: bytes | bytearray, slot: int, table: int | None = None) -> int | None:
    """Where field number ``slot`` of a table (the root, unless told) is, or None where the field is absent."""
    if table is None:
        table = _unsigned(flatbuffer, 0)
    (vtable_distance,) = struct.unpack_from("<i", flatbuffer, table)
    vtable = table - vtable_distance
    if vtable < 0:
        raise struct.error("a vtable before the buffer")
    (vtable_length,) = struct.unpack_from("<H", flatbuffer, vtable)
    entry = 4 + 2 * slot
    if entry >= vtable_length:
        return None
    (distance,) = struct.unpack_from("<H", flatbuffer, vtable + entry)
    return table + distance if distance else None


def _vector(flatbuffer: bytes | bytearray, field: int) -> tuple[int, int]:
    """Start of the first element and number of elements of the vector or string that a field points to."""
    start = field + _unsigned(flatbuffer, field)
    return start + 4, _unsigned(flatbuffer, start)


def _unsigned(flatbuffer: bytes | bytearray, position: int) -> int:
    (value,) = struct.unpack_from("<I", flatbuffer, position)
    return int(value)
