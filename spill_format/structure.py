"""The parts of a file that describe it, start, schema, footer and index: read and checked, from wherever the file is.

This is all that a merge reads of a source before it copies: no pyarrow, no record batch. ``reader.py`` adds the rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from os import PathLike

import numpy as np

from . import index as index_section
from .errors import REPAIR_ADVICE, ChecksumError, CorruptError, NotPartitionedError, TruncatedError
from .framing import (
    END_OF_STREAM,
    FILE_START,
    FOOTER_TAIL_LENGTH,
    MAGIC,
    IndexPlace,
    decode_place,
    decode_place_version,
    encode_footer,
    encode_place,
    find_place_note,
    metadata_length_of,
    read_blocks,
    read_header_seal,
    sealed_crc32c,
)
from .index import PartitionIndex
from .storage.local import check_regular, read_exactly

ReadAt = Callable[[int, int], bytes]
"""What gives ``byte_count`` bytes from ``offset`` of a file, both in this order, or raises; never fewer."""


@dataclass(frozen=True, slots=True, eq=False)
class FileStructure:
    """What describes a file.

    Attributes:
        path: as it was given.
        byte_count: size of the file.
        schema_message: Arrow's message, with its padding and seal: the bytes from 8 to the first range.
        index: the decoded index section.
        index_place: where the index section is.
    """

    path: str
    byte_count: int
    schema_message: bytes
    index: PartitionIndex
    index_place: IndexPlace


def read_structure(descriptor: int, path: str | PathLike[str]) -> FileStructure:
    """Read and check everything that describes the file open as ``descriptor``; its file position is not used.

    Every byte outside the ranges is checked, in the order of FORMAT.md section 8; the ranges' bytes are not read.

    Raises:
        CorruptError, TruncatedError, ChecksumError: the first defect.
        NotPartitionedError: a sound Arrow file without an index section.
        VersionError: written by a newer major version of the format.
        OSError: the file cannot be read, or is a directory.
    """
    path = os.fsdecode(path)
    status = os.fstat(descriptor)
    check_regular(status, path)
    return read_structure_by(partial(read_exactly, descriptor, path=path), path, status.st_size)


def read_structure_by(read: ReadAt, path: str, byte_count: int) -> FileStructure:
    """As ``read_structure``, of a file of ``byte_count`` bytes that is wherever ``read`` finds it.

    What is read: 8 bytes at the start, the footer, the index section before it, and all that precedes the first range.
    """
    footer_offset, footer = _read_footer(read, path, byte_count)
    place = _index_place(footer, footer_offset, path)
    section = read(place.offset, place.length)
    index = index_section.decode(section, path, place.offset)
    _check_footer(footer, encode_place(*index_section.version_of(section), place), index, footer_offset, path)
    schema_message = _read_schema_message(read, path, index, place)
    return FileStructure(path, byte_count, schema_message, index, place)


def _read_footer(read: ReadAt, path: str, byte_count: int) -> tuple[int, bytes]:
    """Offset and bytes of the footer, after the magic at both ends has been found right."""
    if byte_count == 0:
        raise TruncatedError("the file is empty", path=path, expected="an Arrow IPC file", actual="0 bytes")
    start = read(0, min(byte_count, len(FILE_START)))
    if start != FILE_START[: len(start)]:
        raise CorruptError("not an Arrow IPC file: its start", path=path, offset=0, expected=FILE_START, actual=start)
    smallest = len(FILE_START) + len(END_OF_STREAM) + FOOTER_TAIL_LENGTH
    if byte_count < smallest:
        raise TruncatedError(
            "the file is too short", path=path, expected=f"{smallest} bytes or more", actual=byte_count
        )
    tail_offset = byte_count - FOOTER_TAIL_LENGTH
    tail = read(tail_offset, FOOTER_TAIL_LENGTH)
    if tail[4:] != MAGIC:
        raise TruncatedError(
            "the file is cut off or was never finished: its end",
            path=path,
            offset=tail_offset + 4,
            expected=MAGIC,
            actual=tail[4:],
            advice=REPAIR_ADVICE,
        )
    length = int.from_bytes(tail[:4], "little", signed=True)
    if not 0 < length <= tail_offset - len(FILE_START):
        raise CorruptError(
            "length of the Arrow footer",
            path=path,
            offset=tail_offset,
            expected=f"1 to {tail_offset - len(FILE_START)}",
            actual=length,
            advice=REPAIR_ADVICE,
        )
    return tail_offset - length, read(tail_offset - length, length)


def _index_place(footer: bytes, footer_offset: int, path: str) -> IndexPlace:
    """The place of the index, from the footer's note, after the version there has been found right."""
    note = find_place_note(footer, path)
    if note is None:
        raise NotPartitionedError(
            "an Arrow file without a partition index",
            path=path,
            advice="`shuffle partition FILE --by COLUMN --partitions P -o OUT` makes one with it",
        )
    version = decode_place_version(note)
    if version is not None:
        index_section.check_version(*version, path)
    place = decode_place(note)
    if version is None or place is None:
        raise CorruptError(
            "the footer's note of the index section",
            path=path,
            expected=encode_place(1, 0, IndexPlace(0, 0)).strip(),
            actual=repr(note[:100]),
            advice=REPAIR_ADVICE,
        )
    if place.offset < len(FILE_START) or place.offset + place.length != footer_offset:
        raise CorruptError(
            "the footer's note names another place for the index section than the bytes before the footer",
            path=path,
            offset=place.offset,
            expected=f"an end at {footer_offset}",
            actual=f"{place.offset} + {place.length}",
            advice=REPAIR_ADVICE,
        )
    return place


