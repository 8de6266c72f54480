"""Rows dealt out in turn, like cards."""

from __future__ import annotations

from operator import index
from typing import SupportsIndex

import numpy as np
import pyarrow as pa

from shuffle.partitioners.protocol import PartitionNumbers, check_partition_count, empty_partition_numbers
from spill_format.partitioner import PartitionerDescription


class RoundRobinPartitioner:
    """Row i, counted across all batches seen so far, goes to partition ``(start + i) % partition_count``.

    The same rows in the same order give the same partitions, however they are cut into batches. The count is the
    partitioner's state: give each map task its own, and each another ``start``, so that their first rows do not
    all land in partition 0. Not safe to share between threads.
    """

    def __init__(self, partition_count: int, start: int = 0) -> None:
        self.partition_count: int = check_partition_count(partition_count)
        if isinstance(start, bool) or not isinstance(start, SupportsIndex):
            raise TypeError(f"start must be an integer, not {start!r}")
        self._next = index(start) % self.partition_count

    def __repr__(self) -> str:
        return f"RoundRobinPartitioner({self.partition_count}, start={self._next})"

    def check_schema(self, schema: pa.Schema) -> None:
        """Accept any schema: the turn of a row does not depend on its values."""

    def describe(self, schema: pa.Schema) -> PartitionerDescription:  # noqa: ARG002 -- see DescribingPartitioner
        """The partitioner as it places rows of any schema."""
        return PartitionerDescription("round_robin", (), self.partition_count, by_value=False)

    def partition_numbers(self, batch: pa.RecordBatch) -> PartitionNumbers:
        """The partition of each row, shape ``(batch.num_rows,)``; the next batch goes on where this one ends."""
        turns = np.arange(self._next, self._next + batch.num_rows)
        self._next = (self._next + batch.num_rows) % self.partition_count
        turns %= self.partition_count
        numbers = empty_partition_numbers(batch.num_rows, self.partition_count)
        numbers[:] = turns
        return numbers
