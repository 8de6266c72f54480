"""What surrounds the ranges in a merged Arrow file: its header before them, and the index of what follows them.

Pure: built from the sources' structures and the plan, without reading a range and without pyarrow.
"""
# PURE

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from shuffle.merging.plan import MergePlan
from spill_format import checksum
from spill_format.index import PartitionIndex
from spill_format.layout import PartitionLayout
from spill_format.messages import encode_header

if TYPE_CHECKING:
    from spill_format.structure import FileStructure

_Number = TypeVar("_Number", np.int64, np.uint32)


def target_alignment(structures: Sequence[FileStructure]) -> int:
    """The alignment that every source's ranges keep, in bytes."""
    return min(structure.index.alignment for structure in structures)


def target_header(structures: Sequence[FileStructure]) -> bytes:
    """The target up to its first range: the first source's schema message, padded for the common alignment."""
    return encode_header(structures[0].schema_message, target_alignment(structures))


def target_index(structures: Sequence[FileStructure], plan: MergePlan) -> PartitionIndex:
    """The index of the target: the sources' numbers, reordered from source by source to partition by partition.

    Source by source, so that beside the result nothing is needed that grows with the number of all ranges.
    """
    indexes = [structure.index for structure in structures]
    partition_count = plan.partition_count
    chosen = np.diff(plan.target_offsets) > 0  # what is empty has neither rows nor messages
    rows = np.zeros(partition_count, dtype=np.int64)
    checksums = np.zeros(partition_count, dtype=np.uint32)
    message_counts = np.zeros(partition_count, dtype=np.int64)
    for index in indexes:
        rows += _present(index.layout.rows)
        checksums = checksum.append(checksums, _present(index.layout.crc32c), index.layout.lengths)
        message_counts += np.diff(index.first_messages) * chosen
    rows *= chosen
    checksums *= chosen
    message_count = int(message_counts.sum())
    metadata_lengths = np.empty(message_count, dtype=np.int32)
    body_lengths = np.empty(message_count, dtype=np.int64)
    reached = np.cumsum(message_counts) - message_counts  # the number of each partition's next message in the target
    for index in indexes:
        counts = np.diff(index.first_messages)
        places = np.repeat(reached - index.first_messages[:-1], counts) + np.arange(len(index.body_lengths))
        taken: slice | npt.NDArray[np.bool_] = slice(None)
        if (counts[~chosen] > 0).any():
            taken = np.repeat(chosen, counts)
        metadata_lengths[places[taken]] = index.metadata_lengths[taken]
        body_lengths[places[taken]] = index.body_lengths[taken]
        reached += counts * chosen
    return PartitionIndex(
        PartitionLayout(plan.target_offsets, rows, checksums),
        target_alignment(structures),
        metadata_lengths,
        body_lengths,
        indexes[0].footer_template,
        target_partitioner(structures),
    )


def target_partitioner(structures: Sequence[FileStructure]) -> bytes:
    """The description of the target's partitioner as it is stored: the sources', or none where one is unknown or they
    differ, since nothing true of all rows can be said then."""
    stored = {structure.index.partitioner for structure in structures}
    return stored.pop() if len(stored) == 1 else b""


def _present(array: npt.NDArray[_Number] | None) -> npt.NDArray[_Number]:
    assert array is not None  # an index section always has rows and checksums
    return array
