"""The parts of a file that describe it, start, schema, index and footer: read and checked, from wherever the file is.

``Outline`` is what opening a file reads: little, whatever the file's size. ``FileStructure`` is all of it, as a merge
and a check need it. No pyarrow, and no record batch: ``reader.py`` adds the rows.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from os import PathLike

import numpy as np

from .errors import REPAIR_ADVICE, ChecksumError, CorruptError, NotPartitionedError, TruncatedError, naming
from .footer import FOOTER_TAIL_LENGTH, IndexPlace, decode_place, decode_place_version, encode_place, find_place_note
from .index import LARGEST_SCHEMA_LENGTH, SECTION_MAGIC, PartitionIndex, Summary
from .index_reader import IndexReader, SectionMissingError, check_version
from .messages import END_OF_STREAM, FILE_START, MAGIC, metadata_length_of, read_header_seal, sealed_crc32c
from .spill_set import SpillSet
from .storage.local import check_regular, read_exactly
from .storage.windows import ReadAt
from .trailer import TrailerContent

_FOOTER_START_BYTES = 1 << 20  # a footer's note lies before its list of record batches


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """What opening a file reads and checks: its ends, the index section's summary and details, the schema message.

    Attributes:
        path: as it was given.
        byte_count: size of the file.
        schema_message: Arrow's message, with its padding and seal: the bytes from 8 to the first range.
        index: finds partitions and messages in the index section.
    """

    path: str
    byte_count: int
    schema_message: bytes
    index: IndexReader


@dataclass(frozen=True, slots=True, eq=False)
class FileStructure:
    """All that describes a file.

    Attributes:
        path, byte_count, schema_message: as in ``Outline``.
        index: the decoded index section.
        spill_set: the set that the file belongs to, or None.
    """

    path: str
    byte_count: int
    schema_message: bytes
    index: PartitionIndex
    spill_set: SpillSet | None


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
    with naming(path):
        status = os.fstat(descriptor)
    check_regular(status, path)
    return read_structure_by(partial(read_exactly, descriptor, path=path), path, status.st_size)


def read_structure_by(read: ReadAt, path: str, byte_count: int) -> FileStructure:
    """As ``read_structure``, of a file of ``byte_count`` bytes that is wherever ``read`` finds it."""
    outline = read_outline(read, path, byte_count)
    index = outline.index.whole(read)
    _check_marker(read, path, outline.index.summary)
    check_footer(read, outline, index)
    return FileStructure(path, byte_count, outline.schema_message, index, outline.index.spill_set)


def read_outline(read: ReadAt, path: str, byte_count: int) -> Outline:
    """Read and check what opening a file does: steps 1 to 5 of FORMAT.md section 8; as ``read_structure_by``."""
    footer_offset = _find_footer(read, path, byte_count)
    try:
        index = IndexReader.open(read, path, footer_offset)
    except SectionMissingError as error:
        raise _without_section(read, path, footer_offset, byte_count, error) from error
    return Outline(path, byte_count, _read_schema_message(read, path, index.summary), index)


def _find_footer(read: ReadAt, path: str, byte_count: int) -> int:
    """Offset of the footer, after the magic at both ends has been found right."""
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
    return tail_offset - length


def _without_section(read: ReadAt, path: str, footer_offset: int, byte_count: int, missing: CorruptError) -> Exception:
    """The error of a file that has no index section before its footer: the footer's note tells why."""
    footer_length = byte_count - FOOTER_TAIL_LENGTH - footer_offset
    note = find_place_note(read(footer_offset, min(footer_length, _FOOTER_START_BYTES)), path)
    if note is None:
        return NotPartitionedError(
            "an Arrow file without a partition index",
            path=path,
            advice="`shuffle partition FILE --by COLUMN --partitions P -o OUT` makes one with it",
        )
    version = decode_place_version(note)
    if version is not None:
        check_version(*version, path)
    place = decode_place(note)
    if version is None or place is None:
        return CorruptError(
            "the footer's note of the index section",
            path=path,
            expected=encode_place(1, 0, IndexPlace(0, 0, 1)).strip(),
            actual=repr(note[:120]),
            advice=REPAIR_ADVICE,
        )
    missing.advice = REPAIR_ADVICE
    return CorruptError(
        missing.problem,
        path=path,
        offset=missing.offset,
        expected=missing.expected,
        actual=missing.actual,
        advice=REPAIR_ADVICE,
    )


def check_footer(read: ReadAt, outline: Outline, index: PartitionIndex) -> None:
    """The footer is what the index makes of its template, byte by byte: Arrow's readers see what we see."""
    path, summary = outline.path, outline.index.summary
    try:
        place = IndexPlace(summary.section_offset, summary.section_length, summary.partition_count)
        trailer = TrailerContent(index, encode_place(summary.major, summary.minor, place))
    except ValueError as error:
        raise CorruptError(f"index section: its footer template ({error})", path=path, advice=REPAIR_ADVICE) from error
    position = summary.section_offset + summary.section_length
    if position + trailer.footer_length != outline.byte_count:
        problem = "length of the Arrow footer that the index describes"
        actual = outline.byte_count - position
        raise CorruptError(
            problem, path=path, offset=position, expected=trailer.footer_length, actual=actual, advice=REPAIR_ADVICE
        )
    for expected in trailer.footer_pieces():
        footer = read(position, len(expected))
        if footer != expected:
            unequal = np.frombuffer(footer, np.uint8) != np.frombuffer(expected, np.uint8)
            first = int(np.argmax(unequal))
            raise CorruptError(
                "the Arrow footer is not the one that the index describes",
                path=path,
                offset=position + first,
                expected=bytes(expected[first : first + 8]).hex(" "),
                actual=footer[first : first + 8].hex(" "),
                advice=REPAIR_ADVICE,
            )
        position += len(expected)


def _check_marker(read: ReadAt, path: str, summary: Summary) -> None:
    """The end-of-stream marker stands behind the last range, and the index section begins behind it."""
    expected = END_OF_STREAM + SECTION_MAGIC
    marker = read(summary.ranges_end, len(expected))
    if marker != expected:
        raise CorruptError(
            "end-of-stream marker behind the last range",
            path=path,
            offset=summary.ranges_end,
            expected=expected.hex(" "),
            actual=marker.hex(" "),
            advice=REPAIR_ADVICE,
        )


def _read_schema_message(read: ReadAt, path: str, summary: Summary) -> bytes:
    """The schema message, which ends where the first range starts, is undamaged, and agrees with the index."""
    place = len(FILE_START)
    length = summary.first_offset - place
    if length > LARGEST_SCHEMA_LENGTH:
        problem, most = "length of the schema message", f"{LARGEST_SCHEMA_LENGTH} or less"
        raise CorruptError(problem, path=path, offset=place, expected=most, actual=length, advice=REPAIR_ADVICE)
    message = read(place, length)
    try:
        end = place + metadata_length_of(message)
    except ValueError as error:
        problem = f"the schema message cannot be read ({error})"
        raise CorruptError(problem, path=path, offset=place, advice=REPAIR_ADVICE) from error
    first = summary.first_offset
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
        ("number of partitions", summary.partition_count, seal.partition_count),
        ("alignment", summary.alignment, seal.alignment),
    ):
        if of_index != of_seal:
            problem = f"the schema message's seal and the index disagree on the {name}"
            raise CorruptError(
                problem, path=path, offset=place, expected=of_index, actual=of_seal, advice=REPAIR_ADVICE
            )
    return message
