"""What every partitioner is, and the checks that all of them share: partition counts and column names.

Nothing here knows how rows are placed.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuffle.option_kinds import several
from spill_format.partitioner import PartitionerDescription

PartitionNumbers = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]

# Spark counts partitions in a Java int.
LARGEST_PARTITION_COUNT = 2**31 - 1


@runtime_checkable
class Partitioner(Protocol):
    """Places each row of a record batch in one of ``partition_count`` partitions."""

    @property
    def partition_count(self) -> int:
        """How many partitions there are: 1 to 2**31 - 1."""

    def check_schema(self, schema: pa.Schema) -> None:
        """Raise ValueError if batches of this schema cannot be partitioned; the message names column and reason."""

    def partition_numbers(self, batch: pa.RecordBatch) -> PartitionNumbers:
        """The partition of each row: a new array of shape ``(batch.num_rows,)``.

        Its dtype is uint16 when ``partition_count`` is at most 65536, so that a stable argsort is a radix sort, and
        uint32 otherwise.
        """


@runtime_checkable
class DescribingPartitioner(Partitioner, Protocol):
    """A partitioner that says what decides where a row goes, so that files of different ones are told apart."""

    def describe(self, schema: pa.Schema) -> PartitionerDescription:
        """The partitioner as it places rows of this schema."""


def describe(partitioner: Partitioner, schema: pa.Schema) -> PartitionerDescription | None:
    """What places rows of a schema, or None for a partitioner that cannot say."""
    return partitioner.describe(schema) if isinstance(partitioner, DescribingPartitioner) else None


def check_partitioner(partitioner: object) -> None:
    """Raise TypeError unless this is a partitioner."""
    if isinstance(partitioner, type) or not isinstance(partitioner, Partitioner):
        raise TypeError(f"partitioner must be one such as HashPartitioner(['user_id'], 200), not {partitioner!r}")


def check_partition_count(partition_count: int) -> int:
    """The count as a plain int. TypeError unless it is an integer (not a bool), ValueError unless in 1 … 2**31 - 1."""
    if isinstance(partition_count, (bool, np.bool_)):
        raise TypeError(f"partition_count must be an integer, not {partition_count!r}")
    try:
        count = index(partition_count)
    except TypeError:
        raise TypeError(f"partition_count must be an integer, not {partition_count!r}") from None
    if not 1 <= count <= LARGEST_PARTITION_COUNT:
        raise ValueError(f"partition_count must be from 1 to {LARGEST_PARTITION_COUNT}, not {count}")
    return count


def empty_partition_numbers(row_count: int, partition_count: int) -> PartitionNumbers:
    """Room for one partition number a row, in the radix-sortable uint16 wherever it suffices."""
    return np.empty(row_count, np.uint16) if partition_count <= 1 << 16 else np.empty(row_count, np.uint32)


def check_columns(columns: str | Sequence[str]) -> tuple[str, ...]:
    """Column names as a tuple; a single name is accepted too. TypeError for a non-string, ValueError for none."""
    names = (columns,) if isinstance(columns, str) else several("columns", columns)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a column to partition by is named by a string, not {name!r}")
    if not names:
        raise ValueError("at least one column to partition by is needed")
    return names


def column_positions(schema: pa.Schema, columns: Sequence[str]) -> list[int]:
    """Where each named column is in the schema. ValueError, listing the columns there are, unless it is there once."""
    positions = []
    for name in columns:
        found = schema.get_all_field_indices(name)
        if len(found) > 1:
            raise ValueError(f"column {name!r} is ambiguous: {len(found)} columns have this name")
        if not found:
            there = ", ".join(repr(other) for other in schema.names) or "none"
            raise ValueError(f"no column {name!r} to partition by; the columns are: {there}")
        positions.append(found[0])
    return positions
