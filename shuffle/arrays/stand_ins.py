"""Columns in another form than the schema has: dictionary-encoded, or views, where it has plain values. Pure."""
# PURE

from __future__ import annotations

import pyarrow as pa

_VIEWS = {pa.string(): pa.string_view(), pa.binary(): pa.binary_view()}


def stands_for(kind: pa.DataType, plain: pa.DataType) -> bool:
    """Whether columns of a type are taken for plain ones: of the same type, its dictionary or its view."""
    if pa.types.is_dictionary(kind) and not pa.types.is_dictionary(plain):
        return bool(kind.value_type.equals(plain))
    return bool(kind.equals(plain) or kind == _VIEWS.get(plain))


def with_types_of(schema: pa.Schema, plain: pa.Schema) -> pa.Schema:
    """A schema, with the types of another one for columns that are taken for its own."""
    if schema.names != plain.names:
        return schema
    fields = [
        ours.with_type(theirs.type) if stands_for(ours.type, theirs.type) else ours
        for ours, theirs in zip(schema, plain, strict=True)
    ]
    return pa.schema(fields, metadata=schema.metadata)


def to_plain(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch of the schema, from one the columns of which stand for its own."""
    if batch.schema.equals(schema, check_metadata=True):
        return batch
    columns = [
        column if column.type.equals(field.type) else column.cast(field.type)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
