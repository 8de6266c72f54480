"""The Arrow IPC file format as bytes: header, padded messages, the seals in both, footer.

Pure, and free of pyarrow: a merge builds its output's header and footer with what is here. Section numbers are those of
FORMAT.md. What the bytes of a schema or a record batch mean is Arrow's business; only the frame around them is ours.
"""
# PURE

from __future__ import annotations

import re
import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .checksum import crc32c, mask, unmask
from .errors import REPAIR_ADVICE, CorruptError

MAGIC = b"ARROW1"
FILE_START = MAGIC + b"\0\0"
CONTINUATION = b"\xff\xff\xff\xff"
END_OF_STREAM = CONTINUATION + b"\0\0\0\0"
FOOTER_KEY = "spill_format"
"""The key of the footer's custom metadata under which the index section's place is written."""

MINIMUM_ALIGNMENT = 8
MAXIMUM_ALIGNMENT = 65536

_MESSAGE_PREFIX = struct.Struct("<4si")  # continuation marker, metadata length (section 4.1)
_SEAL = struct.Struct("<4sIII")  # sections 3.2 and 4.2
_CHECKSUM_LENGTH = 4
_HEADER_SEAL_MAGIC = b"HEAD"
_MESSAGE_SEAL_MAGIC = b"SEAL"
PREFIX_LENGTH = _MESSAGE_PREFIX.size
SEAL_LENGTH = _SEAL.size
SMALLEST_METADATA_LENGTH = PREFIX_LENGTH + 8 + SEAL_LENGTH  # the least that a flatbuffer takes is eight bytes
FOOTER_TAIL_LENGTH = 4 + len(MAGIC)
_NOTE_WIDTH = 88  # the largest numbers fit, so that a merge can rewrite the note in place
_NOTE_VERSION = re.compile(rb'\{"version":"([0-9]{1,5})\.([0-9]{1,5})"')
_NOTE = re.compile(_NOTE_VERSION.pattern + rb',"offset":([0-9]{1,19}),"length":([0-9]{1,19})\} *')
_FOOTER_BLOCKS_SLOT = 3  # fields of Arrow's Footer table, in the order of its schema (File.fbs)
_FOOTER_METADATA_SLOT = 4
_MAXIMUM_FOOTER_LENGTH = 2**31 - 1
_MESSAGE_HEADER_SLOT = 2  # of Arrow's Message table (Message.fbs)
_MESSAGE_BODY_LENGTH_SLOT = 3
_BATCH_ROWS_SLOT = 0  # of its RecordBatch table
_BATCH_NODES_SLOT = 1
_BATCH_COMPRESSION_SLOT = 3
_COMPRESSION_CODEC_SLOT = 0  # of its BodyCompression table
_CODECS = {0: "lz4", 1: "zstd"}  # its enumeration CompressionType

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


class HeaderSeal(NamedTuple):
    """What the schema message's last 16 bytes say of the file (FORMAT.md section 3.2)."""

    partition_count: int
    alignment: int
    metadata_crc32c: int


class Seal(NamedTuple):
    """What the last 16 bytes of a record batch message's metadata say of it (FORMAT.md section 4.2)."""

    partition: int
    body_crc32c: int
    metadata_crc32c: int


class BatchSize(NamedTuple):
    """What a record batch message says of its extent: rows, bytes of the body, and arrays, nested ones too."""

    row_count: int
    body_bytes: int
    node_count: int


class IndexPlace(NamedTuple):
    """Where the index section is in the file, in bytes."""

    offset: int
    length: int


def is_alignment(alignment: int) -> bool:
    """Whether ``alignment`` is a power of two from 8 to 65536."""
    return MINIMUM_ALIGNMENT <= alignment <= MAXIMUM_ALIGNMENT and alignment & (alignment - 1) == 0


