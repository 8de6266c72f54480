"""Spark's hash partitioning, for any Arrow column that has a place in Spark's types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuffle.partitioners.protocol import (
    PartitionNumbers,
    check_columns,
    check_partition_count,
    column_positions,
    empty_partition_numbers,
)
from shuffle.partitioners.spark_hash import hash_node, spark_type, unsupported_type
from spill_format.partitioner import PartitionerColumn, PartitionerDescription

# Spark's seed, for shuffles and for buckets of tables.
_SEED = 42

# The hashes and the temporaries of this many rows stay in the cache: less than half the time that whole batches take.
_ROWS_PER_BLOCK = 1 << 14


class HashPartitioner:
    """Places each row where Spark's ``repartition(partition_count, *columns)`` does.

    That is ``pmod(hash(columns), partition_count)``, the hash being murmur3 (x86, 32 bits, seed 42) in which each
    column's hash seeds the next and a null leaves it unchanged. Values of one type that Spark holds equal go together:
    0.0 and -0.0, every NaN, a dictionary's entry and the plain value; values of different types need not.

    Types that Spark lacks are hashed as what it makes of them on reading: uint8 and uint16 as int, uint32 as bigint,
    uint64 as decimal(20, 0), float16 as float, date64 as date; timestamps and durations of any unit as microseconds,
    nanoseconds rounded down; times of day as nanoseconds; extension types as their storage; maps as Spark hashes them
    with ``spark.sql.legacy.allowHashOnMapType``, in stored order. Unions and calendar intervals are ValueErrors.

    Stateless: any number of threads may share one.
    """

    def __init__(self, columns: str | Sequence[str], partition_count: int) -> None:
        self.columns: tuple[str, ...] = check_columns(columns)
        self.partition_count: int = check_partition_count(partition_count)

    def __repr__(self) -> str:
        return f"HashPartitioner({list(self.columns)!r}, {self.partition_count})"

    def check_schema(self, schema: pa.Schema) -> None:
        """Raise ValueError if a column is not there, or holds a type that Spark's hash does not have."""
        for name, position in zip(self.columns, column_positions(schema, self.columns), strict=True):
            kind = schema.field(position).type
            unsupported = unsupported_type(kind)
            if unsupported is not None:
                inside = "" if unsupported == kind else f" (in {kind})"
                raise ValueError(
                    f"column {name!r} cannot be hashed: Spark's hash has no type for {unsupported}{inside}"
                )

    def describe(self, schema: pa.Schema) -> PartitionerDescription:
        """The partitioner as it places rows of this schema: key columns count as Spark's types."""
        kinds = [schema.field(position).type for position in column_positions(schema, self.columns)]
        columns = [PartitionerColumn(*each) for each in zip(self.columns, map(spark_type, kinds), strict=True)]
        return PartitionerDescription("hash", tuple(columns), self.partition_count)

    def partition_numbers(self, batch: pa.RecordBatch) -> PartitionNumbers:
        """The partition of each row: shape ``(batch.num_rows,)``, uint16, or uint32 beyond 65536 partitions."""
        numbers = empty_partition_numbers(batch.num_rows, self.partition_count)
        for rows, hashes in self._hashed_blocks(batch):
            numbers[rows] = _modulo(hashes, self.partition_count)
        return numbers

    def hashes(self, batch: pa.RecordBatch) -> npt.NDArray[np.int32]:
        """Spark's ``hash(columns)`` of each row: shape ``(batch.num_rows,)``, int32."""
        all_hashes = np.empty(batch.num_rows, np.int32)
        for rows, hashes in self._hashed_blocks(batch):
            all_hashes[rows] = hashes
        return all_hashes

    def _hashed_blocks(self, batch: pa.RecordBatch) -> Iterator[tuple[slice, npt.NDArray[np.int32]]]:
        self.check_schema(batch.schema)
        nodes = [hash_node(batch.column(position)) for position in column_positions(batch.schema, self.columns)]
        for start in range(0, batch.num_rows, _ROWS_PER_BLOCK):
            rows = slice(start, min(start + _ROWS_PER_BLOCK, batch.num_rows))
            hashes = np.full(rows.stop - rows.start, _SEED, np.uint32)
            for node in nodes:
                node.fold(hashes, rows)
            yield rows, hashes.view(np.int32)


def _modulo(hashes: npt.NDArray[np.int32], partition_count: int) -> npt.NDArray[np.int32]:
    """The remainders, from 0 to ``partition_count - 1`` for negative hashes, too."""
    # numpy divides by a scalar with vector instructions, but has none for the remainder: a quarter of the time of %.
    quotients = hashes // np.int32(partition_count)
    quotients *= np.int32(partition_count)
    remainders: npt.NDArray[np.int32] = np.subtract(hashes, quotients, out=quotients)
    return remainders