def _check_footer(footer: bytes, note: str, index: PartitionIndex, footer_offset: int, path: str) -> None:
    """The footer is what the index makes of its template, byte by byte: Arrow's readers see what we see."""
    try:
        expected = encode_footer(index.footer_template, note, index.blocks())[:-FOOTER_TAIL_LENGTH]
    except ValueError as error:
        raise CorruptError(f"index section: its footer template ({error})", path=path, advice=REPAIR_ADVICE) from error
    if footer == expected:
        return
    blocks, expected_blocks = read_blocks(footer, path), index.blocks()
    if len(blocks) != len(expected_blocks):
        problem = "record batches in the Arrow footer"
        raise CorruptError(problem, path=path, expected=len(expected_blocks), actual=len(blocks), advice=REPAIR_ADVICE)
    different = np.zeros(len(blocks), dtype=bool)
    for name in expected_blocks.dtype.names or ():
        different |= blocks[name] != expected_blocks[name]
    if different.any():
        batch = int(np.argmax(different))
        raise CorruptError(
            f"the Arrow footer and the index disagree on record batch {batch}",
            path=path,
            partition=int(np.searchsorted(index.first_messages, batch, side="right")) - 1,
            offset=int(expected_blocks[batch]["offset"]),
            expected=expected_blocks[batch].tolist(),
            actual=blocks[batch].tolist(),
            advice=REPAIR_ADVICE,
        )
    common = min(len(footer), len(expected))
    unequal = np.frombuffer(footer, np.uint8, common) != np.frombuffer(expected, np.uint8, common)
    position = int(np.argmax(unequal)) if unequal.any() else common
    raise CorruptError(
        "the Arrow footer is not the one that the index describes",
        path=path,
        offset=footer_offset + position,
        expected=expected[position : position + 8].hex(" "),
        actual=footer[position : position + 8].hex(" "),
        advice=REPAIR_ADVICE,
    )


def _read_schema_message(read: ReadAt, path: str, index: PartitionIndex, place: IndexPlace) -> bytes:
    """The schema message, after checking that it, the ranges, the end-of-stream marker and the index are in line."""
    offsets = index.layout.offsets
    ranges_end = int(offsets[-1])
    if ranges_end + len(END_OF_STREAM) != place.offset:
        raise CorruptError(
            "the index section does not follow the ranges",
            path=path,
            partition=index.layout.partition_count - 1,
            offset=place.offset,
            expected=f"ranges that end at {place.offset - len(END_OF_STREAM)}",
            actual=ranges_end,
            advice=REPAIR_ADVICE,
        )
    marker = read(ranges_end, len(END_OF_STREAM))
    if marker != END_OF_STREAM:
        raise CorruptError(
            "end-of-stream marker behind the last range",
            path=path,
            offset=ranges_end,
            expected=END_OF_STREAM.hex(" "),
            actual=marker.hex(" "),
            advice=REPAIR_ADVICE,
        )
    message = read(len(FILE_START), max(int(offsets[0]) - len(FILE_START), 0))
    _check_schema_message(message, path, index)
    return message


def _check_schema_message(message: bytes, path: str, index: PartitionIndex) -> None:
    """The schema message ends where the first range starts, is undamaged, and its seal agrees with the index."""
    place = len(FILE_START)
    try:
        end = place + metadata_length_of(message)
    except ValueError as error:
        problem = f"the schema message cannot be read ({error})"
        raise CorruptError(problem, path=path, offset=place, advice=REPAIR_ADVICE) from error
    first = int(index.layout.offsets[0])
    if end != first:
        problem = "the first range does not follow the schema message"
        raise CorruptError(
            problem, path=path, partition=0, offset=place, expected=end, actual=first, advice=REPAIR_ADVICE
        )
    seal = read_header_seal(message)
    if seal is None:
        raise CorruptError("the schema message has no seal", path=path, offset=place, advice=REPAIR_ADVICE)
    if (computed := sealed_crc32c(message)) != seal.metadata_crc32c:
        raise ChecksumError(
            "CRC-32C of the schema message",
            path=path,
            offset=place,
            expected=f"{seal.metadata_crc32c:08x}",
            actual=f"{computed:08x}",
            advice=REPAIR_ADVICE,
        )
    for name, of_index, of_seal in (
        ("number of partitions", index.layout.partition_count, seal.partition_count),
        ("alignment", index.alignment, seal.alignment),
    ):
        if of_index != of_seal:
            problem = f"the schema message's seal and the index disagree on the {name}"
            raise CorruptError(
                problem, path=path, offset=place, expected=of_index, actual=of_seal, advice=REPAIR_ADVICE
            )