def check_alignment(alignment: int) -> None:
    """Raise ValueError unless ``alignment`` is a power of two from 8 to 65536, TypeError unless it is an integer."""
    if isinstance(alignment, bool) or not isinstance(alignment, (int, np.integer)):
        raise TypeError(f"the alignment must be an integer, not {type(alignment).__name__}")
    if not is_alignment(int(alignment)):
        raise ValueError(f"alignment must be a power of two from 8 to 65536, not {alignment}")


def padding_to(alignment: int, position: int) -> int:
    """How many bytes bring ``position`` to a multiple of ``alignment``."""
    return -position % alignment


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


def encode_header(schema_message: bytes, alignment: int, partition_count: int | None = None) -> bytes:
    """The file up to its first range: magic and the schema message, padded and sealed (FORMAT.md section 3).

    Args:
        schema_message: the message as Arrow writes it, or as another file's header has it, padded and sealed.
        alignment: bytes; the header's length is a multiple of it.
        partition_count: P; by default that of the seal which ``schema_message`` has already.

    Raises:
        ValueError: the alignment is none, or nothing says how many partitions there are.
    """
    check_alignment(alignment)
    seal = read_header_seal(schema_message)
    if seal is not None and seal.metadata_crc32c == sealed_crc32c(schema_message):
        schema_message = schema_message[:-SEAL_LENGTH]
        partition_count = seal.partition_count if partition_count is None else partition_count
    if partition_count is None:
        raise ValueError("a schema message without a seal does not say how many partitions there are")
    padding = padding_to(alignment, len(FILE_START) + len(schema_message) + SEAL_LENGTH)
    return FILE_START + _sealed(schema_message, padding, _HEADER_SEAL_MAGIC, partition_count, alignment)


def seal_metadata(metadata: bytes | memoryview, partition: int, body_crc32c: int, padding: int) -> bytes:
    """A record batch message's metadata (prefix included) with padding and its seal behind it (section 4.2)."""
    return _sealed(metadata, padding, _MESSAGE_SEAL_MAGIC, partition, body_crc32c)


def read_header_seal(schema_message: bytes | memoryview) -> HeaderSeal | None:
    """The seal at the end of a file's schema message (prefix included), or None where there is none.

    Whether its checksum is right is for the caller to see: it is ``sealed_crc32c(schema_message)``.
    """
    fields = _seal_fields(schema_message, _HEADER_SEAL_MAGIC)
    return None if fields is None else HeaderSeal(*fields)


def read_seal(metadata: bytes | memoryview) -> Seal | None:
    """The seal at the end of a record batch message's metadata (prefix included), or None where there is none.

    Whether the checksums are right is for the caller to see: that of the metadata is ``sealed_crc32c(metadata)``.
    """
    fields = _seal_fields(metadata, _MESSAGE_SEAL_MAGIC)
    return None if fields is None else Seal(*fields)


def sealed_crc32c(metadata: bytes | memoryview) -> int:
    """CRC-32C of all that a seal covers: the metadata, prefix included, up to the seal's last field."""
    return crc32c(memoryview(metadata)[:-_CHECKSUM_LENGTH])


def read_codec(metadata: bytes | memoryview) -> str | None:
    """How the body is compressed of the record batch whose metadata (prefix included) this is: ``"lz4"``, ``"zstd"``
    or None.

    Raises:
        ValueError: the metadata is not a record batch's, or its codec is one that Arrow did not have.
    """
    flatbuffer = bytes(metadata[PREFIX_LENGTH:])
    try:
        header = _field_position(flatbuffer, _MESSAGE_HEADER_SLOT)
        if header is None:
            raise ValueError("the message has no header")
        batch = header + _unsigned(flatbuffer, header)
        compression = _field_position(flatbuffer, _BATCH_COMPRESSION_SLOT, batch)
        if compression is None:
            return None
        table = compression + _unsigned(flatbuffer, compression)
        codec = _field_position(flatbuffer, _COMPRESSION_CODEC_SLOT, table)
        number = 0 if codec is None else flatbuffer[codec]  # a flatbuffer leaves out a field that has its default
    except struct.error as error:
        raise ValueError(f"the message's metadata is not a readable flatbuffer ({error})") from error
    if number not in _CODECS:
        raise ValueError(f"the record batch is compressed with an unknown codec, number {number}")
    return _CODECS[number]


