"""The index section: the layout of a file and the lengths of its messages, encoded, decoded and checked.

Pure. Together with the file's header the index holds all that a merge needs of a source, so that neither pyarrow nor
the source's footer is asked. FORMAT.md section 5 is the byte layout; the names of the fields are the same there and here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .checksum import crc32c
from .errors import ChecksumError, CorruptError, TruncatedError, VersionError
from .framing import BLOCK_DTYPE, MAXIMUM_ALIGNMENT, MINIMUM_ALIGNMENT, Blocks
from .layout import Int64Array, PartitionLayout, find_defect

if TYPE_CHECKING:
    from os import PathLike

MAJOR_VERSION = 1
MINOR_VERSION = 0

_MAGIC = b"SPILLIDX"
_HEAD = struct.Struct("<8sHHIQQQII")  # magic, major, minor, alignment, length, P, B, template length, reserved
_CRC_LENGTH = 4
_TAIL_LENGTH = 8  # four reserved bytes, then the CRC


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
        layout = self.layout
        if layout.rows is None or layout.crc32c is None:
            raise ValueError("an index section needs the rows and checksums of every partition")
        arrays = (
            layout.offsets.astype("<i8", copy=False),
            layout.rows.astype("<i8", copy=False),
            self.body_lengths.astype("<i8", copy=False),
            layout.crc32c.astype("<u4", copy=False),
            self.metadata_lengths.astype("<i4", copy=False),
        )
        content = b"".join([array.tobytes() for array in arrays] + [self.footer_template])
        content += bytes(-len(content) % 8)
        head = _HEAD.pack(
            _MAGIC,
            MAJOR_VERSION,
            MINOR_VERSION,
            self.alignment,
            _HEAD.size + len(content) + _TAIL_LENGTH,
            layout.partition_count,
            len(self.body_lengths),
            len(self.footer_template),
            0,
        )
        section = head + content + bytes(_TAIL_LENGTH - _CRC_LENGTH)
        return section + crc32c(section).to_bytes(_CRC_LENGTH, "little")


def decode(section: bytes, path: str | PathLike[str] | None = None, section_offset: int = 0) -> PartitionIndex:
    """Read an index section, checking length, magic, version, checksum and meaning, in that order.

    Args:
        section: the bytes that the footer names.
        path, section_offset: where they came from, for errors.

    Raises:
        TruncatedError, CorruptError, VersionError, ChecksumError: the first defect found.
    """
    fields = _check_frame(section, path, section_offset)
    minor, alignment, partition_count, batch_count, template_length = (*fields[2:4], *fields[5:8])

    def corrupt(problem: str, expected: object, actual: object) -> CorruptError:
        return CorruptError(
            f"index section: {problem}", path=path, offset=section_offset, expected=expected, actual=actual
        )

    if partition_count < 1:
        raise corrupt("number of partitions", "1 or more", partition_count)
    needed = 8 + 20 * partition_count + 12 * batch_count + template_length
    content_length = len(section) - _HEAD.size - _TAIL_LENGTH
    needed += -needed % 8
    if content_length < needed or (content_length > needed and minor <= MINOR_VERSION):
        raise corrupt("bytes of its arrays", needed, content_length)
    if not MINIMUM_ALIGNMENT <= alignment <= MAXIMUM_ALIGNMENT or alignment & (alignment - 1):
        raise corrupt("alignment", "a power of two from 8 to 65536", alignment)

    position = _HEAD.size

    def take(dtype: str, count: int) -> npt.NDArray[np.generic]:
        nonlocal position
        array = np.frombuffer(section, dtype=dtype, count=count, offset=position)
        position += array.nbytes
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    offsets, rows, body_lengths = (
        take("<i8", partition_count + 1),
        take("<i8", partition_count),
        take("<i8", batch_count),
    )
    checksums, metadata_lengths = take("<u4", partition_count), take("<i4", batch_count)
    if (defect := find_defect(offsets, rows)) is not None:
        raise CorruptError(
            f"index section: {defect.problem}",
            path=path,
            partition=defect.partition,
            offset=section_offset,
            expected=defect.expected,
            actual=defect.actual,
        )
    index = PartitionIndex(
        PartitionLayout(offsets, rows, checksums),
        alignment,
        metadata_lengths,
        body_lengths,
        section[position : position + template_length],
    )
    _check_messages(index, path, section_offset)
    return index


def _check_frame(section: bytes, path: str | PathLike[str] | None, section_offset: int) -> tuple[int, ...]:
    """The head's fields, after length, magic, version and checksum have been found right."""
    smallest = _HEAD.size + _TAIL_LENGTH
    if len(section) < smallest:
        raise TruncatedError(
            "index section: too short",
            path=path,
            offset=section_offset,
            expected=f"{smallest} bytes or more",
            actual=len(section),
        )
    fields = _HEAD.unpack_from(section)
    magic, major, minor, _, length = fields[:5]
    if magic != _MAGIC:
        raise CorruptError("index section: magic", path=path, offset=section_offset, expected=_MAGIC, actual=magic)
    if major != MAJOR_VERSION:
        raise VersionError(
            "index section: version of the format",
            path=path,
            offset=section_offset,
            expected=f"{MAJOR_VERSION}.x",
            actual=f"{major}.{minor}",
            advice="the file was written by a newer release; upgrade to read it" if major > MAJOR_VERSION else None,
        )
    if length != len(section):
        raise CorruptError(
            "index section: its length differs from the footer's",
            path=path,
            offset=section_offset,
            expected=len(section),
            actual=length,
        )
    recorded = int.from_bytes(section[-_CRC_LENGTH:], "little")
    computed = crc32c(memoryview(section)[:-_CRC_LENGTH])
    if computed != recorded:
        raise ChecksumError(
            "index section: CRC-32C",
            path=path,
            offset=section_offset,
            expected=f"{recorded:08x}",
            actual=f"{computed:08x}",
        )
    return fields


def _check_messages(index: PartitionIndex, path: str | PathLike[str] | None, section_offset: int) -> None:
    """Ranges are aligned, and messages fill them exactly."""
    offsets = index.layout.offsets
    unaligned = offsets % index.alignment != 0
    if unaligned.any():
        partition = int(np.argmax(unaligned))
        raise CorruptError(
            "index section: the range is not aligned",
            path=path,
            partition=min(partition, index.layout.partition_count - 1),
            offset=section_offset,
            expected=f"a multiple of {index.alignment}",
            actual=int(offsets[partition]),
        )
    if (index.metadata_lengths <= 0).any() or (index.body_lengths < 0).any():
        raise CorruptError(
            "index section: message lengths",
            path=path,
            offset=section_offset,
            expected="positive ones",
            actual="others",
        )
    reached = index.message_offsets
    borders = reached[np.searchsorted(reached, offsets).clip(max=len(reached) - 1)]
    if (borders != offsets).any() or reached[-1] != offsets[-1]:
        partition = int(np.argmax(borders != offsets)) if (borders != offsets).any() else index.layout.partition_count
        raise CorruptError(
            "index section: the messages do not fill the range",
            path=path,
            partition=max(partition - 1, 0),
            offset=section_offset,
            expected=f"a message ending at {int(offsets[partition])}",
            actual=f"one ending at {int(borders[partition])}",
        )
