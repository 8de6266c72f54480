"""Reading an index section: what is asked for decides what is read, and all that is read is checked.

Pure: whoever has the bytes gives a ``ReadAt``. FORMAT.md section 8 has the order of the checks.
"""
# PURE

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .checksum import crc32c
from .errors import REPAIR_ADVICE, ChecksumError, CorruptError, VersionError
from .index import (
    CHECKSUM_LENGTH,
    LARGEST_SCHEMA_LENGTH,
    MAJOR_VERSION,
    MESSAGE_DTYPE,
    MINOR_VERSION,
    SUMMARY_LENGTH,
    SUMMARY_MAGIC,
    SUMMARY_STRUCT,
    PartitionIndex,
    Summary,
    Table,
)
from .layout import Int64Array, PartitionLayout, UInt32Array, find_defect
from .messages import FILE_START, SMALLEST_METADATA_LENGTH, is_alignment
from .spill_set import MEMBERSHIP_LENGTH, SpillSet, decode_membership
from .storage.windows import ReadAt

if TYPE_CHECKING:
    from os import PathLike

    Path = str | PathLike[str] | None

_BLOCKS_AT_ONCE = 64  # read by one call: 3 MiB, found right before more memory is taken


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

    def check_crc32c(self, problem: str, content: bytes | memoryview, recorded: int) -> None:
        if (computed := crc32c(content)) != recorded:
            raise ChecksumError(
                f"index section: {problem}",
                path=self.path,
                offset=self.offset,
                expected=f"{recorded:08x}",
                actual=f"{computed:08x}",
                advice=REPAIR_ADVICE,
            )