def read_batch_size(metadata: bytes | memoryview) -> BatchSize:
    """The sizes in a record batch's metadata (prefix included).

    Raises:
        ValueError: the metadata is not a record batch's.
    """
    flatbuffer = bytes(metadata[PREFIX_LENGTH:])
    try:
        header = _field_position(flatbuffer, _MESSAGE_HEADER_SLOT)
        if header is None:
            raise ValueError("the message has no header")
        batch = header + _unsigned(flatbuffer, header)
        rows = _field_position(flatbuffer, _BATCH_ROWS_SLOT, batch)
        nodes = _field_position(flatbuffer, _BATCH_NODES_SLOT, batch)
        body_length = _field_position(flatbuffer, _MESSAGE_BODY_LENGTH_SLOT)
        # A flatbuffer leaves out a field that has its default.
        size = BatchSize(
            row_count=0 if rows is None else _signed(flatbuffer, rows),
            body_bytes=0 if body_length is None else _signed(flatbuffer, body_length),
            node_count=0 if nodes is None else _unsigned(flatbuffer, nodes + _unsigned(flatbuffer, nodes)),
        )
    except struct.error as error:
        raise ValueError(f"the message's metadata is not a readable flatbuffer ({error})") from error
    if size.row_count < 0 or size.body_bytes < 0:
        raise ValueError(f"the message claims {size.row_count} rows and a body of {size.body_bytes} bytes")
    return size


def encode_place(major: int, minor: int, place: IndexPlace) -> str:
    """The footer's note of the index section: JSON, padded with spaces to a width that never changes (section 7.1)."""
    return f'{{"version":"{major}.{minor}","offset":{place.offset},"length":{place.length}}}'.ljust(_NOTE_WIDTH)


def decode_place_version(note: bytes) -> tuple[int, int] | None:
    """Major and minor version from the start of the footer's note, or None where it does not begin as notes do."""
    match = _NOTE_VERSION.match(note)
    return None if match is None else (int(match[1]), int(match[2]))


def decode_place(note: bytes) -> IndexPlace | None:
    """The index section's place from the footer's note, or None where the note is not exactly as it must be."""
    # JSON would admit what no writer writes: floats, signs, keys twice, nesting without end.
    match = _NOTE.fullmatch(note)
    return None if match is None else IndexPlace(int(match[3]), int(match[4]))


def encode_footer(template: bytes, place_note: str, blocks: Blocks) -> bytes:
    """A footer with the record batches of ``blocks``, its length and the closing magic (FORMAT.md section 7).

    Args:
        template: a footer without record batches, whose note of the index has the width of ``place_note``.
        blocks: structured array of ``BLOCK_DTYPE``, in file order.

    Raises:
        ValueError: as for ``encode_footer_frame``.
    """
    frame = encode_footer_frame(template, place_note, len(blocks))
    return b"".join((frame.start, np.ascontiguousarray(blocks).data, frame.end))


class FooterFrame(NamedTuple):
    """A footer but for its list of blocks: what stands before them, and behind them to the end of the file."""

    start: bytes
    end: bytes


def encode_footer_frame(template: bytes, place_note: str, block_count: int) -> FooterFrame:
    """What surrounds ``block_count`` record batches in the footer that ``encode_footer`` makes of a template.

    Raises:
        ValueError: the template is none, or more record batches than a footer's 31-bit length can hold.
    """
    footer = bytearray(template)
    try:
        note = _find_note(footer)
        blocks_field = _field_position(footer, _FOOTER_BLOCKS_SLOT)
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
        field = _field_position(footer, _FOOTER_BLOCKS_SLOT)
        if field is None:
            return np.empty(0, dtype=BLOCK_DTYPE)
        place = _vector(footer, field, BLOCK_DTYPE.itemsize)
    except struct.error as error:
        problem = f"the Arrow footer's list of record batches cannot be read ({error})"
        raise CorruptError(problem, path=str(path), advice=REPAIR_ADVICE) from error
    return np.frombuffer(footer[place], dtype=BLOCK_DTYPE)


