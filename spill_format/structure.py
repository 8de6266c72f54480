"""The parts of a file that describe it — start, schema message, footer, index — read from an open descriptor and checked.

This is all that a merge reads of a source before it copies: no pyarrow, no record batch. ``reader.py`` adds the rows.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from os import PathLike

from . import index as index_section
from .errors import CorruptError, NotPartitionedError, TruncatedError, VersionError
from .framing import (
    END_OF_STREAM,
    FILE_START,
    FOOTER_TAIL_LENGTH,
    MAGIC,
    IndexPlace,
    find_place_note,
    metadata_length_of,
)
from .index import PartitionIndex

_REPAIR = "`shuffle repair` recovers what is whole"


@dataclass(frozen=True, slots=True, eq=False)
class FileStructure:
    """What describes a file.

    Attributes:
        path: as it was given.
        byte_count: size of the file.
        schema_message: Arrow's message, with its padding: the bytes from 8 to the first range.
        index: the decoded index section.
        index_place: where the index section is.
        footer: the Arrow footer's flatbuffer.
    """

    path: str
    byte_count: int
    schema_message: bytes
    index: PartitionIndex
    index_place: IndexPlace
    footer: bytes


def read_structure(descriptor: int, path: str | PathLike[str]) -> FileStructure:
    """Read and check everything that describes the file open as ``descriptor``; its file position is not used.

    Raises:
        CorruptError, TruncatedError, ChecksumError: the first defect, in the order start, end, footer, index, schema.
        NotPartitionedError: a sound Arrow file without an index section.
        VersionError: written by a newer major version of the format.
    """
    path = os.fspath(path)
    byte_count = os.fstat(descriptor).st_size
    footer_offset, footer = _read_footer(descriptor, path, byte_count)
    place = _index_place(footer, footer_offset, path)
    section = read_exactly(descriptor, place.offset, place.length, path)
    index = index_section.decode(section, path, place.offset)
    schema_message = _read_schema_message(descriptor, path, index, place)
    return FileStructure(path, byte_count, schema_message, index, place, footer)


def read_exactly(descriptor: int, offset: int, byte_count: int, path: str) -> bytes:
    """``byte_count`` bytes from ``offset``.

    Raises:
        TruncatedError: the file ends before them.
    """
    pieces = []
    read = 0
    while read < byte_count:
        piece = os.pread(descriptor, byte_count - read, offset + read)
        if not piece:
            raise TruncatedError("the file ends", path=path, offset=offset, expected=f"{byte_count} bytes", actual=read)
        pieces.append(piece)
        read += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _read_footer(descriptor: int, path: str, byte_count: int) -> tuple[int, bytes]:
    """Offset and bytes of the footer, after the magic at both ends has been found right."""
    start = os.pread(descriptor, len(FILE_START), 0)
    if not start:
        raise TruncatedError("the file is empty", path=path, expected="an Arrow IPC file", actual="0 bytes")
    if start[: len(MAGIC)] != MAGIC[: len(start)]:
        raise CorruptError(
            "not an Arrow IPC file: its start", path=path, offset=0, expected=MAGIC, actual=start[: len(MAGIC)]
        )
    smallest = len(FILE_START) + len(END_OF_STREAM) + FOOTER_TAIL_LENGTH
    if byte_count < smallest:
        raise TruncatedError(
            "the file is too short", path=path, expected=f"{smallest} bytes or more", actual=byte_count
        )
    tail_offset = byte_count - FOOTER_TAIL_LENGTH
    tail = read_exactly(descriptor, tail_offset, FOOTER_TAIL_LENGTH, path)
    if tail[4:] != MAGIC:
        raise TruncatedError(
            "the file is cut off or was never finished: its end",
            path=path,
            offset=tail_offset + 4,
            expected=MAGIC,
            actual=tail[4:],
            advice=_REPAIR,
        )
    length = int.from_bytes(tail[:4], "little", signed=True)
    if not 0 < length <= tail_offset - len(FILE_START):
        raise CorruptError(
            "length of the Arrow footer",
            path=path,
            offset=tail_offset,
            expected=f"1 to {tail_offset - len(FILE_START)}",
            actual=length,
            advice=_REPAIR,
        )
    return tail_offset - length, read_exactly(descriptor, tail_offset - length, length, path)


def _index_place(footer: bytes, footer_offset: int, path: str) -> IndexPlace:
    note = find_place_note(footer, path)
    if note is None:
        raise NotPartitionedError(
            "an Arrow file without a partition index",
            path=path,
            advice="`shuffle partition FILE --by COLUMN --partitions P -o OUT` makes one with it",
        )
    try:
        fields = json.loads(note)
        major = int(fields["version"].split(".")[0])
        place = IndexPlace(int(fields["offset"]), int(fields["length"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptError(
            "the footer's note of the index section", path=path, expected="JSON", actual=repr(note)
        ) from error
    if major > index_section.MAJOR_VERSION:
        raise VersionError(
            "version of the format",
            path=path,
            expected=f"{index_section.MAJOR_VERSION}.x",
            actual=fields["version"],
            advice="the file was written by a newer release; upgrade to read it",
        )
    if place.offset < len(FILE_START) or place.length < 0 or place.offset + place.length > footer_offset:
        raise CorruptError(
            "the footer points outside the file for the index section",
            path=path,
            offset=place.offset,
            expected=f"bytes between {len(FILE_START)} and {footer_offset}",
            actual=f"{place.offset} to {place.offset + place.length}",
            advice=_REPAIR,
        )
    return place


def _read_schema_message(descriptor: int, path: str, index: PartitionIndex, place: IndexPlace) -> bytes:
    """The schema message, after checking that it, the ranges, the end-of-stream marker and the index follow each other."""
    offsets = index.layout.offsets
    ranges_end = int(offsets[-1])
    if ranges_end + len(END_OF_STREAM) > place.offset:
        raise CorruptError(
            "the ranges overrun the index section",
            path=path,
            partition=index.layout.partition_count - 1,
            offset=ranges_end,
            expected=f"an end at {place.offset - len(END_OF_STREAM)} or before",
            actual=ranges_end,
        )
    first = int(offsets[0])
    message = read_exactly(descriptor, len(FILE_START), max(first - len(FILE_START), 0), path)
    try:
        end = len(FILE_START) + metadata_length_of(message)
    except ValueError as error:
        raise CorruptError("the schema message cannot be read", path=path, offset=len(FILE_START)) from error
    if end != first:
        raise CorruptError(
            "the first range does not follow the schema message", path=path, partition=0, expected=end, actual=first
        )
    marker = read_exactly(descriptor, ranges_end, len(END_OF_STREAM), path)
    if marker != END_OF_STREAM:
        raise CorruptError(
            "end-of-stream marker behind the last range",
            path=path,
            offset=ranges_end,
            expected=END_OF_STREAM.hex(" "),
            actual=marker.hex(" "),
        )
    return message
