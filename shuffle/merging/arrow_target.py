"""What surrounds the ranges in a merged Arrow file: its header before them, and behind them index and footer.

Pure: built from the sources' structures and the plan, without reading a range and without pyarrow.
"""
# PURE

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from shuffle.merging.plan import MergePlan
from spill_format import checksum
from spill_format.framing import (
    BLOCK_DTYPE,
    END_OF_STREAM,
    IndexPlace,
    encode_footer_frame,
    encode_header,
    encode_place,
)
from spill_format.index import MAJOR_VERSION, MINOR_VERSION, PartitionIndex
from spill_format.layout import PartitionLayout

if TYPE_CHECKING:
    from spill_format.structure import FileStructure

_BLOCKS_AT_ONCE = 1 << 16  # 1.5 MiB

_Number = TypeVar("_Number", np.int64, np.uint32)


def target_alignment(structures: Sequence[FileStructure]) -> int:
    """The alignment that every source's ranges keep, in bytes."""
    return min(structure.index.alignment for structure in structures)


def target_header(structures: Sequence[FileStructure]) -> bytes:
    """The target up to its first range: the first source's schema message, padded for the common alignment."""
    return encode_header(structures[0].schema_message, target_alignment(structures))


class TrailerContent:
    """The target's bytes behind the last range: end-of-stream marker, index, footer; iterable, in pieces."""

    def __init__(self, index: PartitionIndex) -> None:
        self._index = index
        place = IndexPlace(int(index.layout.offsets[-1]) + len(END_OF_STREAM), index.encoded_length)
        note = encode_place(MAJOR_VERSION, MINOR_VERSION, place)
        self._footer = encode_footer_frame(index.footer_template, note, len(index.body_lengths))

    def __len__(self) -> int:
        blocks_length = len(self._index.body_lengths) * BLOCK_DTYPE.itemsize
        footer_length = len(self._footer.start) + blocks_length + len(self._footer.end)
        return len(END_OF_STREAM) + self._index.encoded_length + footer_length

    def __iter__(self) -> Iterator[bytes | memoryview]:
        yield END_OF_STREAM
        yield from self._index.encode_pieces()
        yield self._footer.start
        yield from self._blocks()
        yield self._footer.end

    def _blocks(self) -> Iterator[memoryview]:
        """The record batches as the footer lists them, some at a time."""
        index = self._index
        position = int(index.layout.offsets[0])
        for first in range(0, len(index.body_lengths), _BLOCKS_AT_ONCE):
            some = slice(first, first + _BLOCKS_AT_ONCE)
            blocks = np.zeros(len(index.body_lengths[some]), dtype=BLOCK_DTYPE)
            blocks["metadata_length"] = index.metadata_lengths[some]
            blocks["body_length"] = index.body_lengths[some]
            ends = np.cumsum(blocks["metadata_length"] + blocks["body_length"])
            blocks["offset"][0] = position
            blocks["offset"][1:] = ends[:-1] + position
            position += int(ends[-1])
            yield blocks.view(np.uint8).data


def target_index(structures: Sequence[FileStructure], plan: MergePlan) -> PartitionIndex:
    """The index of the target: the sources' numbers, reordered from source by source to partition by partition.

    Source by source, so that beside the result nothing is needed that grows with the number of all ranges.
    """
    indexes = [structure.index for structure in structures]
    partition_count = plan.partition_count
    rows = np.zeros(partition_count, dtype=np.int64)
    checksums = np.zeros(partition_count, dtype=np.uint32)
    message_counts = np.zeros(partition_count, dtype=np.int64)
    for index in indexes:
        rows += _present(index.layout.rows)
        checksums = checksum.append(checksums, _present(index.layout.crc32c), index.layout.lengths)
        message_counts += np.diff(index.first_messages)
    message_count = int(message_counts.sum())
    metadata_lengths = np.empty(message_count, dtype=np.int32)
    body_lengths = np.empty(message_count, dtype=np.int64)
    reached = np.cumsum(message_counts) - message_counts  # the number of each partition's next message in the target
    for index in indexes:
        counts = np.diff(index.first_messages)
        places = np.repeat(reached - index.first_messages[:-1], counts) + np.arange(len(index.body_lengths))
        metadata_lengths[places] = index.metadata_lengths
        body_lengths[places] = index.body_lengths
        reached += counts
    return PartitionIndex(
        PartitionLayout(plan.target_offsets, rows, checksums),
        target_alignment(structures),
        metadata_lengths,
        body_lengths,
        indexes[0].footer_template,
    )


def _present(array: npt.NDArray[_Number] | None) -> npt.NDArray[_Number]:
    assert array is not None  # an index section always has rows and checksums
    return array
