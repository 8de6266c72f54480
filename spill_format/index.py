"""The index section: the layout of a file and the lengths of its messages, encoded, decoded and checked.

Pure. Together with the file's header the index holds all that a merge needs of a source, so that no pyarrow is asked.
FORMAT.md section 6 is the byte layout; the names of the fields are the same there and here.
"""
# PURE

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .checksum import crc32c
from .errors import REPAIR_ADVICE, ChecksumError, CorruptError, TruncatedError, VersionError
from .framing import BLOCK_DTYPE, SMALLEST_METADATA_LENGTH, Blocks, is_alignment
from .layout import Int64Array, PartitionLayout, find_defect

if TYPE_CHECKING:
    from os import PathLike

    Path = str | PathLike[str] | None

MAJOR_VERSION = 1
MINOR_VERSION = 0

MAGIC = b"SPILLIDX"
_HEAD = struct.Struct("<8sHHIQQQII")
_CHECKSUM = struct.Struct("<4xI")
_CHECKSUM_LENGTH = 4


class _Head(NamedTuple):
    """The fields of ``_HEAD`` (FORMAT.md section 6.1)."""

    magic: bytes
    major: int
    minor: int
    alignment: int
    section_length: int
    partition_count: int
    batch_count: int
    footer_template_length: int
    reserved: int

    def element_counts(self) -> Mapping[str, int]:
        """Elements of each array of ``_ARRAYS``."""
        partitions, batches = self.partition_count, self.batch_count
        return {
            "offsets": partitions + 1,
            "rows": partitions,
            "body_lengths": batches,
            "crc32c": partitions,
            "metadata_lengths": batches,
        }

    def content_length(self) -> int:
        """Bytes between head and checksum."""
        counts = self.element_counts()
        length = sum(counts[name] * dtype.itemsize for name, dtype in _ARRAYS.items()) + self.footer_template_length
        return length + -length % 8


# The arrays behind the head, in this order: those of eight bytes first, so that each is aligned (FORMAT.md, 6.2).
_ARRAYS: Mapping[str, np.dtype[Any]] = {
    "offsets": np.dtype("<i8"),
    "rows": np.dtype("<i8"),
    "body_lengths": np.dtype("<i8"),
    "crc32c": np.dtype("<u4"),
    "metadata_lengths": np.dtype("<i4"),
}


