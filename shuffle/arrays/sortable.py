"""Columns in a form in which Arrow can take rows and a slice holds no more than its rows; and back again. PURE.

Arrow (26) has no ``take`` for string views and run ends, and a slice of a string or list view, once serialized, brings
along the values of all its siblings: cut into 200 partitions, a column of views would be written 200 times.
"""
# PURE

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shuffle.arrays.memory import list_places

_types = pa.types


def sortable_type(kind: pa.DataType) -> pa.DataType:  # noqa: PLR0911 (a table of types)
    """The type in which rows of ``kind`` are sorted: views are strings or lists with offsets, run ends plain."""
    if isinstance(kind, pa.BaseExtensionType):
        storage = sortable_type(kind.storage_type)
        return kind if storage.equals(kind.storage_type) else storage
    if _types.is_string_view(kind):
        return pa.large_string()
    if _types.is_binary_view(kind):
        return pa.large_binary()
    if _types.is_run_end_encoded(kind):
        return sortable_type(kind.value_type)
    if _types.is_struct(kind):
        return pa.struct([_sortable_field(field) for field in kind])
    if _types.is_union(kind):
        return pa.union([_sortable_field(field) for field in _fields(kind)], kind.mode, kind.type_codes)
    if _types.is_map(kind):
        return pa.map_(_sortable_field(kind.key_field), _sortable_field(kind.item_field), kind.keys_sorted)
    if _types.is_fixed_size_list(kind):
        return pa.list_(_sortable_field(kind.value_field), kind.list_size)
    if _types.is_list(kind):
        return pa.list_(_sortable_field(kind.value_field))
    if _types.is_large_list(kind) or _is_list_view(kind):
        return pa.large_list(_sortable_field(kind.value_field))
    return kind


def sortable_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with each column's sortable type: the same object where nothing needs another form."""
    fields = [field.with_type(sortable_type(field.type)) for field in schema]
    sortable = pa.schema(fields, metadata=schema.metadata)
    return schema if sortable.equals(schema) else sortable


def to_sortable(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """``batch`` as one of ``schema``, metadata and all, which is its own schema's ``sortable_schema``.

    Converted columns are copies.
    """
    if not batch.num_columns:  # a batch of columns alone would have no rows
        return batch.replace_schema_metadata(schema.metadata)
    if batch.schema.equals(schema, check_metadata=True):
        return batch
    columns = [_sortable(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def from_sortable(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """``batch`` as one of ``schema``, whose ``sortable_schema`` is its own. Holds nothing of other rows."""
    if batch.schema.equals(schema):
        return batch
    columns = [
        column if column.type.equals(field.type) else _original(_alone(column), field.type)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def has_unions(schema: pa.Schema) -> bool:
    """Whether there is a union in a column, however deep. Joining slices of dense ones keeps all their values."""
    return any(_has_union(field.type) for field in schema)


def _has_union(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return _has_union(kind.storage_type)
    return _types.is_union(kind) or any(_has_union(field.type) for field in _fields(kind))


def _sortable_field(field: pa.Field) -> pa.Field:
    return field.with_type(sortable_type(field.type))


def _is_list_view(kind: pa.DataType) -> bool:
    return bool(_types.is_list_view(kind) or _types.is_large_list_view(kind))


def _alone(array: pa.Array) -> pa.Array:
    """A copy of a slice, starting at offset 0."""
    # Concatenating dense unions keeps all their values; taking rows costs more.
    return array.take(pa.array(np.arange(len(array)))) if _has_union(array.type) else pa.concat_arrays([array])


def _sortable(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type.equals(kind):
        return array
    if isinstance(array.type, pa.BaseExtensionType):
        return _sortable(array.storage, kind)
    if _types.is_run_end_encoded(array.type):
        return _sortable(pc.run_end_decode(array), kind)
    if _is_list_view(array.type):
        return _list_with_offsets(array, kind)
    if not _types.is_nested(kind):
        return array.cast(kind)
    array = pa.concat_arrays([array])  # to start at offset 0
    children = [_sortable(child, field.type) for child, field in zip(_children(array), _fields(kind), strict=True)]
    return _with_children(array, kind, children)


def _original(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """``array``, which starts at offset 0, as one of ``kind``."""
    if array.type.equals(kind):
        return array
    if isinstance(kind, pa.BaseExtensionType):
        return kind.wrap_array(_original(array, kind.storage_type))
    if _types.is_run_end_encoded(kind):
        return pc.run_end_encode(_original(array, kind.value_type), kind.run_end_type)
    if not _types.is_nested(kind):
        return array.cast(kind)
    children = [_original(child, field.type) for child, field in zip(_children(array), _fields(kind), strict=True)]
    return _list_view(array, kind, children) if _is_list_view(kind) else _with_children(array, kind, children)


def _fields(kind: pa.DataType) -> list[pa.Field]:
    return [kind.field(position) for position in range(kind.num_fields)]


def _children(array: pa.Array) -> list[pa.Array]:
    """The children of a struct, union, list or map that starts at offset 0."""
    if _types.is_struct(array.type) or _types.is_union(array.type):
        return [array.field(position) for position in range(array.type.num_fields)]
    return [array.values]


def _with_children(array: pa.Array, kind: pa.DataType, children: list[pa.Array]) -> pa.Array:
    """A nested array that starts at offset 0, with other children; for the rest ``kind`` is its own type."""
    own_buffer_count = 1 if _types.is_struct(kind) or _types.is_fixed_size_list(kind) else 2
    if _types.is_union(kind):
        own_buffer_count = 3 if kind.mode == "dense" else 2
    own_buffers = array.buffers()[:own_buffer_count]
    return pa.Array.from_buffers(kind, len(array), own_buffers, array.null_count, 0, children)


def _list_with_offsets(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """A list view as a large list of ``kind``."""
    values, starts, lengths = list_places(array)
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    lengths = np.where(valid, lengths, 0)  # what lies under a null is garbage
    start = int(starts[lengths > 0].min(initial=len(values)))
    stop = int((starts + lengths)[lengths > 0].max(initial=start))
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    positions = np.arange(offsets[-1]) + np.repeat(starts - start - offsets[:-1], lengths)
    child = _sortable(values.slice(start, stop - start), kind.value_type).take(pa.array(positions))
    buffers = [pa.array(valid).buffers()[1] if array.null_count else None, pa.py_buffer(offsets)]
    return pa.Array.from_buffers(kind, len(array), buffers, array.null_count, 0, [child])


def _list_view(array: pa.Array, kind: pa.DataType, children: list[pa.Array]) -> pa.Array:
    """A large list that starts at offset 0 as a list view of ``kind``."""
    offsets = np.frombuffer(array.buffers()[1], np.int64, len(array) + 1) if len(array) else np.zeros(1, np.int64)
    dtype = np.int32 if _types.is_list_view(kind) else np.int64
    places = [pa.py_buffer(part.astype(dtype)) for part in (offsets[:-1], np.diff(offsets))]
    return pa.Array.from_buffers(kind, len(array), [array.buffers()[0], *places], array.null_count, 0, children)
