"""Bounds of ranges that hold about as many rows each: a pass over the inputs before the one that partitions them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from shuffle.partitioners import RangePartitioner
from shuffle.rows.inputs import Inputs
from shuffle.rows.placement import SortKey
from shuffle.rows.progress import Stage, unwatched
from shuffle.rows.sample import RowSample

_MOST_PARTS = 256  # row groups or files that are read
# With n rows of a sample for each partition, most partitions are within 1/√n of their share: 3 %.
_ROWS_A_PARTITION = 1000
_FEWEST_ROWS = 1 << 16
_MOST_ROWS = 1 << 20
_MEMORY_PART = 4  # of the budget a quarter is for the sample: ranking it takes as much again, and more


def range_partitioner(
    inputs: Inputs, keys: Sequence[SortKey], partition_count: int, memory_bytes: int, stage: Stage = unwatched
) -> RangePartitioner:
    """Make a partitioner whose bounds come from a sample: 1000 rows a partition, from 65,536 to 1,048,576 rows.

    The pass reads the keys' columns of at most 256 row groups of Parquet files, or files of other formats, at equal
    distances. The same inputs give the same bounds.

    Args:
        inputs: the rows.
        keys: the columns that sort the rows, the most significant column first.
        partition_count: P.
        memory_bytes: the budget; the sample takes at most a quarter of it.
        stage: watches the pass.

    Raises:
        ValueError: a column is not there, or its values have no order.
        InputError: a file cannot be read; the message names the file.
    """
    names = [key.column for key in keys]

    def partitioner_of(sample: pa.Table) -> RangePartitioner:
        return RangePartitioner.from_sample(
            sample,
            names,
            partition_count,
            descending=[key.is_descending for key in keys],
            nulls_first=[key.is_nulls_first for key in keys],
        )

    partitioner_of(inputs.schema.empty_table())  # what it refuses is refused before anything is read
    columns = list(dict.fromkeys(names))
    most_rows = min(max(_ROWS_A_PARTITION * partition_count, _FEWEST_ROWS), _MOST_ROWS)
    schema = pa.schema([inputs.schema.field(name) for name in columns])
    sample = RowSample(schema, most_rows, memory_bytes // _MEMORY_PART)
    parts = inputs.some_parts(_MOST_PARTS)
    with stage(inputs.row_count(parts), " rows", "sampling") as progress:
        for batch in inputs.batches(parts, columns, progress, memory_bytes):
            sample.add(batch)
    return partitioner_of(sample.rows())
