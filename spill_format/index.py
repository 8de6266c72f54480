"""The index section: where partitions and messages are, in blocks that have a checksum each.

Pure. Together with the file's header the index holds all that a merge needs of a source, so that no pyarrow is asked.
FORMAT.md section 6 is the byte layout; the names of the fields are the same there and here.
"""
# PURE

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .checksum import crc32c
from .footer import BLOCK_DTYPE, Blocks
from .layout import Int64Array, PartitionLayout
from .messages import END_OF_STREAM
from .spill_set import MEMBERSHIP_LENGTH

if TYPE_CHECKING:
    from os import PathLike

    Path = str | PathLike[str] | None

MAJOR_VERSION = 1
MINOR_VERSION = 0

SECTION_MAGIC = b"SPILLIDX"
SUMMARY_MAGIC = b"SPILLSUM"
LARGEST_SCHEMA_LENGTH = 1 << 28
"""Bytes of a schema message, and of all that the section holds beside its blocks: what opening reads before a checksum
can be right. FORMAT.md section 6.4 has the limit."""

SUMMARY_STRUCT = struct.Struct("<8sHHIQQQQQIIII4xI")
SUMMARY_LENGTH = SUMMARY_STRUCT.size
CHECKSUM_LENGTH = 4

PARTITION_DTYPE = np.dtype([("offset", "<i8"), ("rows", "<i8"), ("first_message", "<u4"), ("crc32c", "<u4")])
MESSAGE_DTYPE = np.dtype([("body_length", "<i8"), ("metadata_length", "<i4")])


_BLOCKS_AT_ONCE = 1 << 16  # of the footer, 1.5 MiB