def _sealed(metadata: bytes | memoryview, padding: int, magic: bytes, first_field: int, second_field: int) -> bytes:
    length = len(metadata) - PREFIX_LENGTH + padding + SEAL_LENGTH
    seal = _SEAL.pack(magic, first_field, second_field, 0)[:-_CHECKSUM_LENGTH]
    unsealed = b"".join((_MESSAGE_PREFIX.pack(CONTINUATION, length), metadata[PREFIX_LENGTH:], bytes(padding), seal))
    return unsealed + mask(crc32c(unsealed)).to_bytes(_CHECKSUM_LENGTH, "little")


def _seal_fields(metadata: bytes | memoryview, expected_magic: bytes) -> tuple[int, int, int] | None:
    if len(metadata) < SMALLEST_METADATA_LENGTH:
        return None
    magic, first, second, masked = _SEAL.unpack_from(metadata, len(metadata) - SEAL_LENGTH)
    return (first, second, unmask(masked)) if magic == expected_magic else None


# A flatbuffer table starts with the signed distance back to its vtable: uint16 sizes, then one uint16 a field, its
# distance from the table's start or 0. A field of a vector or a table is the unsigned distance from itself to it.
# What leads out of the buffer is a struct.error, as where struct itself notices.


def _find_note(footer: bytes | bytearray) -> slice | None:
    """Where the note of the index is in a footer, or None in a footer without one."""
    field = _field_position(footer, _FOOTER_METADATA_SLOT)
    if field is None:
        return None
    key = FOOTER_KEY.encode()
    pairs = _vector(footer, field, 4)
    for entry in range(pairs.start, pairs.stop, 4):
        pair = entry + _unsigned(footer, entry)
        key_field, value_field = (_field_position(footer, slot, pair) for slot in (0, 1))
        if key_field is None or value_field is None:
            continue
        # The length first: of a hostile footer, a million keys may each claim all of it.
        place = _vector(footer, key_field, 1)
        if place.stop - place.start == len(key) and footer[place] == key:
            return _vector(footer, value_field, 1)
    return None


def _field_position(flatbuffer: bytes | bytearray, slot: int, table: int | None = None) -> int | None:
    """Where field number ``slot`` of a table (the root, unless told) is, or None where the field is absent."""
    if table is None:
        table = _unsigned(flatbuffer, 0)
    (vtable_distance,) = struct.unpack_from("<i", flatbuffer, table)
    vtable = table - vtable_distance
    if vtable < 0:  # struct would count from the end
        raise struct.error("a vtable before the buffer")
    (vtable_length,) = struct.unpack_from("<H", flatbuffer, vtable)
    entry = 4 + 2 * slot
    if entry + 2 > vtable_length:
        return None
    (distance,) = struct.unpack_from("<H", flatbuffer, vtable + entry)
    if distance and table + distance + 4 > len(flatbuffer):
        raise struct.error("a field behind the buffer")
    return table + distance if distance else None


def _vector(flatbuffer: bytes | bytearray, field: int, element_length: int) -> slice:
    """Where the elements of the vector or string are that a field points to."""
    start = field + _unsigned(flatbuffer, field)
    stop = start + 4 + element_length * _unsigned(flatbuffer, start)
    if stop > len(flatbuffer):
        raise struct.error("a vector that overruns the buffer")
    return slice(start + 4, stop)


def _unsigned(flatbuffer: bytes | bytearray, position: int) -> int:
    return int(struct.unpack_from("<I", flatbuffer, position)[0])


def _signed(flatbuffer: bytes | bytearray, position: int) -> int:
    return int(struct.unpack_from("<q", flatbuffer, position)[0])