@dataclass(frozen=True, slots=True, eq=False)
class PartitionIndex:
    """What a file says of its own partitions.

    Attributes:
        layout: ranges, rows and checksums; all three arrays present.
        alignment: bytes; every range starts and ends at a multiple of it.
        metadata_lengths: ``int32[B]``, bytes of each message's metadata, prefix included, in file order.
        body_lengths: ``int64[B]``, bytes of each message's body.
        footer_template: an Arrow footer without record batches.
    """

    layout: PartitionLayout
    alignment: int
    metadata_lengths: npt.NDArray[np.int32]
    body_lengths: Int64Array
    footer_template: bytes

    @property
    def message_lengths(self) -> Int64Array:
        """Bytes of each message, ``int64[B]``."""
        return self.metadata_lengths + self.body_lengths

    @property
    def message_offsets(self) -> Int64Array:
        """Where each message starts, and where the last one ends: ``int64[B + 1]``."""
        offsets = np.empty(len(self.body_lengths) + 1, dtype=np.int64)
        offsets[0] = self.layout.offsets[0]
        np.cumsum(self.message_lengths, out=offsets[1:])
        offsets[1:] += offsets[0]
        return offsets

    @property
    def first_messages(self) -> Int64Array:
        """Partition p holds the messages ``[first_messages[p], first_messages[p + 1])``: ``int64[P + 1]``."""
        return np.searchsorted(self.message_offsets, self.layout.offsets)

    def blocks(self) -> Blocks:
        """The record batches as an Arrow footer lists them."""
        blocks = np.zeros(len(self.body_lengths), dtype=BLOCK_DTYPE)
        blocks["offset"] = self.message_offsets[:-1]
        blocks["metadata_length"] = self.metadata_lengths
        blocks["body_length"] = self.body_lengths
        return blocks

    def encode(self) -> bytes:
        """The index section's bytes; their number is a multiple of 8."""
        return b"".join(self.encode_pieces())

    def encode_pieces(self) -> Iterator[bytes | memoryview]:
        """The same, piece by piece: views of the arrays instead of copies."""
        layout = self.layout
        if layout.rows is None or layout.crc32c is None:
            raise ValueError("an index section needs the rows and checksums of every partition")
        arrays: Mapping[str, npt.NDArray[Any]] = {
            "offsets": layout.offsets,
            "rows": layout.rows,
            "body_lengths": self.body_lengths,
            "crc32c": layout.crc32c,
            "metadata_lengths": self.metadata_lengths,
        }
        head = self._head()
        stored = [np.ascontiguousarray(arrays[name], dtype).view(np.uint8).data for name, dtype in _ARRAYS.items()]
        padding = bytes(head.content_length() - sum(map(len, stored)) - len(self.footer_template))
        reserved = _CHECKSUM.pack(0)[:-_CHECKSUM_LENGTH]
        checksum = 0
        pieces: list[bytes | memoryview] = [_HEAD.pack(*head), *stored, self.footer_template, padding, reserved]
        for piece in pieces:
            checksum = crc32c(piece, checksum)
            yield piece
        yield checksum.to_bytes(_CHECKSUM_LENGTH, "little")

    @property
    def encoded_length(self) -> int:
        """Bytes of the index section."""
        return self._head().section_length

    def _head(self) -> _Head:
        head = _Head(
            magic=MAGIC,
            major=MAJOR_VERSION,
            minor=MINOR_VERSION,
            alignment=self.alignment,
            section_length=0,
            partition_count=self.layout.partition_count,
            batch_count=len(self.body_lengths),
            footer_template_length=len(self.footer_template),
            reserved=0,
        )
        return head._replace(section_length=_HEAD.size + head.content_length() + _CHECKSUM.size)


class _Place(NamedTuple):
    """Where a section comes from, for errors."""

    path: Path
    offset: int

    def corrupt(self, problem: str, expected: object, actual: object, partition: int | None = None) -> CorruptError:
        return CorruptError(
            f"index section: {problem}",
            path=self.path,
            partition=partition,
            offset=self.offset,
            expected=expected,
            actual=actual,
            advice=REPAIR_ADVICE,
        )


def decode(section: bytes, path: Path = None, section_offset: int = 0) -> PartitionIndex:
    """Read an index section, checking length, magic, version, checksum and meaning, in that order.

    Args:
        section: the bytes that the footer names; the arrays of the index are views of them.
        path, section_offset: where they came from, for errors.

    Raises:
        TruncatedError, CorruptError, VersionError, ChecksumError: the first defect found.
    """
    place = _Place(path, section_offset)
    head = _check_frame(section, place)
    if head.partition_count < 1:
        raise place.corrupt("number of partitions", "1 or more", head.partition_count)
    needed, there = head.content_length(), len(section) - _HEAD.size - _CHECKSUM.size
    # A newer minor version may put more behind what this one knows.
    if there < needed or (there > needed and head.minor <= MINOR_VERSION):
        raise place.corrupt("its length differs from that of its arrays", needed, there)
    if not is_alignment(head.alignment):
        raise place.corrupt("alignment", "a power of two from 8 to 65536", head.alignment)

    arrays: dict[str, npt.NDArray[Any]] = {}
    position = _HEAD.size
    for name, count in head.element_counts().items():
        stored = np.frombuffer(section, dtype=_ARRAYS[name], count=count, offset=position)
        arrays[name] = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        position += stored.nbytes
    if (defect := find_defect(arrays["offsets"], arrays["rows"])) is not None:
        raise place.corrupt(defect.problem, defect.expected, defect.actual, defect.partition)
    index = PartitionIndex(
        layout=PartitionLayout(arrays["offsets"], arrays["rows"], arrays["crc32c"]),
        alignment=head.alignment,
        metadata_lengths=arrays["metadata_lengths"],
        body_lengths=arrays["body_lengths"],
        footer_template=section[position : position + head.footer_template_length],
    )
    _check_messages(index, place)
    return index


