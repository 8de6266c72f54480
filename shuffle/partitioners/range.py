"""Sorted ranges of rows as partitions, between bounds that are given or taken from a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Self, TypeAlias

import numpy as np
import pyarrow as pa

from shuffle.arrays.sort_digits import (
    DigitColumn,
    SortOrder,
    compared_array,
    compared_type,
    dense_ranks,
    is_sortable,
)
from shuffle.partitioners.bound_ladder import BoundLadder, quantile_groups
from shuffle.partitioners.protocol import (
    PartitionNumbers,
    check_columns,
    check_partition_count,
    column_positions,
    empty_partition_numbers,
)
from spill_format.partitioner import PartitionerColumn, PartitionerDescription

Bounds: TypeAlias = pa.Table | pa.RecordBatch | pa.Array | pa.ChunkedArray | Sequence[Any]


class RangePartitioner:
    """Places each row in the first partition whose bound does not sort before the row; the last partition has no bound.

    Partition p holds the rows after bound p - 1, up to and including bound p, as Spark's ``repartitionByRange``:
    sorting each partition then sorts everything.

    Args:
        columns: what rows are sorted by, the most significant first. Nested types are not supported.
        bounds: the partitions' inclusive upper bounds, sorted: a table or record batch with these columns, a sequence
            of tuples, or, for one column, a sequence or Arrow array of values. They are cast to the type of the column
            that they meet. Equal bounds are allowed and leave partitions empty.
        descending: the direction, of all columns or of each.
        nulls_first: where nulls go, in all columns or in each. By default, as in Spark, they are the least:
            first if ascending, last if descending.
        partition_count: by default one more than the bounds; more leave the last ones empty.

    NaN is the greatest number whatever its bits, and 0.0 equals -0.0. Stateless but for a cache: any number of threads
    may share one.

    Raises:
        ValueError: bounds out of order, or of another number of columns; fewer partitions than the bounds separate.
    """

    def __init__(
        self,
        columns: str | Sequence[str],
        bounds: Bounds,
        *,
        descending: bool | Sequence[bool] = False,
        nulls_first: bool | Sequence[bool] | None = None,
        partition_count: int | None = None,
    ) -> None:
        self.columns: tuple[str, ...] = check_columns(columns)
        self._orders = _sort_orders(len(self.columns), descending, nulls_first)
        self._bounds = _bound_arrays(self.columns, bounds)
        self.bound_count: int = len(self._bounds[0])
        self.partition_count: int = check_partition_count(
            self.bound_count + 1 if partition_count is None else partition_count
        )
        if self.partition_count <= self.bound_count:
            raise ValueError(f"{self.bound_count} bounds separate more than {self.partition_count} partitions")
        # Bounds take on the columns' types when they meet them; those seen last are kept.
        self._ladder = (self._types(), self._build_ladder(self._bounds))

    @classmethod
    def from_sample(
        cls,
        sample: pa.Table | pa.RecordBatch,
        columns: str | Sequence[str],
        partition_count: int,
        *,
        descending: bool | Sequence[bool] = False,
        nulls_first: bool | Sequence[bool] | None = None,
    ) -> Self:
        """A partitioner whose bounds cut the sample's rows as evenly as its distinct values allow.

        There are always ``partition_count`` partitions: when the sample has fewer distinct values the last ones stay
        empty, and all but the first when it has no rows at all. A value is never divided between partitions.
        """
        names, count = check_columns(columns), check_partition_count(partition_count)
        orders = _sort_orders(len(names), descending, nulls_first)
        _check_sortable(names, sample.schema)
        arrays = [_sortable_column(sample, position) for position in column_positions(sample.schema, names)]
        ranks = dense_ranks([DigitColumn(array, order) for array, order in zip(arrays, orders, strict=True)])
        _, examples, group_sizes = np.unique(ranks, return_index=True, return_counts=True)
        chosen = pa.array(examples[quantile_groups(np.cumsum(group_sizes), count)], pa.int64())
        bounds = pa.table([array.take(chosen) for array in arrays], names=list(names))
        return cls(names, bounds, descending=descending, nulls_first=nulls_first, partition_count=count)

    def __repr__(self) -> str:
        return f"RangePartitioner({list(self.columns)!r}, {self.bound_count} bounds, {self.partition_count} partitions)"

    @property
    def bounds(self) -> pa.Table:
        """The bounds, in order: one row each, columns named as those of the rows."""
        return pa.table(self._bounds, names=list(self.columns))

    def check_schema(self, schema: pa.Schema) -> None:
        """Raise ValueError if a column is not there, cannot be sorted, or is of a type that the bounds cannot take."""
        _check_sortable(self.columns, schema)
        self._ladder_for([schema.field(position).type for position in column_positions(schema, self.columns)])

    def describe(self, schema: pa.Schema) -> PartitionerDescription:
        """The partitioner as it places rows of this schema: bounds by their digest."""
        kinds = [compared_type(schema.field(position).type) for position in column_positions(schema, self.columns)]
        columns = [PartitionerColumn(name, str(kind)) for name, kind in zip(self.columns, kinds, strict=True)]
        parameters = {
            "bounds": _digest([_cast(*each) for each in zip(self.columns, self._bounds, kinds, strict=True)]),
            "descending": [order.descending for order in self._orders],
            "nulls_first": [order.nulls_first for order in self._orders],
        }
        return PartitionerDescription("range", tuple(columns), self.partition_count, parameters)

    def partition_numbers(self, batch: pa.RecordBatch) -> PartitionNumbers:
        """The partition of each row: shape ``(batch.num_rows,)``, uint16, or uint32 beyond 65536 partitions."""
        arrays = [batch.column(position) for position in column_positions(batch.schema, self.columns)]
        _check_sortable(self.columns, batch.schema)
        ladder = self._ladder_for([array.type for array in arrays])
        numbers = empty_partition_numbers(batch.num_rows, self.partition_count)
        numbers[:] = ladder.count_below(self._digit_columns(arrays), batch.num_rows)
        return numbers

    def _types(self) -> list[pa.DataType]:
        return [array.type for array in self._bounds]

    def _digit_columns(self, arrays: Sequence[pa.Array]) -> list[DigitColumn]:
        return [DigitColumn(array, order) for array, order in zip(arrays, self._orders, strict=True)]

    def _ladder_for(self, kinds: Sequence[pa.DataType]) -> BoundLadder:
        wanted = [compared_type(kind) for kind in kinds]
        types, ladder = self._ladder
        if types != wanted:
            ladder = self._build_ladder(
                [_cast(*each) for each in zip(self.columns, self._bounds, wanted, strict=True)],
            )
            self._ladder = (wanted, ladder)
        return ladder

    def _build_ladder(self, arrays: Sequence[pa.Array]) -> BoundLadder:
        columns = self._digit_columns(arrays)
        falls = np.flatnonzero(np.diff(dense_ranks(columns)) < 0)
        if len(falls):
            first = int(falls[0])
            pair = [tuple(array[position].as_py() for array in arrays) for position in (first, first + 1)]
            raise ValueError(
                f"bounds must be sorted: bound {first + 1}, {pair[1]}, sorts before bound {first}, {pair[0]}"
            )
        return BoundLadder(columns, self.bound_count)


def _sort_orders(
    column_count: int, descending: bool | Sequence[bool], nulls_first: bool | Sequence[bool] | None
) -> list[SortOrder]:
    directions = _one_each("descending", descending, column_count)
    placements = [not down for down in directions]
    if nulls_first is not None:
        placements = _one_each("nulls_first", nulls_first, column_count)
    return [SortOrder(down, first) for down, first in zip(directions, placements, strict=True)]


def _one_each(option: str, value: bool | Sequence[bool], column_count: int) -> list[bool]:
    values = [value] * column_count if isinstance(value, bool) else list(value)
    if len(values) != column_count:
        raise ValueError(f"{option} must be one bool, or one for each of {column_count} columns, not {len(values)}")
    for each in values:
        if not isinstance(each, bool):
            raise TypeError(f"{option} must be bool, not {each!r}")
    return values


def _check_sortable(columns: Sequence[str], schema: pa.Schema) -> None:
    for name, position in zip(columns, column_positions(schema, columns), strict=True):
        kind = schema.field(position).type
        if not is_sortable(kind):
            raise ValueError(f"column {name!r} cannot be partitioned by range: values of type {kind} are not sortable")


def _bound_arrays(columns: tuple[str, ...], bounds: Bounds) -> list[pa.Array]:
    """The bounds as one array a column, of equal length, their types sortable."""
    if not isinstance(bounds, (pa.Table, pa.RecordBatch)):
        bounds = _bound_table(columns, bounds)
    _check_sortable(columns, bounds.schema)
    return [_sortable_column(bounds, position) for position in column_positions(bounds.schema, columns)]


def _bound_table(columns: tuple[str, ...], bounds: pa.Array | pa.ChunkedArray | Sequence[Any]) -> pa.Table:
    if isinstance(bounds, (pa.Array, pa.ChunkedArray)):
        values: list[Any] = [bounds]
    else:
        rows = [bound if isinstance(bound, tuple) else (bound,) for bound in bounds]
        for position, row in enumerate(rows):
            if len(row) != len(columns):
                raise ValueError(f"bound {position} has {len(row)} values for {len(columns)} columns: {row}")
        values = [[row[position] for row in rows] for position in range(len(columns))]
    if len(values) != len(columns):
        raise ValueError(f"an array holds bounds of one column, not of {len(columns)}")
    try:
        return pa.table(
            [each if isinstance(each, (pa.Array, pa.ChunkedArray)) else pa.array(each) for each in values],
            names=list(columns),
        )
    except pa.ArrowException as error:
        raise ValueError(f"the bounds of a column must be of one type: {error}") from error


def _sortable_column(table: pa.Table | pa.RecordBatch, position: int) -> pa.Array:
    column = table.column(position)
    if isinstance(column, pa.ChunkedArray):
        # Chunks of views and dictionaries are not joined by every release of Arrow; their plain values are.
        chunks = [compared_array(chunk) for chunk in column.chunks]
        return pa.chunked_array(chunks, compared_type(column.type)).combine_chunks()
    return compared_array(column)


def _digest(bounds: Sequence[pa.Array]) -> str:
    """A digest of arrays of equal length: of their values alone, however they lie in memory."""
    digest = hashlib.blake2b(digest_size=16)
    for array in bounds:
        digest.update(f"{array.type}[{len(array)}]".encode())
        for buffer in array.take(pa.array(range(len(array)), pa.int64())).buffers():
            digest.update(b"-" if buffer is None else buffer)
    return digest.hexdigest()


def _cast(name: str, bounds: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return bounds.cast(kind)
    except pa.ArrowException as error:
        raise ValueError(f"the bounds of column {name!r}, of type {bounds.type}, cannot be {kind}: {error}") from error
