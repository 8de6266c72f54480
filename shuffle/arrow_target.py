"""What surrounds the ranges in a merged Arrow file: its header before them, and behind them index and footer.

Pure: built from the sources' structures and the plan, without reading a range and without pyarrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from shuffle.plan import MergePlan
from spill_format import checksum
from spill_format.framing import END_OF_STREAM, IndexPlace, encode_footer, encode_header, encode_place
from spill_format.index import MAJOR_VERSION, MINOR_VERSION, PartitionIndex
from spill_format.layout import Int64Array, PartitionLayout

if TYPE_CHECKING:
    from spill_format.structure import FileStructure


_Number = TypeVar("_Number", np.int64, np.uint32)


def target_alignment(structures: Sequence[FileStructure]) -> int:
    """The alignment that every source's ranges keep, in bytes."""
    return min(structure.index.alignment for structure in structures)


def target_header(structures: Sequence[FileStructure]) -> bytes:
    """The target up to its first range: the first source's schema message, padded for the common alignment."""
    return encode_header(structures[0].schema_message, target_alignment(structures))


def target_trailer(structures: Sequence[FileStructure], plan: MergePlan) -> tuple[PartitionLayout, bytes]:
    """The target's layout, and its bytes behind the last range: end-of-stream marker, index, footer."""
    index = _merged_index([structure.index for structure in structures], plan, target_alignment(structures))
    section = index.encode()
    place = IndexPlace(plan.end + len(END_OF_STREAM), len(section))
    note = encode_place(MAJOR_VERSION, MINOR_VERSION, place)
    return index.layout, b"".join((END_OF_STREAM, section, encode_footer(index.footer_template, note, index.blocks())))


def _merged_index(indexes: Sequence[PartitionIndex], plan: MergePlan, alignment: int) -> PartitionIndex:
    """The index of the target: the sources' numbers, reordered from source by source to partition by partition."""
    layouts = [index.layout for index in indexes]
    checksums = np.stack([_present(layout.crc32c) for layout in layouts], axis=1).ravel()
    lengths = np.stack([layout.lengths for layout in layouts], axis=1).ravel()
    part_counts = np.full(plan.partition_count, len(indexes), dtype=np.int64)
    rows: Int64Array = np.stack([_present(layout.rows) for layout in layouts]).sum(axis=0)
    layout = PartitionLayout(plan.target_offsets, rows, checksum.concatenate(checksums, lengths, part_counts))
    order = _message_order(indexes)
    return PartitionIndex(
        layout,
        alignment,
        np.concatenate([index.metadata_lengths for index in indexes])[order],
        np.concatenate([index.body_lengths for index in indexes])[order],
        indexes[0].footer_template,
    )


def _message_order(indexes: Sequence[PartitionIndex]) -> Int64Array:
    """For each message of the target, its number among all messages of all sources, source by source."""
    borders = np.stack([index.first_messages for index in indexes], axis=1)
    counts = np.diff(borders, axis=0).ravel()
    message_counts = np.array([len(index.body_lengths) for index in indexes], dtype=np.int64)
    firsts = (borders[:-1] + (np.cumsum(message_counts) - message_counts)).ravel()
    begins = np.cumsum(counts) - counts
    return np.repeat(firsts - begins, counts) + np.arange(counts.sum(), dtype=np.int64)


def _present(array: npt.NDArray[_Number] | None) -> npt.NDArray[_Number]:
    assert array is not None  # an index section always has rows and checksums
    return array
