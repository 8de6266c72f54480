"""How large the partitions of files are, and how unevenly: arrays and what follows from them."""
# PURE

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from shuffle.wording import counted, sized
from spill_format.layout import Int64Array

Order = Literal["partition", "size", "rows", "batches"]

SKEW_FACTOR = 5
"""From so many times the median on a partition counts as skewed; Spark's skewedPartitionFactor."""


@dataclass(frozen=True, slots=True, eq=False)
class PartitionSizes:
    """How large partitions are, in one file or in several together.

    Attributes:
        byte_counts: ``int64[P]``.
        row_counts, batch_counts: ``int64[P]``; None for opaque bytes, whose rows nobody can count.
    """

    byte_counts: Int64Array
    row_counts: Int64Array | None = None
    batch_counts: Int64Array | None = None

    @property
    def partition_count(self) -> int:
        """Number of partitions."""
        return len(self.byte_counts)

    @property
    def byte_count(self) -> int:
        """Bytes of all ranges together."""
        return sum(self.byte_counts.tolist())  # of sparse files, may be more than 63 bits hold

    @property
    def row_count(self) -> int | None:
        """Rows of all partitions together; None where they are not known."""
        return None if self.row_counts is None else int(self.row_counts.sum())

    @property
    def batch_count(self) -> int | None:
        """Record batches of all partitions together; None where they are not known."""
        return None if self.batch_counts is None else int(self.batch_counts.sum())

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
        """The median of all partitions' bytes, empty partitions included."""
        return float(np.median(self.byte_counts))

    @property
    def largest_bytes(self) -> int:
        """Bytes of the largest partition."""
        return int(self.byte_counts.max())

    @property
    def filled_median_bytes(self) -> float:
        """The median bytes of the partitions that have rows; 0 where none has rows."""
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
        """Numbers, largest partition first, of the partitions that have ``SKEW_FACTOR`` times the median of the filled
        partitions, or more."""
        largest_first = self.ordered("size")
        return largest_first[self.byte_counts[largest_first] >= max(SKEW_FACTOR * self.filled_median_bytes, 1)]

    @property
    def skew(self) -> float | None:
        """The largest partition over the median one; None where that is 0."""
        return self.largest_bytes / self.median_bytes if self.median_bytes else None

    def ordered(self, order: Order) -> Int64Array:
        """Return the partitions' numbers, ``int64[P]``: ascending, or the largest first; equal partitions in ascending
        order.

        Raises:
            ValueError: by rows or batches, and nobody knows how many there are.
        """
        if order == "partition":
            return np.arange(self.partition_count)
        keys = {"size": self.byte_counts, "rows": self.row_counts, "batches": self.batch_counts}[order]
        if keys is None:
            raise ValueError(f"partitions of opaque bytes cannot be sorted by {order}: sort them by partition or size")
        return np.argsort(-keys, kind="stable")

    def listed(self, order: Order = "partition", top: int | None = None) -> list[dict[str, int]]:
        """Return single partitions as JSON has them: all, or the first ``top`` in an order."""
        numbers = self.ordered(order)[:top]
        known = {
            "row_count": self.row_counts,
            "byte_count": self.byte_counts,
            "batch_count": self.batch_counts,
        }
        columns = {name: counts[numbers].tolist() for name, counts in known.items() if counts is not None}
        return [
            {"partition": number, **dict(zip(columns, counts, strict=True))}
            for number, *counts in zip(numbers.tolist(), *columns.values(), strict=True)
        ]

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON has it, without the single partitions."""
        rows = {} if self.row_counts is None else {"row_count": self.row_count, "batch_count": self.batch_count}
        return {
            "partition_count": self.partition_count,
            **rows,
            "range_bytes": self.byte_count,
            "empty_partition_count": self.empty_count,
            "smallest_bytes": self.smallest_bytes,
            "median_bytes": self.median_bytes,
            "largest_bytes": self.largest_bytes,
            "skew": self.skew,
            "gini": self.gini,
            "skewed_partitions": self.skewed_partitions.tolist(),
        }

    def __str__(self) -> str:
        rows = "" if self.row_count is None else f"{counted(self.row_count, 'row')}, "
        skew = "" if self.skew is None else f", skew {self.skew:.2f}"
        return f"{counted(self.partition_count, 'partition')}, {rows}{sized(self.byte_count)}{skew}"


def combined(sizes: Sequence[PartitionSizes]) -> PartitionSizes | None:
    """Add sizes up, as a merge would; return None where no merge could: partition counts differ, there is no file, or
    there are more bytes than a file can hold."""
    if len({each.partition_count for each in sizes}) != 1 or sum(each.byte_count for each in sizes) >= 2**63:
        return None
    return PartitionSizes(
        np.sum([each.byte_counts for each in sizes], axis=0),
        _sum([each.row_counts for each in sizes]),
        _sum([each.batch_counts for each in sizes]),
    )


def _sum(counts: Sequence[Int64Array | None]) -> Int64Array | None:
    """The sums, where all are known."""
    known = [each for each in counts if each is not None]
    return np.sum(known, axis=0) if len(known) == len(counts) else None


def peaks(values: Int64Array, count: int) -> Int64Array:
    """Return the largest value of each of at most ``count`` neighbourhoods of about the same size, in order: few
    columns of a picture can show many values."""
    if len(values) <= count:
        return values
    starts = np.arange(count) * len(values) // count
    return np.maximum.reduceat(values, starts)
