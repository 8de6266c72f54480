"""Rows given as plain values, turned into record batches of one schema, and rows turned into words.

Nothing here knows of files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from shuffle.testing.fidelity import first_changed, first_null, survives
from spill_format.schemas import describe_difference, from_storage, stored_type

Rows: TypeAlias = "pa.Table | pa.RecordBatch | Mapping[str, Any] | Sequence[Any]"
"""Rows of a partition: a table, a record batch or a list of them; a dict of columns; a list of dicts; a list of tuples,
whose columns are those of a schema that is given."""

Partitions: TypeAlias = Mapping[int, Rows]

_Columns: TypeAlias = dict[str, Any]

_LONGEST_ROW = 300  # characters of a row in a message
_UNFIT = (pa.ArrowException, ValueError, TypeError, OverflowError)  # what Arrow raises for a value of another type


def to_batches(
    partitions: Partitions, schema: pa.Schema | None = None
) -> tuple[pa.Schema, dict[int, list[pa.RecordBatch]]]:
    """Record batches of one schema, by partition, in the order of their numbers.

    Args:
        partitions: the rows of each partition.
        schema: of them all. Without it, that of the tables and batches among them, or else one inferred from the plain
            values of all partitions together.

    Raises:
        ValueError: a value does not fit its column, schemas differ, or there is nothing to infer one from. The message
            names partition, row and column.
        TypeError: a partition's number is no integer, or its rows are nothing of the above.
    """
    columns: dict[int, _Columns] = {}
    batches: dict[int, list[pa.RecordBatch]] = {}
    for partition in sorted(map(_checked_number, partitions)):
        rows = partitions[partition]
        arrow = _arrow_batches(rows)
        if arrow is None:
            columns[partition] = _columns(rows, partition, schema)
        else:
            batches[partition] = arrow
    if schema is None:  # not "or": a schema without columns counts as false
        schema = _schema_of(batches)
    if schema is None:
        schema = _inferred_schema(columns)
    for partition, found in batches.items():
        for batch in found:
            if (difference := describe_difference(schema, batch.schema)) is not None:
                raise ValueError(f"partition {partition} has rows of another schema: {difference}")
    for partition, plain in columns.items():
        batches[partition] = _batches_of(plain, schema, partition)
    for partition, found in batches.items():
        _check_nulls(found, partition)
    return schema, {partition: batches[partition] for partition in sorted(batches)}


def _check_nulls(batches: list[pa.RecordBatch], partition: int) -> None:
    for batch in batches:
        for field, column in zip(batch.schema, batch.columns, strict=True):
            if (row := first_null(column, field)) is not None:
                place = f"partition {partition}, row {row}, column {field.name!r}"
                raise ValueError(f"{place}: the schema says that there are no nulls")


def describe_row(rows: pa.Table | pa.RecordBatch, number: int) -> str:
    """One row in words, cut where it is long."""
    values = {name: _plain_value(column[number]) for name, column in zip(rows.schema.names, rows.columns, strict=True)}
    text = repr(values)
    return text if len(text) <= _LONGEST_ROW else f"{text[:_LONGEST_ROW]}…"


def _checked_number(partition: object) -> int:
    if not isinstance(partition, (int, np.integer)) or isinstance(partition, bool):
        raise TypeError(f"rows are given by the number of their partition, {{0: rows}}, not by {partition!r}")
    if partition < 0:
        raise ValueError(f"partitions are numbered from 0, not {partition}")
    return int(partition)


def _plain_value(scalar: pa.Scalar) -> object:
    try:
        return scalar.as_py()
    except ValueError:  # nanoseconds that Python's datetime cannot hold
        return str(scalar)


def _arrow_batches(rows: Rows) -> list[pa.RecordBatch] | None:
    """The batches of rows that are Arrow's already; None where they are plain values."""
    if isinstance(rows, pa.RecordBatch):
        return [rows]
    if isinstance(rows, pa.Table):
        # A table without chunks still has a schema.
        return list(rows.to_batches()) or [pa.RecordBatch.from_pylist([], schema=rows.schema)]
    if isinstance(rows, Sequence) and rows and isinstance(rows[0], (pa.RecordBatch, pa.Table)):
        return [batch for part in rows for batch in _arrow_batches(part) or ()]
    return None


def _columns(rows: Rows, partition: int, schema: pa.Schema | None) -> _Columns:
    if isinstance(rows, Mapping):
        return _checked_columns(dict(rows), partition, schema)
    if not isinstance(rows, Sequence) or isinstance(rows, (str, bytes)):
        raise TypeError(f"partition {partition}: rows are a table, a dict of columns or a list, not {rows!r}")
    for number, row in enumerate(rows):
        if not isinstance(row, (Mapping, tuple)):
            raise TypeError(f"partition {partition}, row {number}: a row is a dict or a tuple, not {row!r}")
        if isinstance(row, Mapping) is not isinstance(rows[0], Mapping):
            raise TypeError(f"partition {partition}, row {number}: rows are all dicts or all tuples")
    if not rows:
        return {}
    return _transposed(rows, partition, schema)


