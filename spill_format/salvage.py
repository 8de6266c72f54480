"""What a damaged file still says of itself: schema, partition count and alignment, from header, index or footer.

Each of the three is believed where its checksum is right; the footer, which has none, where nothing else is left. The
rows are ``message_scan.py``'s business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.ipc

from .checksum import crc32c
from .errors import CorruptError, NotPartitionedError, SpillError, TruncatedError, VersionError
from .footer import FOOTER_TAIL_LENGTH, decode_place, find_place_note, read_blocks
from .index import SUMMARY_LENGTH, SUMMARY_MAGIC, PartitionIndex
from .index_reader import IndexReader, recorded_section_end
from .messages import (
    END_OF_STREAM,
    FILE_START,
    MAGIC,
    PREFIX_LENGTH,
    metadata_length_of,
    read_header_seal,
    read_seal,
    sealed_crc32c,
)
from .spill_set import SpillSet
from .storage.local import read_around_faults
from .undecodable import UNDECODABLE

_WINDOW_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class OldIndex:
    """The index section of a damaged file, whose own checksum is right.

    Attributes:
        index: what it says.
        is_in_place: it stands where it says that it does, so messages can be expected where it says, too.
        spill_set: the set that the file belongs to, or None.
    """

    index: PartitionIndex
    is_in_place: bool
    spill_set: SpillSet | None


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """What a damaged file still says of itself.

    Attributes:
        stored_schema: of the record batches.
        partition_count: P, or None where only the messages can tell.
        alignment: bytes, or None where only the messages can tell.
        first_offset: where the first range starts, or None where it must be looked for.
        old_index: the index section, or None where it is lost.
        lost_parts: ``"header"``, ``"index"`` and ``"footer"``, as far as they are damaged or missing.
    """

    stored_schema: pa.Schema
    partition_count: int | None
    alignment: int | None
    first_offset: int | None
    old_index: OldIndex | None
    lost_parts: tuple[str, ...]


class _Header(NamedTuple):
    stored_schema: pa.Schema
    partition_count: int
    alignment: int
    stop: int


class _File(NamedTuple):
    """An open file; the descriptor is borrowed."""

    descriptor: int
    path: str
    byte_count: int

    def read(self, offset: int, byte_count: int) -> bytes:
        """Bytes from ``offset``, fewer at the end of the file."""
        return read_around_faults(self.descriptor, offset, max(min(byte_count, self.byte_count - offset), 0), self.path)


def describe_damaged(descriptor: int, path: str, byte_count: int) -> Description:
    """All that the file open as ``descriptor`` still says of itself.

    Raises:
        NotPartitionedError: an Arrow file that never had seals or an index.
        CorruptError: the schema is in no part that is left.
        VersionError: a sound index of a newer major version.
        OSError: the file cannot be read.
    """
    file = _File(descriptor, path, byte_count)
    footer_offset, footer = _read_footer(file)
    footer_schema = None if footer is None else _schema_of_footer(footer)
    header = _read_header(file)
    old_index = _find_index(file, footer_offset)
    parts = {"header": header, "index": old_index, "footer": footer_schema}
    lost = tuple(name for name, part in parts.items() if part is None)
    if header is not None:
        return Description(header.stored_schema, header.partition_count, header.alignment, header.stop, old_index, lost)
    if old_index is not None and (schema := _schema_of_footer(old_index.index.footer_template)) is not None:
        index = old_index.index
        first = int(index.layout.offsets[0]) if old_index.is_in_place else None
        return Description(schema, index.layout.partition_count, index.alignment, first, old_index, lost)
    if old_index is None and _is_plain(file):
        raise NotPartitionedError(
            "an Arrow file without seals and without an index, so that nothing tells its record batches from damage",
            path=path,
            advice="only files that were written partitioned can be repaired",
        )
    if footer is None or footer_schema is None:
        raise CorruptError(
            "nothing can be recovered: header, index and footer, which have the schema, are all damaged or missing",
            path=path,
        )
    return _describe_by_footer(file, footer, footer_schema, lost)


def _describe_by_footer(file: _File, footer: bytes, schema: pa.Schema, lost: tuple[str, ...]) -> Description:
    try:
        blocks = read_blocks(footer, file.path)
        note = find_place_note(footer, file.path)
    except CorruptError:
        return Description(schema, None, None, None, None, lost)
    place = None if note is None else decode_place(note)
    partition_count = None if place is None else place.partition_count
    first_offset = int(blocks["offset"][0]) if len(blocks) else None
    if first_offset is not None and not len(FILE_START) < first_offset < file.byte_count:
        first_offset = None
    if partition_count is not None and not 1 <= partition_count < 1 << 31:
        partition_count = None
    return Description(schema, partition_count, None, first_offset, None, lost)


def _read_header(file: _File) -> _Header | None:
    """The header, where its seal's checksum is right; the magic before it is not looked at."""
    message = _schema_message(file)
    seal = None if message is None else read_header_seal(message)
    if message is None or seal is None or sealed_crc32c(message) != seal.metadata_crc32c:
        return None
    schema = _schema_in(message)
    if schema is None:
        return None
    return _Header(schema, seal.partition_count, seal.alignment, len(FILE_START) + len(message))