class Table(NamedTuple):
    """Entries of one kind, in blocks that have a checksum each (FORMAT.md section 6.2)."""

    start: int  # bytes from the start of the section
    entry_count: int
    dtype: np.dtype[Any]
    block_entries: int
    first_block: int  # its number among the checksums

    @property
    def length(self) -> int:
        """Bytes of all entries."""
        return self.entry_count * self.dtype.itemsize

    @property
    def block_count(self) -> int:
        """Blocks, the last one perhaps not full."""
        return -(-self.entry_count // self.block_entries)


class Summary(NamedTuple):
    """The end of the section, from which all else in it is found (FORMAT.md section 6.4)."""

    magic: bytes
    major: int
    minor: int
    alignment: int
    section_length: int
    partition_count: int
    batch_count: int
    first_offset: int
    ranges_end: int
    details_length: int
    footer_template_length: int
    partitioner_length: int
    details_crc32c: int
    summary_crc32c: int

    @property
    def partitions(self) -> Table:
        """P + 1 entries: the last one is the end of the last range."""
        return Table(len(SECTION_MAGIC), self.partition_count + 1, PARTITION_DTYPE, 2048, 0)

    @property
    def messages(self) -> Table:
        """B entries."""
        partitions = self.partitions
        start = partitions.start + partitions.length
        return Table(start, self.batch_count, MESSAGE_DTYPE, 4096, partitions.block_count)

    @property
    def details_start(self) -> int:
        """Where the details are, in bytes from the start of the section."""
        return self.messages.start + self.messages.length

    @property
    def needed_details_length(self) -> int:
        """Bytes of the details that this version knows, without their padding."""
        block_count = self.partitions.block_count + self.messages.block_count
        return 4 * block_count + self.footer_template_length + self.partitioner_length

    @property
    def section_offset(self) -> int:
        """Where the section starts in the file."""
        return self.ranges_end + len(END_OF_STREAM)

    @property
    def membership_offset(self) -> int:
        """Where the set membership is in the file."""
        return self.section_offset + self.details_start + self.details_length


@dataclass(frozen=True, slots=True, eq=False)
class PartitionIndex:
    """What a file says of its own partitions, of all or of some neighbours.

    Attributes:
        layout: ranges, rows and checksums; all three arrays present.
        alignment: bytes; every range starts and ends at a multiple of it.
        metadata_lengths: ``int32[B]``, bytes of each message's metadata, prefix included, in file order.
        body_lengths: ``int64[B]``, bytes of each message's body.
        footer_template: an Arrow footer without record batches.
        partitioner: the description of the partitioner as it is stored; empty where it is unknown.
    """

    layout: PartitionLayout
    alignment: int
    metadata_lengths: npt.NDArray[np.int32]
    body_lengths: Int64Array
    footer_template: bytes
    partitioner: bytes = b""

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
        offsets = self.layout.offsets
        first_messages = np.full(len(offsets), len(self.body_lengths))
        message, found = 0, 0
        for blocks in self.blocks():
            stop = int(np.searchsorted(offsets, blocks["offset"][-1], side="right"))
            first_messages[found:stop] = message + np.searchsorted(blocks["offset"], offsets[found:stop])
            message, found = message + len(blocks), stop
        return first_messages

    def blocks(self) -> Iterator[Blocks]:
        """The record batches as an Arrow footer lists them, some at a time."""
        position = int(self.layout.offsets[0])
        for start in range(0, len(self.body_lengths), _BLOCKS_AT_ONCE):
            some = slice(start, start + _BLOCKS_AT_ONCE)
            blocks = np.zeros(len(self.body_lengths[some]), dtype=BLOCK_DTYPE)
            blocks["metadata_length"] = self.metadata_lengths[some]
            blocks["body_length"] = self.body_lengths[some]
            ends = np.cumsum(blocks["metadata_length"] + blocks["body_length"])
            blocks["offset"][0] = position
            blocks["offset"][1:] = ends[:-1] + position
            position += int(ends[-1])
            yield blocks

    def encode(self) -> bytes:
        """The index section's bytes; their number is a multiple of 8."""
        return b"".join(self.encode_pieces())

    def encode_pieces(self) -> Iterator[bytes]:
        """The same, piece by piece; no piece grows with the number of partitions or messages."""
        layout = self.layout
        if layout.rows is None or layout.crc32c is None:
            raise ValueError("an index section needs the rows and checksums of every partition")
        summary = self._summary()
        checksums: list[int] = []
        yield SECTION_MAGIC
        columns: dict[str, npt.NDArray[Any]] = {
            "offset": layout.offsets,
            "rows": np.append(layout.rows, 0),
            "first_message": self.first_messages,
            "crc32c": np.append(layout.crc32c, np.uint32(0)),
        }
        lengths: dict[str, npt.NDArray[Any]] = {
            "body_length": self.body_lengths,
            "metadata_length": self.metadata_lengths,
        }
        for table, arrays in ((summary.partitions, columns), (summary.messages, lengths)):
            for block in _blocks_of(table, arrays):
                checksums.append(crc32c(block))
                yield block
        details = b"".join((np.array(checksums, "<u4").tobytes(), self.footer_template, self.partitioner))
        details += bytes(summary.details_length - len(details))
        yield details
        yield bytes(MEMBERSHIP_LENGTH)
        unchecked = SUMMARY_STRUCT.pack(*summary._replace(details_crc32c=crc32c(details)))[:-CHECKSUM_LENGTH]
        yield unchecked + crc32c(unchecked).to_bytes(CHECKSUM_LENGTH, "little")

    @property
    def encoded_length(self) -> int:
        """Bytes of the index section."""
        return self._summary().section_length

    def _summary(self) -> Summary:
        """The summary but for its checksums."""
        summary = Summary(
            magic=SUMMARY_MAGIC,
            major=MAJOR_VERSION,
            minor=MINOR_VERSION,
            alignment=self.alignment,
            section_length=0,
            partition_count=self.layout.partition_count,
            batch_count=len(self.body_lengths),
            first_offset=int(self.layout.offsets[0]),
            ranges_end=int(self.layout.offsets[-1]),
            details_length=0,
            footer_template_length=len(self.footer_template),
            partitioner_length=len(self.partitioner),
            details_crc32c=0,
            summary_crc32c=0,
        )
        needed = summary.needed_details_length
        if needed > LARGEST_SCHEMA_LENGTH:
            raise ValueError(f"schema and partitioner take {needed} bytes of {LARGEST_SCHEMA_LENGTH} that there may be")
        summary = summary._replace(details_length=needed + -(summary.details_start + needed) % 8)
        length = summary.details_start + summary.details_length + MEMBERSHIP_LENGTH + SUMMARY_LENGTH
        return summary._replace(section_length=length)


def _blocks_of(table: Table, arrays: dict[str, npt.NDArray[Any]]) -> Iterator[bytes]:
    for start in range(0, table.entry_count, table.block_entries):
        entries = np.empty(min(table.entry_count - start, table.block_entries), dtype=table.dtype)
        for name, array in arrays.items():
            entries[name] = array[start : start + table.block_entries]
        yield entries.tobytes()


class IndexPart(NamedTuple):
    """The index ``of_these``, the partitions ``[start, stop)``, and where their messages are, counted from 0 here."""

    start: int
    stop: int
    of_these: PartitionIndex
    message_offsets: Int64Array
    first_messages: Int64Array

    @classmethod
    def of(cls, index: PartitionIndex, start: int = 0) -> IndexPart:
        """An index of partitions from ``start`` on."""
        stop = start + index.layout.partition_count
        return cls(start, stop, index, index.message_offsets, index.first_messages)

    def messages_of(self, partition: int) -> tuple[int, int]:
        """The messages ``[start, stop)`` of a partition."""
        start, stop = self.first_messages[partition - self.start : partition - self.start + 2].tolist()
        return start, stop