def _transposed(rows: Sequence[Any], partition: int, schema: pa.Schema | None) -> _Columns:
    if isinstance(rows[0], Mapping):
        # In the order of first appearance, which a set would not keep.
        names = schema.names if schema is not None else list(dict.fromkeys(name for row in rows for name in row))
        for number, row in enumerate(rows):
            for name in row:
                if name not in names:
                    raise ValueError(f"partition {partition}, row {number}: the schema has no column {name!r}")
        return {name: [row.get(name) for row in rows] for name in names}
    if schema is None:
        raise ValueError(f"partition {partition}: rows that are tuples need a schema")
    for number, row in enumerate(rows):
        if len(row) != len(schema):
            place = f"partition {partition}, row {number}"
            raise ValueError(f"{place}: {len(row)} values for the columns {', '.join(schema.names)}: {row!r}")
    return {name: [row[position] for row in rows] for position, name in enumerate(schema.names)}


def _checked_columns(columns: _Columns, partition: int, schema: pa.Schema | None) -> _Columns:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"partition {partition}: columns of different lengths: {counts}")
    if schema is not None:
        for name in columns:
            if name not in schema.names:
                raise ValueError(f"partition {partition}: the schema has no column {name!r}")
    return columns


def _schema_of(batches: Mapping[int, list[pa.RecordBatch]]) -> pa.Schema | None:
    return next((batch.schema for found in batches.values() for batch in found), None)


def _inferred_schema(partitions: Mapping[int, _Columns]) -> pa.Schema:
    pieces: dict[str, list[Any]] = {}
    for columns in partitions.values():
        for name, values in columns.items():
            pieces.setdefault(name, []).append(values)
    if not pieces:
        raise ValueError("there are no rows to infer a schema from: pass schema=…")
    return pa.schema([(name, _inferred_type(name, found)) for name, found in pieces.items()])


def _inferred_type(name: str, pieces: Sequence[Any]) -> pa.DataType:
    """The type of a column, of all its values together: 1 in one partition and 2.5 in another are doubles."""
    for piece in pieces:
        if isinstance(piece, (pa.Array, pa.ChunkedArray)):
            return piece.type
        if isinstance(piece, np.ndarray):
            return pa.array(piece).type
    try:
        return pa.array([value for piece in pieces for value in piece]).type
    except _UNFIT as error:
        raise ValueError(f"column {name!r}: no type holds all its values ({error}); pass schema=…") from error


def _batches_of(columns: _Columns, schema: pa.Schema, partition: int) -> list[pa.RecordBatch]:
    row_count = len(next(iter(columns.values()), ()))
    if row_count == 0:
        return []
    # Arrow builds no dictionaries inside of other types from Python's values: as plain ones first.
    arrays = [_array(columns.get(field.name, [None] * row_count), field, partition) for field in schema]
    stored = pa.schema([field.with_type(array.type) for field, array in zip(schema, arrays, strict=True)])
    return from_storage(pa.RecordBatch.from_arrays(arrays, schema=stored), schema)


def _array(values: Any, field: pa.Field, partition: int) -> pa.Array:
    stored = stored_type(field.type)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    try:
        array = values.cast(stored) if isinstance(values, pa.Array) else pa.array(values, stored)
    except _UNFIT as error:
        row, value = next(_unfit(values, stored), (None, None))
        if row is None:
            raise ValueError(f"partition {partition}, column {field.name!r}: {error}") from error
        place = f"partition {partition}, row {row}, column {field.name!r}"
        raise ValueError(f"{place}: {value!r} is no {field.type} ({error})") from error
    _check_kept(values, array, field, partition)
    return array


def _check_kept(values: Any, array: pa.Array, field: pa.Field, partition: int) -> None:
    if isinstance(values, pa.Array):
        if not survives(values, array):
            raise ValueError(
                f"partition {partition}, column {field.name!r}: values of type {values.type} are no {field.type}"
            )
    elif (row := first_changed(values, array)) is not None:
        place = f"partition {partition}, row {row}, column {field.name!r}"
        raise ValueError(f"{place}: {values[row]!r} is no {field.type} (it would become {array[row].as_py()!r})")


def _unfit(values: Any, data_type: pa.DataType) -> Iterator[tuple[int, Any]]:
    for row, value in enumerate(values):
        try:
            pa.array([value], data_type)
        except _UNFIT:
            yield row, value
