"""How large the partitions of files are, and how unevenly: arrays and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spill_format.layout import Int64Array

Order = Literal["partition", "size", "rows", "batches"]

SKEW_FACTOR = 5
"""From so many times the median on a partition counts as skewed; Spark's skewedPartitionFactor."""


@dataclass(frozen=True, slots=True, eq=False)
class PartitionSizes:
    """How large partitions are, in one file or in several together.

    Attributes:
        byte_counts, row_counts, batch_counts: each ``int64[P]``.
    """

    byte_counts: Int64Array
    row_counts: Int64Array
    batch_counts: Int64Array

    @property
    def partition_count(self) -> int:
        """P."""
        return len(self.byte_counts)

    @property
    def byte_count(self) -> int:
        """Bytes of all ranges together."""
        return int(self.byte_counts.sum())

    @property
    def row_count(self) -> int:
        """Rows of all partitions together."""
        return int(self.row_counts.sum())

    @property
    def batch_count(self) -> int:
        """Record batches of all partitions together."""
        return int(self.batch_counts.sum())

    @property
    def empty_partitions(self) -> Int64Array:
        """The numbers, ascending, of the partitions without rows."""
        return np.flatnonzero(self.byte_counts == 0)

    @property
    def empty_count(self) -> int:
        """Partitions without rows."""
        return int(np.count_nonzero(self.byte_counts == 0))

    @property
    def smallest_bytes(self) -> int:
        """Bytes of the smallest partition, 0 where one is empty."""
        return int(self.byte_counts.min())

    @property
    def median_bytes(self) -> float:
        """Half of the partitions, empty ones included, have at most so many bytes."""
        return float(np.median(self.byte_counts))

    @property
    def largest_bytes(self) -> int:
        """Bytes of the largest partition."""
        return int(self.byte_counts.max())

    @property
    def filled_median_bytes(self) -> float:
        """Half of the partitions that have rows have at most so many bytes; 0 where none has."""
        filled = self.byte_counts[self.byte_counts > 0]
        return float(np.median(filled)) if len(filled) else 0.0

    @property
    def gini(self) -> float | None:
        """How unevenly bytes are spread over partitions: 0 where all are alike, near 1 where one has everything; None
        where there are no bytes."""
        ascending = np.sort(self.byte_counts).astype(np.float64)  # products of ranks and bytes may pass 2**63
        total = float(ascending.sum())
        if total == 0:
            return None
        count = self.partition_count
        return 2 * float((np.arange(1, count + 1) * ascending).sum()) / (count * total) - (count + 1) / count

    @property
    def skewed_partitions(self) -> Int64Array:
        """The numbers, largest first, of the partitions of ``SKEW_FACTOR`` times the median of those with rows, or
        more."""
        largest_first = self.ordered("size")
        return largest_first[self.byte_counts[largest_first] >= max(SKEW_FACTOR * self.filled_median_bytes, 1)]

    @property
    def skew(self) -> float | None:
        """The largest partition over the median one; None where that is 0."""
        return self.largest_bytes / self.median_bytes if self.median_bytes else None

    def ordered(self, order: Order) -> Int64Array:
        """The partitions' numbers, ``int64[P]``: ascending, or the largest first; equal ones in ascending order."""
        if order == "partition":
            return np.arange(self.partition_count)
        keys = {"size": self.byte_counts, "rows": self.row_counts, "batches": self.batch_counts}[order]
        return np.argsort(-keys, kind="stable")

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON has it, without the single partitions."""
        return {
            "partition_count": self.partition_count,
            "row_count": self.row_count,
            "batch_count": self.batch_count,
            "range_bytes": self.byte_count,
            "empty_partition_count": self.empty_count,
            "smallest_bytes": self.smallest_bytes,
            "median_bytes": self.median_bytes,
            "largest_bytes": self.largest_bytes,
            "skew": self.skew,
            "gini": self.gini,
            "skewed_partitions": self.skewed_partitions.tolist(),
        }

    def partitions_as_dicts(self, partitions: Int64Array) -> list[dict[str, int]]:
        """Single partitions as JSON has them."""
        columns = [partitions, *(a[partitions] for a in (self.row_counts, self.byte_counts, self.batch_counts))]
        names = ("partition", "row_count", "byte_count", "batch_count")
        return [dict(zip(names, values, strict=True)) for values in zip(*(c.tolist() for c in columns), strict=True)]


def combined(sizes: Sequence[PartitionSizes]) -> PartitionSizes | None:
    """The sizes that a merge would have, or None where partition counts differ or there is nothing."""
    if len({each.partition_count for each in sizes}) != 1:
        return None
    return PartitionSizes(
        np.sum([each.byte_counts for each in sizes], axis=0),
        np.sum([each.row_counts for each in sizes], axis=0),
        np.sum([each.batch_counts for each in sizes], axis=0),
    )


def peaks(values: Int64Array, count: int) -> Int64Array:
    """The largest of each of at most ``count`` neighbourhoods of about the same size, in order: what a picture or a
    line of few columns can show of many values."""
    if len(values) <= count:
        return values
    starts = np.arange(count) * len(values) // count
    return np.maximum.reduceat(values, starts)
