"""Messages as bytes: frame, padding and seal, those of the schema message included; and whether one is sound.

Pure, and free of pyarrow: a merge builds its target's header with what is here. Section numbers are those of FORMAT.md.
What the bytes of a schema or a record batch mean is Arrow's business; only the frame around them is ours.
"""
# PURE

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from .checksum import crc32c, mask, unmask
from .errors import REPAIR_ADVICE, ChecksumError, CorruptError
from .flatbuffer import field_position, signed, unsigned, vector

MAGIC = b"ARROW1"
FILE_START = MAGIC + b"\0\0"
CONTINUATION = b"\xff\xff\xff\xff"
END_OF_STREAM = CONTINUATION + b"\0\0\0\0"

MINIMUM_ALIGNMENT = 8
MAXIMUM_ALIGNMENT = 65536

_MESSAGE_PREFIX = struct.Struct("<4si")  # continuation marker, metadata length (section 4.1)
_SEAL = struct.Struct("<4sIII")  # sections 3.2 and 4.2
_CHECKSUM_LENGTH = 4
_HEADER_SEAL_MAGIC = b"HEAD"
MESSAGE_SEAL_MAGIC = b"SEAL"
PREFIX_LENGTH = _MESSAGE_PREFIX.size
SEAL_LENGTH = _SEAL.size
SMALLEST_METADATA_LENGTH = PREFIX_LENGTH + 8 + SEAL_LENGTH  # the least that a flatbuffer takes is eight bytes
MESSAGE_HEADER_SLOT = 2  # of Arrow's Message table (Message.fbs)
MESSAGE_BODY_LENGTH_SLOT = 3
BATCH_ROWS_SLOT = 0  # of its RecordBatch table
BATCH_NODES_SLOT = 1
BATCH_BUFFERS_SLOT = 2
_BATCH_COMPRESSION_SLOT = 3
_COMPRESSION_CODEC_SLOT = 0  # of its BodyCompression table
_CODECS = {0: "lz4", 1: "zstd"}  # its enumeration CompressionType


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


class MessageDefect(NamedTuple):
    """What is wrong with a record batch message: the first defect in the order of FORMAT.md section 8."""

    problem: str
    expected: object = None
    actual: object = None
    is_of_checksum: bool = False

    def error(self, path: str, partition: int | None, offset: int, advice: str | None = REPAIR_ADVICE) -> CorruptError:
        """The error of a message of this partition, as far as known, that starts at ``offset`` of a file or stream."""
        kind = ChecksumError if self.is_of_checksum else CorruptError
        return kind(
            self.problem,
            path=path,
            partition=partition,
            offset=offset,
            expected=self.expected,
            actual=self.actual,
            advice=advice,
        )


class BatchSize(NamedTuple):
    """What a record batch message says of its extent: rows, bytes of the body, and arrays, nested ones too."""

    row_count: int
    body_bytes: int
    node_count: int


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
    return _sealed(metadata, padding, MESSAGE_SEAL_MAGIC, partition, body_crc32c)


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
    fields = _seal_fields(metadata, MESSAGE_SEAL_MAGIC)
    return None if fields is None else Seal(*fields)


def find_defect(content: bytes | memoryview, metadata_length: int, partition: int | None) -> MessageDefect | None:
    """What is wrong with a record batch message, metadata and body; None for a sound one.

    Args:
        content: the whole message.
        metadata_length: bytes of its metadata, as the index says.
        partition: that it must be of, or None where any will do.
    """
    view = memoryview(content)
    metadata, body = view[:metadata_length], view[metadata_length:]
    return find_metadata_defect(metadata, partition) or find_body_defect(metadata, body)


