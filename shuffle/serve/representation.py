"""The bytes of an answer: what of them is in memory and what in a file. Pure: nothing is read here."""
# PURE

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from shuffle.serve.refusal import Refusal
from shuffle.serve.resource import PartitionsResource
from spill_format.checksum import concatenate
from spill_format.messages import END_OF_STREAM

if TYPE_CHECKING:
    from shuffle.serve.catalog import ServedFile
    from spill_format.structure import FileStructure


class FileSpan(NamedTuple):
    """The bytes ``[start, end)`` of a file."""

    file: ServedFile
    start: int
    end: int


Segment = bytes | FileSpan


class PartitionsStream(NamedTuple):
    """Partitions as an Arrow stream: schema message, their ranges, which touch each other, end-of-stream marker.

    Attributes:
        segments: its bytes.
        byte_count: how many.
        row_count: rows of the partitions.
        crc32c: of their ranges.
        entity_tag: of the stream, strong, with its quotation marks.
    """

    segments: tuple[bytes, FileSpan, bytes]
    byte_count: int
    row_count: int
    crc32c: int
    entity_tag: str


def partitions_stream(file: ServedFile, structure: FileStructure, first: int, last: int) -> PartitionsStream:
    """The stream of partitions ``first`` … ``last - 1``, which must exist."""
    layout = structure.index.layout
    assert layout.crc32c is not None  # an index always has them
    assert layout.rows is not None
    start, end = int(layout.offsets[first]), int(layout.offsets[last])
    if last - first == 1:
        row_count, checksum = int(layout.rows[first]), int(layout.crc32c[first])
    else:
        row_count = int(layout.rows[first:last].sum())
        lengths = np.diff(layout.offsets[first : last + 1])
        checksum = int(concatenate(layout.crc32c[first:last], lengths, np.array([last - first]))[0])
    byte_count = len(structure.schema_message) + end - start + len(END_OF_STREAM)
    segments = (structure.schema_message, FileSpan(file, start, end), END_OF_STREAM)
    entity_tag = f'"{file.identity_text}-{checksum:08x}"'
    return PartitionsStream(segments, byte_count, row_count, checksum, entity_tag)


def stream_of(file: ServedFile, resource: PartitionsResource) -> PartitionsStream:
    """The stream that a resource of a file names.

    Raises:
        Refusal: there are no such partitions.
    """
    count = file.structure.index.layout.partition_count
    if resource.last > count:
        raise Refusal(404, f"there is no partition {max(resource.first, count)}: they are 0 to {count - 1}")
    return partitions_stream(file, file.structure, resource.first, resource.last)


def cut(segments: Sequence[Segment], first: int, last: int) -> Iterator[Segment]:
    """The bytes ``[first, last)`` of segments, counted over all of them, as segments."""
    position = 0
    for segment in segments:
        length = _length(segment)
        start, end = max(first - position, 0), min(last - position, length)
        position += length
        if start >= end:
            continue
        if isinstance(segment, FileSpan):
            yield segment._replace(start=segment.start + start, end=segment.start + end)
        else:
            yield segment[start:end]


def joined(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Segments with neighbours in memory made one: that many are sent by one call. Each is asked for in its turn."""
    in_memory = b""
    for segment in segments:
        if isinstance(segment, bytes):
            in_memory += segment
        else:
            if in_memory:
                yield in_memory
                in_memory = b""
            yield segment
    if in_memory:
        yield in_memory


def _length(segment: Segment) -> int:
    return segment.end - segment.start if isinstance(segment, FileSpan) else len(segment)
