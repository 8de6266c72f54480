"""What assertions compare: the rows of a file, a table or plain values, partition by partition, and keys for them.

Nothing here asserts anything.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

from shuffle.testing.rows import Partitions, to_batches
from spill_format import SpillFile
from spill_format.schemas import storage_schema, stored_type, to_storage

Comparable: TypeAlias = "str | PathLike[str] | pa.Table | pa.RecordBatch | Partitions"
"""A partitioned file by its path; rows as a table or batch, which count as one partition; or the rows of each
partition, as ``write_spill`` takes them."""

Key: TypeAlias = tuple[Hashable, ...]

_NAN = object()  # any NaN: two of them are the same value here


class Place(NamedTuple):
    """Where a row is."""

    contents: Contents
    partition: int
    row: int

    def __str__(self) -> str:
        partition = f"partition {self.partition}, " if self.contents.is_partitioned else ""
        return f"{self.contents.name}, {partition}row {self.row}"


@dataclass(frozen=True, slots=True)
class Contents:
    """Rows by partition.

    Attributes:
        name: of the file, or what stands for it in a message.
        schema: of all rows.
        tables: one a partition; of a file zero-copy, over its memory map.
        is_partitioned: False for a mere table.
    """

    name: str
    schema: pa.Schema
    tables: tuple[pa.Table, ...]
    is_partitioned: bool = True

    def keyed_rows(self) -> Iterator[tuple[Place, Key]]:
        """Where each row is and its key, in order."""
        for partition, table in enumerate(self.tables):
            for row, key in enumerate(row_keys(table)):
                yield Place(self, partition, row), key


def contents_of(what: Comparable, name: str, schema: pa.Schema | None = None) -> Contents:
    """The contents of ``what``; a file is called by its path, anything else ``name``.

    Args:
        what: see ``Comparable``.
        name: for messages.
        schema: of plain values; None infers it.

    Raises:
        SpillError, OSError: a file cannot be read.
        ValueError, TypeError: plain values are no rows.
    """
    if isinstance(what, pa.RecordBatch):
        what = pa.Table.from_batches([what])
    if isinstance(what, pa.Table):
        return Contents(name, what.schema, (what,), is_partitioned=False)
    if isinstance(what, (str, PathLike)):
        with SpillFile(what) as spill:
            tables = tuple(spill.read(partition) for partition in range(spill.partition_count))
            return Contents(os.fspath(what), spill.schema, tables)
    if isinstance(what, Mapping):
        schema, batches = to_batches(what, schema)
        partitions = range(max(batches, default=-1) + 1)
        return Contents(name, schema, tuple(pa.Table.from_batches(batches.get(p, []), schema) for p in partitions))
    raise TypeError(f"{name} is neither a path nor a table nor {{partition: rows}}, but {type(what).__name__}")


def is_plain(what: object) -> bool:
    """Whether rows are given as plain values, for which a schema is best taken from elsewhere."""
    return isinstance(what, Mapping)


def row_keys(table: pa.Table) -> Iterable[Key]:
    """A key for each row: equal where the rows' values are, NaN and 0.0 included, and hashable."""
    stored = storage_schema(table.schema)
    batches = [to_storage(batch, stored) for batch in table.to_batches()]
    columns = [_keys(pa.chunked_array([batch.column(n) for batch in batches], f.type)) for n, f in enumerate(stored)]
    return zip(*columns, strict=True) if columns else [()] * table.num_rows


def _keys(column: pa.ChunkedArray) -> list[Any]:
    """Python's values where they will do."""
    data_type = stored_type(column.type)
    if "[ns" in str(data_type):  # in it, however deep: Python's datetime holds no nanoseconds, but Arrow's scalars do
        return list(column)
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(data_type):
        return [_NAN if value != value else value for value in values]  # noqa: PLR0124 -- what NaN is
    if data_type.num_fields or isinstance(data_type, pa.BaseExtensionType):
        return [_frozen(value) for value in values]
    return values


def _frozen(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple(_frozen(item) for item in value.values())
    if isinstance(value, list):
        return ("list", *map(_frozen, value))  # so that no list is taken for a struct of its length
    if isinstance(value, tuple):
        return tuple(map(_frozen, value))
    hashable: Hashable = _NAN if isinstance(value, float) and value != value else value  # noqa: PLR0124 -- what NaN is
    return hashable
