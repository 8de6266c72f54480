"""The bytes of an answer, as segments in memory and spans of a file. Pure: reads no file."""
# PURE

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from shuffle.serve.extent import Extent
from shuffle.serve.refusal import Refusal
from shuffle.serve.resource import PartitionsResource
from spill_format.messages import END_OF_STREAM

if TYPE_CHECKING:
    from shuffle.serve.catalog import OpenFile, ServedFile


class FileSpan(NamedTuple):
    """The bytes ``[start, stop)`` of a file."""

    file: OpenFile
    start: int
    stop: int


Segment = bytes | FileSpan


class PartitionsStream(NamedTuple):
    """Partitions as an Arrow stream: schema message, one span of the file with all ranges, end-of-stream marker.

    Attributes:
        segments: bytes of the stream.
        byte_count: length of the stream.
        row_count: rows of the partitions.
        crc32c: checksum of the span of the file.
        entity_tag: strong entity tag of the stream, with its quotation marks.
    """

    segments: tuple[bytes, FileSpan, bytes]
    byte_count: int
    row_count: int
    crc32c: int
    entity_tag: str


def stream_of(file: ServedFile, extent: Extent) -> PartitionsStream:
    """Return the stream of the partitions in an extent of a file."""
    schema_message = file.outline.schema_message
    byte_count = len(schema_message) + extent.stop - extent.start + len(END_OF_STREAM)
    segments = (schema_message, FileSpan(file, extent.start, extent.stop), END_OF_STREAM)
    entity_tag = f'"{file.identity_text}-{extent.crc32c:08x}"'
    return PartitionsStream(segments, byte_count, extent.row_count, extent.crc32c, entity_tag)


def check_there_are(file: ServedFile, resource: PartitionsResource) -> None:
    """Raise Refusal unless a file has the partitions that a resource names."""
    count = file.partition_count
    if resource.stop > count:
        raise Refusal(404, f"there is no partition {max(resource.start, count)}: they are 0 to {count - 1}")


def cut(segments: Sequence[Segment], start: int, stop: int) -> Iterator[Segment]:
    """Yield the bytes ``[start, stop)`` of segments as segments; positions count over all segments."""
    position = 0
    for segment in segments:
        length = _length(segment)
        part = slice(max(start - position, 0), min(stop - position, length))
        position += length
        if part.start >= part.stop:
            continue
        if isinstance(segment, FileSpan):
            yield segment._replace(start=segment.start + part.start, stop=segment.start + part.stop)
        else:
            yield segment[part]


def joined(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Yield segments, neighbours in memory joined, so that one call sends them; takes one segment at a time."""
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
    return segment.stop - segment.start if isinstance(segment, FileSpan) else len(segment)