def find_metadata_defect(metadata: bytes | memoryview, partition: int | None) -> MessageDefect | None:
    """What is wrong with a record batch message's metadata (prefix included), whose length is the one expected."""
    try:
        length = metadata_length_of(metadata)
    except ValueError as error:
        return MessageDefect(str(error))
    if length != len(metadata):
        return MessageDefect("length of a record batch's metadata", len(metadata), length)
    seal = read_seal(metadata)
    if seal is None:
        return MessageDefect("the record batch has no seal")
    if (computed := sealed_crc32c(metadata)) != seal.metadata_crc32c:
        return _checksum_defect("metadata", seal.metadata_crc32c, computed)
    if partition is not None and seal.partition != partition:
        return MessageDefect("the record batch was written for another partition", partition, seal.partition)
    return None


def find_body_defect(metadata: bytes | memoryview, body: bytes | memoryview) -> MessageDefect | None:
    """What is wrong with a record batch message's body, by its metadata, which must be sound."""
    seal = read_seal(metadata)
    assert seal is not None  # sound metadata ends with one
    computed = crc32c(body)
    return None if computed == seal.body_crc32c else _checksum_defect("body", seal.body_crc32c, computed)


def _checksum_defect(part: str, expected: int, actual: int) -> MessageDefect:
    return MessageDefect(f"CRC-32C of a record batch's {part}", f"{expected:08x}", f"{actual:08x}", is_of_checksum=True)


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
        header = field_position(flatbuffer, MESSAGE_HEADER_SLOT)
        if header is None:
            raise ValueError("the message has no header")
        batch = header + unsigned(flatbuffer, header)
        compression = field_position(flatbuffer, _BATCH_COMPRESSION_SLOT, batch)
        if compression is None:
            return None
        table = compression + unsigned(flatbuffer, compression)
        codec = field_position(flatbuffer, _COMPRESSION_CODEC_SLOT, table)
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
        header = field_position(flatbuffer, MESSAGE_HEADER_SLOT)
        if header is None:
            raise ValueError("the message has no header")
        batch = header + unsigned(flatbuffer, header)
        rows = field_position(flatbuffer, BATCH_ROWS_SLOT, batch)
        nodes = field_position(flatbuffer, BATCH_NODES_SLOT, batch)
        body_length = field_position(flatbuffer, MESSAGE_BODY_LENGTH_SLOT)
        # A flatbuffer leaves out a field that has its default.
        size = BatchSize(
            row_count=0 if rows is None else signed(flatbuffer, rows),
            body_bytes=0 if body_length is None else signed(flatbuffer, body_length),
            node_count=0 if nodes is None else unsigned(flatbuffer, nodes + unsigned(flatbuffer, nodes)),
        )
    except struct.error as error:
        raise ValueError(f"the message's metadata is not a readable flatbuffer ({error})") from error
    if size.row_count < 0 or size.body_bytes < 0:
        raise ValueError(f"the message claims {size.row_count} rows and a body of {size.body_bytes} bytes")
    return size


def decompressed_bytes(message: memoryview, metadata_length: int) -> int:
    """Bytes that the body of a record batch takes in memory, as its buffers say, each before its own bytes.

    Raises:
        ValueError: the metadata is not a record batch's, or a buffer is not within the body.
    """
    metadata, body = message[:metadata_length], message[metadata_length:]
    if read_codec(metadata) is None:
        return len(body)
    flatbuffer = bytes(metadata[PREFIX_LENGTH:])
    try:
        header = field_position(flatbuffer, MESSAGE_HEADER_SLOT)
        assert header is not None  # it has a codec
        buffers = field_position(flatbuffer, BATCH_BUFFERS_SLOT, header + unsigned(flatbuffer, header))
        places = b"" if buffers is None else flatbuffer[vector(flatbuffer, buffers, 16)]
        total = 0
        for offset, length in struct.iter_unpack("<qq", places):
            if length:
                (plain,) = struct.unpack_from("<q", body, offset)
                total += length if plain < 0 else plain  # -1: this buffer is stored as it is
    except struct.error as error:
        raise ValueError(f"the message's buffers cannot be read ({error})") from error
    return total


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