@dataclass(frozen=True, slots=True, eq=False)
class IndexReader:
    """Reads and checks what is asked of an index section: some partitions with their messages, or all.

    Attributes:
        summary: found right.
        footer_template, partitioner: as in ``PartitionIndex``.
        spill_set: the set that the file belongs to, or None.
    """

    summary: Summary
    footer_template: bytes
    partitioner: bytes
    spill_set: SpillSet | None
    _block_checksums: UInt32Array
    _path: Path

    @classmethod
    def open(cls, read: ReadAt, path: Path, section_end: int) -> IndexReader:
        """Read and check the summary before ``section_end``, and the details; no block.

        Raises:
            CorruptError, ChecksumError, VersionError: the first defect; SectionMissingError where there is no summary.
        """
        summary = _read_summary(read, path, section_end)
        details_offset = summary.section_offset + summary.details_start
        # Membership and details lie side by side: one read.
        content = read(details_offset, summary.details_length + MEMBERSHIP_LENGTH)
        details, membership = content[: summary.details_length], content[summary.details_length :]
        _Place(path, details_offset).check_crc32c("CRC-32C of its details", details, summary.details_crc32c)
        table_length = summary.needed_details_length - summary.footer_template_length - summary.partitioner_length
        template_end = table_length + summary.footer_template_length
        return cls(
            summary,
            details[table_length:template_end],
            details[template_end : summary.needed_details_length],
            decode_membership(membership, path, summary.membership_offset),
            np.frombuffer(details, dtype="<u4", count=table_length // 4),
            path,
        )

    def layout(self, read: ReadAt, start: int = 0, stop: int | None = None) -> PartitionLayout:
        """The layout of the partitions ``[start, stop)``, by default of all.

        Raises:
            CorruptError, ChecksumError: the first defect.
        """
        stop = self.summary.partition_count if stop is None else stop
        return self._layout(self._entries(read, self.summary.partitions, start, stop + 1), start)

    def bounds(self, read: ReadAt, start: int, stop: int) -> tuple[int, int]:
        """Where the ranges of the partitions ``[start, stop)`` start and end in the file; as ``layout``."""
        table = self.summary.partitions
        offset, stop_offset = (int(self._entries(read, table, each, each + 1)["offset"][0]) for each in (start, stop))
        if offset > stop_offset:
            raise self._place(table, stop).corrupt("the range ends before it starts", f"{offset} or more", stop_offset)
        return offset, stop_offset

    def message_counts(self, read: ReadAt) -> Int64Array:
        """Messages in each partition, ``int64[P]``; as ``layout``."""
        entries = self._entries(read, self.summary.partitions, 0, self.summary.partition_count + 1)
        first_messages: Int64Array = entries["first_message"].astype(np.int64)
        return np.diff(first_messages)

    def part(self, read: ReadAt, start: int, stop: int) -> PartitionIndex:
        """The index of the partitions ``[start, stop)``.

        Raises:
            CorruptError, ChecksumError: the first defect of what was read for it: whole blocks, and their laws.
        """
        summary = self.summary
        entries = self._entries(read, summary.partitions, start, stop + 1)
        layout = self._layout(entries, start)
        first_messages = entries["first_message"].astype(np.int64)
        self._check_first_messages(first_messages, start)
        messages = self._entries(read, summary.messages, int(first_messages[0]), int(first_messages[-1]))
        index = PartitionIndex(
            layout=layout,
            alignment=summary.alignment,
            metadata_lengths=messages["metadata_length"].astype(np.int32),
            body_lengths=messages["body_length"].astype(np.int64),
            footer_template=self.footer_template,
            partitioner=self.partitioner,
        )
        _check_messages(index, first_messages, start, self._place(summary.partitions, start))
        return index

    def whole(self, read: ReadAt) -> PartitionIndex:
        """The index of all partitions; as ``part``."""
        return self.part(read, 0, self.summary.partition_count)

    def _layout(self, entries: npt.NDArray[Any], start: int) -> PartitionLayout:
        summary = self.summary
        offsets, rows = entries["offset"].astype(np.int64), entries["rows"][:-1].astype(np.int64)
        place = self._place(summary.partitions, start)
        if (defect := find_defect(offsets, rows)) is not None:
            raise place.corrupt(defect.problem, defect.expected, defect.actual, start + defect.partition)
        for is_end, at, expected in (
            (start == 0, 0, summary.first_offset),
            (start + len(rows) == summary.partition_count, -1, summary.ranges_end),
        ):
            if is_end and offsets[at] != expected:
                raise place.corrupt("the ranges do not reach from header to marker", expected, int(offsets[at]))
        unaligned = offsets & (summary.alignment - 1) != 0
        if unaligned.any():
            border = int(np.argmax(unaligned))
            partition = start + min(border, len(rows) - 1)
            multiple = f"a multiple of {summary.alignment}"
            raise place.corrupt("the range is not aligned", multiple, int(offsets[border]), partition)
        return PartitionLayout(offsets, rows, entries["crc32c"][:-1].astype(np.uint32))

    def _check_first_messages(self, first_messages: Int64Array, start: int) -> None:
        """They never decrease, and the messages of all partitions are all messages."""
        summary = self.summary
        ends = [0 if start == 0 else None]
        ends.append(summary.batch_count if start + len(first_messages) > summary.partition_count else None)
        sound = (first_messages[1:] >= first_messages[:-1]).all() and first_messages[-1] <= summary.batch_count
        for expected, actual in zip(ends, first_messages[[0, -1]].tolist(), strict=True):
            sound = sound and expected in (None, actual)
        if not sound:
            place = self._place(summary.partitions, start)
            actual = f"{first_messages[0]} … {first_messages[-1]}"
            raise place.corrupt("numbers of first messages", f"rising ones from 0 to {summary.batch_count}", actual)

    def _place(self, table: Table, number: int) -> _Place:
        """Where entry ``number`` of a table is."""
        return _Place(self._path, self.summary.section_offset + table.start + number * table.dtype.itemsize)

    def _entries(self, read: ReadAt, table: Table, start: int, stop: int) -> npt.NDArray[Any]:
        """The entries ``[start, stop)`` of a table, from blocks that were found right."""
        if start == stop:
            return np.empty(0, table.dtype)
        first_block, stop_block = start // table.block_entries, -(-stop // table.block_entries)
        # Memory is taken for what was found right, not for what a forged file of holes may claim.
        read_so_far = [
            self._blocks(read, table, block, min(block + _BLOCKS_AT_ONCE, stop_block))
            for block in range(first_block, stop_block, _BLOCKS_AT_ONCE)
        ]
        entries = read_so_far[0] if len(read_so_far) == 1 else np.concatenate(read_so_far)
        skipped = first_block * table.block_entries
        return entries[start - skipped : stop - skipped]

    def _blocks(self, read: ReadAt, table: Table, start: int, stop: int) -> npt.NDArray[Any]:
        """Blocks ``[start, stop)`` of a table, found right, each by its checksum and by the least that entries say."""
        start_entry, stop_entry = start * table.block_entries, min(stop * table.block_entries, table.entry_count)
        place = self._place(table, start_entry)
        content = memoryview(read(place.offset, (stop_entry - start_entry) * table.dtype.itemsize))
        block_length = table.block_entries * table.dtype.itemsize
        for block in range(start, stop):
            skipped = (block - start) * block_length
            recorded = int(self._block_checksums[table.first_block + block])
            _Place(self._path, place.offset + skipped).check_crc32c(
                "CRC-32C of a block", content[skipped : skipped + block_length], recorded
            )
        entries = np.frombuffer(content, dtype=table.dtype)
        # Of what no sound entry has: that of a hole is zero.
        name, least = "metadata_length" if table.dtype == MESSAGE_DTYPE else "offset", SMALLEST_METADATA_LENGTH
        if (entries[name] < least).any():
            number = int(np.argmax(entries[name] < least))
            raise self._place(table, start_entry + number).corrupt(
                name.replace("_", " "), f"{least} or more", int(entries[name][number])
            )
        return entries


class SectionMissingError(CorruptError):
    """Where the index section's summary must be, there is none."""


def _read_summary(read: ReadAt, path: Path, section_end: int) -> Summary:
    offset = max(section_end - SUMMARY_LENGTH, 0)
    place = _Place(path, offset)
    raw = read(offset, section_end - offset)
    if len(raw) < SUMMARY_LENGTH or not raw.startswith(SUMMARY_MAGIC):
        raise SectionMissingError(
            "index section: magic of its summary", path=path, offset=offset, expected=SUMMARY_MAGIC, actual=raw[:8]
        )
    summary = Summary(*SUMMARY_STRUCT.unpack(raw))
    check_version(summary.major, summary.minor, path, offset)
    place.check_crc32c("CRC-32C of its summary", memoryview(raw)[:-CHECKSUM_LENGTH], summary.summary_crc32c)
    _check_summary(summary, section_end, place)
    return summary


def _check_summary(summary: Summary, section_end: int, place: _Place) -> None:
    """What the numbers say fits them, and the file: lengths follow from counts, and counts from the file's size."""
    if summary.partition_count < 1:
        raise place.corrupt("number of partitions", "1 or more", summary.partition_count)
    if not is_alignment(summary.alignment):
        raise place.corrupt("alignment", "a power of two from 8 to 65536", summary.alignment)
    needed = summary.needed_details_length
    # A newer minor version may put more behind what this one knows.
    longest = (
        needed + -(summary.details_start + needed) % 8 if summary.minor <= MINOR_VERSION else LARGEST_SCHEMA_LENGTH
    )
    if not needed <= summary.details_length <= min(longest, LARGEST_SCHEMA_LENGTH):
        raise place.corrupt("length of its details", f"{needed} to {longest}", summary.details_length)
    length = summary.details_start + summary.details_length + MEMBERSHIP_LENGTH + SUMMARY_LENGTH
    if summary.section_length != length:
        raise place.corrupt("its length differs from that of its parts", length, summary.section_length)
    if summary.section_offset + length != section_end:
        raise place.corrupt("it does not follow the ranges: its end", summary.section_offset + length, section_end)
    room = summary.ranges_end - summary.first_offset
    if summary.first_offset < len(FILE_START) or room < summary.batch_count * SMALLEST_METADATA_LENGTH:
        actual = f"{summary.batch_count} from {summary.first_offset} to {summary.ranges_end}"
        raise place.corrupt("its record batches do not fit the ranges", "room for each", actual)


def recorded_section_end(raw_summary: bytes) -> int:
    """Where the section ends in the file that a summary says it was written into; the summary may be damaged."""
    summary = Summary(*SUMMARY_STRUCT.unpack(raw_summary))
    return summary.section_offset + summary.section_length


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


def _check_messages(index: PartitionIndex, first_messages: Int64Array, start: int, place: _Place) -> None:
    """Messages fill ranges exactly, and each range is filled by those that are said to be its own."""
    metadata_lengths, body_lengths = index.metadata_lengths, index.body_lengths
    unsound = (body_lengths < 0) | (metadata_lengths & 7 != 0) | (body_lengths & 7 != 0)
    if unsound.any():
        batch = int(np.argmax(unsound))
        actual = f"{metadata_lengths[batch]} and {body_lengths[batch]}"
        problem = f"lengths of metadata and body of record batch {int(first_messages[0]) + batch}"
        raise place.corrupt(problem, "multiples of 8", actual)
    offsets, reached = index.layout.offsets, index.message_offsets
    # Lengths are positive: a sum that does not grow has passed 2**63, and wrapped around.
    if (reached[1:] <= reached[:-1]).any():
        batch = int(np.argmax(reached[1:] <= reached[:-1]))
        problem = f"body length of record batch {int(first_messages[0]) + batch}"
        raise place.corrupt(problem, "one that ends before 2**63", int(body_lengths[batch]))
    ends = reached[first_messages - first_messages[0]]
    missed = ends != offsets
    if missed.any():
        border = int(np.argmax(missed))
        raise place.corrupt(
            "the messages do not fill the range",
            f"one that ends at {int(offsets[border])}",
            f"one that ends at {int(ends[border])}",
            start + border - 1,
        )
