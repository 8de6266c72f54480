"""Which bytes of which source go where in the target: arrays, computed before anything is opened for writing.

Pure. The target's ranges are filled partition by partition, in each by the sources in their order; a plan lists those
pieces as segments in target order. They touch, so one number, a position in the target, says how far a copy has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spill_format.layout import Int64Array, PartitionLayout, concatenate


@dataclass(frozen=True, slots=True, eq=False)
class MergePlan:
    """The segments of a merge. Segment i is the bytes ``[positions[i], positions[i + 1])`` of the target.

    Attributes:
        source_count: S.
        range_count: ranges that are not empty, before adjacent ones were joined.
        target_offsets: ``int64[P + 1]``, the target's layout.
        sources: ``int32[N]``, the number of the source of each segment.
        source_offsets: ``int64[N]``, where the segment starts in its source.
        positions: ``int64[N + 1]``, from ``target_offsets[0]`` to ``target_offsets[P]``, strictly increasing.
    """

    source_count: int
    range_count: int
    target_offsets: Int64Array
    sources: npt.NDArray[np.int32]
    source_offsets: Int64Array
    positions: Int64Array

    @property
    def partition_count(self) -> int:
        """P."""
        return len(self.target_offsets) - 1

    @property
    def segment_count(self) -> int:
        """N: how many copies it takes."""
        return len(self.sources)

    @property
    def start(self) -> int:
        """Where the first byte goes in the target."""
        return int(self.target_offsets[0])

    @property
    def end(self) -> int:
        """Where the last byte ends in the target."""
        return int(self.target_offsets[-1])

    @property
    def byte_count(self) -> int:
        """Bytes to copy."""
        return self.end - self.start

    def partition_at(self, position: int) -> int:
        """The partition that a position in the target belongs to."""
        return int(np.searchsorted(self.target_offsets, position, side="right")) - 1

    def source_at(self, position: int) -> int:
        """The number of the source whose byte goes to a position in the target."""
        return int(self.sources[np.searchsorted(self.positions, position, side="right") - 1])

    def __str__(self) -> str:
        """The plan's summary: one line."""
        return (
            f"{self.source_count} sources × {self.partition_count} partitions: {self.range_count} ranges in "
            f"{self.segment_count} segments, {self.byte_count} bytes from {self.start} to {self.end}"
        )


def plan_merge(layouts: Sequence[PartitionLayout], first_offset: int = 0) -> MergePlan:
    """Lay out the merge of sources with ``layouts`` into a target whose first range starts at ``first_offset``.

    Raises:
        ValueError: no layouts, or of different partition counts.
    """
    if not layouts:
        raise ValueError("there is nothing to merge: no sources")
    partition_count = layouts[0].partition_count
    for number, layout in enumerate(layouts):
        if layout.partition_count != partition_count:
            raise ValueError(f"source {number} has {layout.partition_count} partitions, source 0 has {partition_count}")
    # Arrays of S × P are written row by row and read column by column, so that no larger temporaries are needed.
    lengths = np.empty((len(layouts), partition_count), dtype=np.int64)
    for row, layout in zip(lengths, layouts, strict=True):
        np.subtract(layout.offsets[1:], layout.offsets[:-1], out=row)
    filled = (lengths > 0).T.ravel()
    segment_lengths = lengths.T.ravel()[filled]
    del lengths
    source_offsets = np.stack([layout.offsets[:-1] for layout in layouts], axis=1).ravel()[filled]
    sources = np.tile(np.arange(len(layouts), dtype=np.int32), partition_count)[filled]
    positions = np.empty(len(sources) + 1, dtype=np.int64)
    positions[0] = first_offset
    np.cumsum(segment_lengths, out=positions[1:])
    positions[1:] += first_offset
    range_count = len(sources)
    if range_count > 1:
        source_ends = source_offsets[:-1] + segment_lengths[:-1]
        joins = (sources[1:] == sources[:-1]) & (source_offsets[1:] == source_ends)
        begins = np.concatenate(([True], ~joins))
        sources, source_offsets = sources[begins], source_offsets[begins]
        positions = positions[np.append(begins, True)]
    return MergePlan(len(layouts), range_count, concatenate(layouts, first_offset), sources, source_offsets, positions)