def _schema_message(file: _File) -> bytes | None:
    """What stands where the schema message must be, if it begins like a message."""
    try:
        length = metadata_length_of(file.read(len(FILE_START), PREFIX_LENGTH))
    except ValueError:
        return None
    message = file.read(len(FILE_START), length)
    return message if len(message) == length else None


def _is_plain(file: _File) -> bool:
    """Whether the file starts as Arrow's do that were not written partitioned: neither its schema nor what follows has
    a seal."""
    message = _schema_message(file)
    if message is None or read_header_seal(message) is not None or _schema_in(message) is None:
        return False
    offset = len(FILE_START) + len(message)
    try:
        length = metadata_length_of(file.read(offset, PREFIX_LENGTH))
    except ValueError:
        return True  # no record batch at all, or cut off before the first
    return read_seal(file.read(offset, length)) is None


def _read_footer(file: _File) -> tuple[int | None, bytes | None]:
    """Offset and bytes of the footer, where the file ends as it must."""
    tail_offset = max(file.byte_count - FOOTER_TAIL_LENGTH, 0)
    tail = file.read(tail_offset, FOOTER_TAIL_LENGTH)
    length = int.from_bytes(tail[:4], "little", signed=True)
    if tail[4:] != MAGIC or not 0 < length <= tail_offset:
        return None, None
    return tail_offset - length, file.read(tail_offset - length, length)


def _schema_of_footer(footer: bytes) -> pa.Schema | None:
    """The schema in a footer, by way of a file that has nothing else."""
    file = b"".join((FILE_START, END_OF_STREAM, footer, len(footer).to_bytes(4, "little"), MAGIC))
    try:
        return pa.ipc.open_file(pa.py_buffer(file)).schema
    except MemoryError:
        raise
    except UNDECODABLE:
        return None


def _schema_in(message: bytes) -> pa.Schema | None:
    try:
        return pa.ipc.read_schema(pa.py_buffer(message))
    except MemoryError:
        raise
    except UNDECODABLE:
        return None


def _find_index(file: _File, footer_offset: int | None) -> OldIndex | None:
    """The index section, wherever it is: the last sound one that belongs to this file and not to one inside a value."""
    for offset in _summary_candidates(file):
        raw = file.read(offset, SUMMARY_LENGTH)
        if len(raw) < SUMMARY_LENGTH:
            continue
        stop = offset + SUMMARY_LENGTH
        recorded_end = recorded_section_end(raw)
        moved = stop - recorded_end
        read = partial(_read_moved, file, moved)
        try:
            reader = IndexReader.open(read, file.path, recorded_end)
            index = reader.whole(read)
        except VersionError:
            if crc32c(memoryview(raw)[:-4]) == int.from_bytes(raw[-4:], "little"):
                raise
            continue  # the version is what is damaged
        except SpillError:
            continue
        if not moved or stop == footer_offset:
            return OldIndex(index, is_in_place=not moved, spill_set=reader.spill_set)
    return None


def _read_moved(file: _File, moved: int, offset: int, byte_count: int) -> bytes:
    """The bytes that stood at ``offset`` before all from there on was moved by ``moved`` bytes."""
    content = file.read(max(offset + moved, 0), byte_count)
    if len(content) < byte_count:
        raise TruncatedError("the file ends too early", path=file.path, offset=offset + moved)
    return content


def _summary_candidates(file: _File) -> Iterator[int]:
    """Where an index section's summary may be, from the end of the file on."""
    overlap = len(SUMMARY_MAGIC) - 1
    stop = file.byte_count
    while stop > 0:
        start = max(stop - _WINDOW_BYTES, 0)
        window = file.read(start, stop - start + overlap)
        found = window.rfind(SUMMARY_MAGIC)
        while found >= 0:
            yield start + found
            found = window.rfind(SUMMARY_MAGIC, 0, found + overlap)
        stop = start
