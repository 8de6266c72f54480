"""``shuffle.diff``: whether two files hold the same rows, partition by partition, and where they differ first.

Nothing here prints. One partition of each file is compared at a time; columns of plain types as arrays, nested ones
value by value.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spill_format import SpillFile
from spill_format.layout import Int64Array
from spill_format.schemas import describe_difference, storage_schema, to_storage

_LONGEST_VALUE = 100  # characters of a value in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first thing in which two files differ.

    Attributes:
        problem: the difference in words.
        partition: number of the first partition that differs; None if the files differ as a whole.
        row: number of the first row in the partition that differs; with ``any_order``, of a row that one file has more
            often than the other. None if no single row differs.
        column: name of the first column that differs in this row, or None.
    """

    problem: str
    partition: int | None = None
    row: int | None = None
    column: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The difference as JSON has it."""
        return {"problem": self.problem, "partition": self.partition, "row": self.row, "column": self.column}

    def __str__(self) -> str:
        places = (("partition", self.partition), ("row", self.row), ("column", self.column))
        place = ", ".join(f"{name} {value}" for name, value in places if value is not None)
        return f"{place}: {self.problem}" if place else self.problem


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether two files hold the same rows.

    Attributes:
        first, second: the files, as they were given.
        difference: the first difference, or None.
    """

    first: str
    second: str
    difference: Difference | None

    @property
    def same(self) -> bool:
        """Whether each partition holds the same rows in both files."""
        return self.difference is None

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON has it."""
        found = None if self.difference is None else self.difference.as_dict()
        return {"first": self.first, "second": self.second, "same": self.same, "difference": found}

    def __str__(self) -> str:
        files = f"{self.first} and {self.second}"
        return f"{files} hold the same rows" if self.same else f"{files} differ: {self.difference}"


def diff(
    first: str | PathLike[str],
    second: str | PathLike[str],
    *,
    any_order: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Compare the rows of two files, partition by partition, and find the first difference.

    Batches, alignment, compression, metadata and the order of dictionaries do not count. NaN equals NaN, and 0.0
    equals −0.0.

    Args:
        first, second: the files.
        any_order: rows may come in any order within their partition, each as often as in the other file.
        progress: told how many further partitions were compared.

    Raises:
        SpillError, OSError: a file cannot be read.
    """
    difference = _first_difference(first, second, any_order=any_order, progress=progress)
    return Comparison(os.fspath(first), os.fspath(second), difference)


def _first_difference(
    first: str | PathLike[str],
    second: str | PathLike[str],
    *,
    any_order: bool,
    progress: Callable[[int], None] | None,
) -> Difference | None:
    with (
        SpillFile(first, check="values", mapped=False) as one,
        SpillFile(second, check="values", mapped=False) as other,
    ):
        if one.partition_count != other.partition_count:
            counts = f"{one.partition_count} in the first, {other.partition_count} in the second"
            return Difference(problem=f"numbers of partitions: {counts}")
        if (difference := describe_difference(one.schema, other.schema)) is not None:
            return Difference(problem=f"schemas: in the second {difference}")
        compare = _compare_in_any_order if any_order else _compare_in_order
        for partition in range(one.partition_count):
            rows, other_rows = one.read(partition), other.read(partition)
            found = None if rows.equals(other_rows) else compare(_plain(rows), _plain(other_rows), partition)
            if found is not None:
                return found
            if progress is not None:
                progress(1)
    return None


def _compare_in_order(one: pa.Table, other: pa.Table, partition: int) -> Difference | None:
    common = min(one.num_rows, other.num_rows)
    place, column = common, None
    for name, (codes, other_codes) in zip(one.schema.names, _codes(one, other), strict=True):
        different = np.flatnonzero(codes[:place] != other_codes[:place])
        if len(different):
            place, column = int(different[0]), name
    if column is not None:
        number = one.schema.names.index(column)
        values = f"{_value(one, number, place)} in the first, {_value(other, number, place)} in the second"
        return Difference(problem=values, partition=partition, row=place, column=column)
    if one.num_rows == other.num_rows:
        return None
    problem = f"{one.num_rows:,} rows in the first, {other.num_rows:,} in the second, which are alike as far as they go"
    return Difference(problem=problem, partition=partition, row=common)


