"""Which bytes of which source go where in the target: arrays, computed before anything is opened for writing.

Pure. The target's ranges are filled partition by partition, in each by the sources in their order; a plan lists those
pieces as segments in target order. They touch, so one number, a position in the target, says how far a copy has come.
"""
# PURE

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shuffle.wording import counted, sized
from spill_format.layout import Int64Array, PartitionLayout, concatenate

_LARGEST_FILE_BYTES = 2**63 - 1
_BLOCK_RANGES = 1 << 18  # planned at once; arrays of 2 MiB


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
    def stop(self) -> int:
        """Where the last byte ends in the target."""
        return int(self.target_offsets[-1])

    @property
    def byte_count(self) -> int:
        """Bytes to copy."""
        return self.stop - self.start

    def partition_at(self, position: int) -> int:
        """The partition that a position in the target belongs to."""
        return int(np.searchsorted(self.target_offsets, position, side="right")) - 1

    def source_at(self, position: int) -> int:
        """The number of the source whose byte goes to a position in the target."""
        return int(self.sources[np.searchsorted(self.positions, position, side="right") - 1])

    def __str__(self) -> str:
        """The plan's summary: one line."""
        return (
            f"{counted(self.source_count, 'source')} × {counted(self.partition_count, 'partition')}: "
            f"{counted(self.range_count, 'range')} in {counted(self.segment_count, 'segment')}, "
            f"{sized(self.byte_count)} from byte {self.start:,} to {self.stop:,}"
        )


def plan_merge(
    layouts: Sequence[PartitionLayout], first_offset: int = 0, chosen: npt.NDArray[np.bool_] | None = None
) -> MergePlan:
    """Lay out the merge of sources with ``layouts`` into a target whose first range starts at ``first_offset``.

    Args:
        layouts: of the sources.
        first_offset: in bytes.
        chosen: ``bool[P]``, the partitions to merge; the target's others are empty. None for all.

    Raises:
        ValueError: no layouts, or of different partition counts, or more bytes than a file can have: sparse sources
            may have any size.
    """
    if not layouts:
        raise ValueError("there is nothing to merge: no sources")
    partition_count = layouts[0].partition_count
    for number, layout in enumerate(layouts):
        if layout.partition_count != partition_count:
            raise ValueError(f"source {number} has {layout.partition_count} partitions, source 0 has {partition_count}")
    if (stop := first_offset + sum(layout.byte_count for layout in layouts)) > _LARGEST_FILE_BYTES:
        raise ValueError(f"no file can hold what the sources have together: {stop} bytes")
    filled = (layout.offsets[1:] != layout.offsets[:-1] for layout in layouts)
    range_count = sum(int(np.count_nonzero(some if chosen is None else some & chosen)) for some in filled)
    sources = np.empty(range_count, dtype=np.int32)
    source_offsets = np.empty(range_count, dtype=np.int64)
    positions = np.empty(range_count + 1, dtype=np.int64)
    count, position = 0, first_offset
    # A block of partitions at a time, so that nothing of S × P elements is needed besides the plan itself.
    block = max(_BLOCK_RANGES // len(layouts), 1)
    for first in range(0, partition_count, block):
        segments = _segments(layouts, slice(first, min(first + block, partition_count) + 1), position, chosen)
        position = segments.stop
        last = count - 1
        if count and segments.go_on_from(sources[last], source_offsets[last], positions[last]):
            segments = segments.without_first()
        added = slice(count, count + len(segments.sources))
        sources[added], source_offsets[added] = segments.sources, segments.source_offsets
        positions[added] = segments.positions
        count = added.stop
    positions[count] = position
    for column, length in ((sources, count), (source_offsets, count), (positions, count + 1)):
        column.resize(length, refcheck=False)  # gives back what was joined
    offsets = concatenate(layouts, first_offset)
    if chosen is not None:
        offsets[1:] = first_offset + np.cumsum(np.diff(offsets) * chosen)
    return MergePlan(len(layouts), range_count, offsets, sources, source_offsets, positions)


class _Segments(NamedTuple):
    """The segments of some partitions, and where the last of them ends in the target."""

    sources: npt.NDArray[np.int32]
    source_offsets: Int64Array
    positions: Int64Array
    stop: int

    def go_on_from(self, source: int, source_offset: int, position: int) -> bool:
        """Whether the first is more of the segment before it, which started there."""
        if not len(self.sources) or self.sources[0] != source:
            return False
        return bool(self.source_offsets[0] - source_offset == self.positions[0] - position)

    def without_first(self) -> _Segments:
        """All but the first, which the one before it is to include."""
        return _Segments(self.sources[1:], self.source_offsets[1:], self.positions[1:], self.stop)


def _segments(
    layouts: Sequence[PartitionLayout], borders: slice, position: int, chosen: npt.NDArray[np.bool_] | None
) -> _Segments:
    """The segments between some of the partitions' borders, the first at ``position`` of the target."""
    starts = np.stack([layout.offsets[borders] for layout in layouts], axis=1)
    lengths = np.diff(starts, axis=0)
    if chosen is not None:
        lengths[~chosen[borders.start : borders.stop - 1]] = 0
    lengths = lengths.ravel()
    filled = lengths > 0
    lengths = lengths[filled]
    source_offsets = starts[:-1].ravel()[filled]
    sources = np.tile(np.arange(len(layouts), dtype=np.int32), borders.stop - borders.start - 1)[filled]
    ends = np.cumsum(lengths)
    ends += position
    begins = np.ones(len(lengths), dtype=bool)
    begins[1:] = (sources[1:] != sources[:-1]) | (source_offsets[1:] != (source_offsets + lengths)[:-1])
    stop = int(ends[-1]) if len(ends) else position
    return _Segments(sources[begins], source_offsets[begins], (ends - lengths)[begins], stop)
