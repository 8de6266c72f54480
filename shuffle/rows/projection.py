"""Writing fewer columns than decide where a row goes."""
# PURE

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from shuffle.partitioners import Partitioner
from shuffle.partitioners.protocol import PartitionNumbers


class Projection:
    """A partitioner for a writer that gets some columns. It asks a partitioner that sees all columns.

    Args:
        partitioner: the partitioner that sees all columns.
        schema: of the rows with all columns.
        columns: the columns to write, in this order.

    ``written`` gives the rows to write, and the writer asks for their numbers in that order, as ``MapWriter`` does.
    """

    def __init__(self, partitioner: Partitioner, schema: pa.Schema, columns: Sequence[str]) -> None:
        self.partition_count: int = partitioner.partition_count
        self.schema: pa.Schema = pa.schema([schema.field(name) for name in columns], schema.metadata)
        """Of the rows to write."""
        self._partitioner = partitioner
        self._all_columns = schema
        self._columns = list(columns)
        self._rows = pa.record_batch([], pa.schema([]))
        self._position = 0  # of the first of these rows that no number was asked for

    def written(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Select the columns to write. The writer takes all of these rows before the next ones."""
        self._rows, self._position = batch, 0
        return batch.select(self._columns)

    def check_schema(self, schema: pa.Schema) -> None:  # noqa: ARG002 (the keys need not be among what is written)
        """Raise ValueError if the rows cannot be partitioned."""
        self._partitioner.check_schema(self._all_columns)

    def partition_numbers(self, batch: pa.RecordBatch) -> PartitionNumbers:
        """Give the partition of each of the next rows."""
        rows = self._rows.slice(self._position, batch.num_rows)
        assert rows.num_rows == batch.num_rows
        self._position += batch.num_rows
        return self._partitioner.partition_numbers(rows)