def _compare_in_any_order(one: pa.Table, other: pa.Table, partition: int) -> Difference | None:
    """Compare how often each row occurs: rows are numbered so that equal ones have the same number."""
    numbers = np.zeros(one.num_rows + other.num_rows, dtype=np.int64)
    for codes in _codes(one, other):
        column = np.concatenate(codes)
        # Renumbered after each column, so that products of two counts stay below 2**63.
        _, numbers = np.unique(numbers * (int(column.max(initial=0)) + 1) + column, return_inverse=True)
    ours, theirs = numbers[: one.num_rows], numbers[one.num_rows :]
    size = int(numbers.max(initial=-1)) + 1
    surplus = np.bincount(ours, minlength=size) - np.bincount(theirs, minlength=size)
    for table, rows, more, name in ((one, ours, surplus, "first"), (other, theirs, -surplus, "second")):
        too_often = np.flatnonzero(more[rows] > 0)
        if len(too_often):
            row = int(too_often[0])
            values = ", ".join(f"{column} {_value(table, n, row)}" for n, column in enumerate(table.schema.names))
            problem = f"this row of the {name} is missing {int(more[rows[row]]):,} times in the other: {values}"
            return Difference(problem=problem, partition=partition, row=row)
    return None


def _codes(one: pa.Table, other: pa.Table) -> list[tuple[Int64Array, Int64Array]]:
    """Return for each column the codes of the values in both tables: equal values have equal codes, from 0 on."""
    codes = []
    for number in range(one.num_columns):
        column = pa.chunked_array(
            [*one.column(number).chunks, *other.column(number).chunks], one.schema.field(number).type
        )
        joint = _joint_codes(column)
        codes.append((joint[: one.num_rows], joint[one.num_rows :]))
    return codes


def _joint_codes(column: pa.ChunkedArray) -> Int64Array:
    data_type = column.type
    if isinstance(data_type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], data_type.storage_type)
    if pa.types.is_string_view(column.type) or pa.types.is_binary_view(column.type):  # Arrow cannot encode views
        column = column.cast(pa.large_string() if pa.types.is_string_view(column.type) else pa.large_binary())
    if pa.types.is_float16(column.type):  # Arrow cannot add float16
        column = column.cast(pa.float32())
    if pa.types.is_floating(column.type):
        column = pc.add(column, pa.scalar(0, column.type))  # makes 0.0 of −0.0
    try:
        encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        numbers: dict[Hashable, int] = {}
        return np.array([numbers.setdefault(_known(each, _frozen), len(numbers)) for each in column], dtype=np.int64)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes: Int64Array = encoded.indices.to_numpy().astype(np.int64)
    return codes


def _plain(table: pa.Table) -> pa.Table:
    """Return the table with plain values in place of dictionaries."""
    stored = storage_schema(table.schema)
    return pa.Table.from_batches([to_storage(batch, stored) for batch in table.to_batches()], stored)


def _value(table: pa.Table, column: int, row: int) -> str:
    text = str(_known(table.column(column)[row], repr))
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _known(scalar: pa.Scalar, form: Callable[[Any], Hashable]) -> Hashable:
    """Return a form of a value as Python has it; Arrow's text if Python cannot hold its nanoseconds."""
    try:
        return form(scalar.as_py())
    except ValueError:
        return str(scalar)


def _frozen(value: Any) -> Hashable:
    """Return something hashable that is equal for equal values; NaN equals NaN, and 0.0 equals −0.0."""
    if isinstance(value, dict):
        return tuple((name, _frozen(item)) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    hashable: Hashable = "NaN" if isinstance(value, float) and math.isnan(value) else value
    return hashable