def version_of(section: bytes) -> tuple[int, int]:
    """Major and minor version in the head of a section that ``decode`` has found right."""
    head = _Head(*_HEAD.unpack_from(section))
    return head.major, head.minor


def check_version(major: int, minor: int, path: Path, offset: int | None = None) -> None:
    """Raise VersionError unless this release reads files of version ``major.minor``."""
    if major != MAJOR_VERSION:
        newer = "the file was written by a newer release; upgrade to read it"
        older = "no release has written such a version"
        raise VersionError(
            "version of the format",
            path=path,
            offset=offset,
            expected=f"{MAJOR_VERSION}.x",
            actual=f"{major}.{minor}",
            advice=newer if major > MAJOR_VERSION else older,
        )


def _check_frame(section: bytes, place: _Place) -> _Head:
    """The head, after length, magic, version and checksum have been found right."""
    smallest = _HEAD.size + _CHECKSUM.size
    if len(section) < smallest:
        raise TruncatedError(
            "index section: its length in bytes",
            path=place.path,
            offset=place.offset,
            expected=f"{smallest} or more",
            actual=len(section),
            advice=REPAIR_ADVICE,
        )
    head = _Head(*_HEAD.unpack_from(section))
    if head.magic != MAGIC:
        raise place.corrupt("magic", MAGIC, head.magic)
    check_version(head.major, head.minor, place.path, place.offset)
    if head.section_length != len(section):
        raise place.corrupt("its length differs from the footer's", len(section), head.section_length)
    recorded = int.from_bytes(section[-_CHECKSUM_LENGTH:], "little")
    computed = crc32c(memoryview(section)[:-_CHECKSUM_LENGTH])
    if computed != recorded:
        raise ChecksumError(
            "index section: CRC-32C",
            path=place.path,
            offset=place.offset,
            expected=f"{recorded:08x}",
            actual=f"{computed:08x}",
            advice=REPAIR_ADVICE,
        )
    return head


def _check_messages(index: PartitionIndex, place: _Place) -> None:
    """Ranges are aligned, and messages fill them exactly."""
    offsets = index.layout.offsets
    unaligned = offsets & (index.alignment - 1) != 0
    if unaligned.any():
        border = int(np.argmax(unaligned))
        partition = min(border, index.layout.partition_count - 1)
        expected = f"a multiple of {index.alignment}"
        raise place.corrupt("the range is not aligned", expected, int(offsets[border]), partition)

    metadata_lengths, body_lengths = index.metadata_lengths, index.body_lengths
    unsound = (metadata_lengths < SMALLEST_METADATA_LENGTH) | (body_lengths < 0)
    unsound |= (metadata_lengths & 7 != 0) | (body_lengths & 7 != 0)
    if unsound.any():
        batch = int(np.argmax(unsound))
        expected = f"multiples of 8, for the metadata from {SMALLEST_METADATA_LENGTH} on"
        actual = f"{metadata_lengths[batch]} and {body_lengths[batch]}"
        raise place.corrupt(f"lengths of metadata and body of record batch {batch}", expected, actual)

    reached = index.message_offsets
    # Lengths are positive: a sum that does not grow has passed 2**63, and wrapped around.
    if (reached[1:] <= reached[:-1]).any():
        batch = int(np.argmax(reached[1:] <= reached[:-1]))
        raise place.corrupt(
            f"body length of record batch {batch}", "one that ends before 2**63", int(body_lengths[batch])
        )
    ends = reached[np.searchsorted(reached, offsets).clip(max=len(reached) - 1)]
    missed = ends != offsets
    if missed.any():
        border = int(np.argmax(missed))
        raise place.corrupt(
            "the messages do not fill the range",
            f"one that ends at {int(offsets[border])}",
            f"one that ends at {int(ends[border])}",
            border - 1,
        )
    if reached[-1] != offsets[-1]:
        raise place.corrupt("the messages overrun the ranges: their end", int(offsets[-1]), int(reached[-1]))
