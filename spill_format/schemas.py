"""Schemas as the format stores them: dictionary-encoded columns as plain values, the original types in the metadata.

Pure, but for pyarrow. Dictionaries are file-wide state; a merge that never decodes could not join them. FORMAT.md
section 3 says what is stored.
"""
# PURE

from __future__ import annotations

import base64
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from .undecodable import UNDECODABLE

ORIGINAL_SCHEMA_KEY = b"spill_format.original_schema"
MAXIMUM_NESTING = 64
"""Levels of a column, the column itself included: Arrow writes no more."""


def storage_schema(schema: pa.Schema) -> pa.Schema:
    """The schema that is written for data of ``schema``: the same object where it has no dictionary-encoded type.

    Its metadata then holds the original under ``spill_format.original_schema``: Arrow's schema message in base64. One
    that is there and of other columns, as of a file of which some were read, is left out.

    Raises:
        TypeError: a dictionary-encoded type stands where Arrow cannot decode and encode it, or a column is nested
            deeper than Arrow writes it; it names the column.
    """
    _check_nesting(schema)
    plain = _stored_schema(schema)
    if plain.equals(schema):
        return _without_stale_original(schema)
    _check_conversions(schema, plain)
    original = base64.b64encode(schema.remove_metadata().serialize().to_pybytes())
    return plain.with_metadata({**(schema.metadata or {}), ORIGINAL_SCHEMA_KEY: original})


def _check_nesting(schema: pa.Schema) -> None:
    for field in schema:
        depth, level = 0, [field.type]
        while level:  # no recursion, which would end in an error of its own
            depth += 1
            if depth > MAXIMUM_NESTING:
                raise TypeError(f"column {field.name} is nested more than {MAXIMUM_NESTING} levels deep")
            level = [child.type for kind in level for child in _children(kind)]


def original_schema(stored: pa.Schema) -> pa.Schema:
    """The schema that ``storage_schema`` was given, from what it returned.

    Raises:
        ValueError: the metadata's original schema cannot be read, or is none that would be stored like this.
    """
    metadata = dict(stored.metadata or {})
    encoded = metadata.pop(ORIGINAL_SCHEMA_KEY, None)
    if encoded is None:
        return stored
    original = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(encoded, validate=True)))
    if not _stored_schema(original).equals(stored):
        raise ValueError("the original schema in the metadata is not one of the columns that are stored")
    return original.with_metadata(metadata or None)


def stored_type(data_type: pa.DataType) -> pa.DataType:
    """``data_type`` with every dictionary-encoded type in it, however deep, replaced by its values' type."""
    if pa.types.is_dictionary(data_type):
        return stored_type(data_type.value_type)
    if isinstance(data_type, pa.BaseExtensionType):
        plain = stored_type(data_type.storage_type)
        return data_type if plain.equals(data_type.storage_type) else plain
    return _rebuilt(data_type, [field.with_type(stored_type(field.type)) for field in _children(data_type)])


def to_storage(batch: pa.RecordBatch, stored: pa.Schema) -> pa.RecordBatch:
    """``batch`` as it is stored under ``stored``; columns without dictionaries are not copied."""
    if not _has_dictionaries(batch.schema):
        return batch
    columns = [_decoded(column, field.type) for column, field in zip(batch.columns, stored, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=stored)


def from_storage(batch: pa.RecordBatch, original: pa.Schema) -> list[pa.RecordBatch]:
    """``batch`` with its dictionary-encoded columns again of the types in ``original``.

    One batch, unless its rows have more distinct values than the original index type can number: then several, in
    order. The order of the values within a dictionary is that of their first appearance.
    """
    try:
        columns = [_encoded(column, field.type) for column, field in zip(batch.columns, original, strict=True)]
    except pa.ArrowInvalid:
        if batch.num_rows < 2:
            raise
        half = batch.num_rows // 2
        return from_storage(batch.slice(0, half), original) + from_storage(batch.slice(half), original)
    return [pa.RecordBatch.from_arrays(columns, schema=original)]


def describe_difference(first: pa.Schema, second: pa.Schema) -> str | None:
    """What makes rows of one schema unfit for the other, in words; None where nothing does.

    Metadata does not count, but for the names of extension types: pandas writes row ranges there that differ from file
    to file.
    """
    if first.names != second.names:
        missing = [name for name in first.names if name not in second.names]
        added = [name for name in second.names if name not in first.names]
        if not missing and not added:
            return f"the columns are in the order {', '.join(second.names)}, not {', '.join(first.names)}"
        parts = [f"no column {', '.join(missing)}"] if missing else []
        return " and ".join(parts + ([f"a further column {', '.join(added)}"] if added else []))
    for ours, theirs in zip(first, second, strict=True):
        if not ours.type.equals(theirs.type):
            return f"column {ours.name} is {theirs.type}, not {ours.type}"
        if ours.nullable != theirs.nullable:
            words = {True: "nullable", False: "not nullable"}
            return f"column {ours.name} is {words[theirs.nullable]}, not {words[ours.nullable]}"
        for key in (b"ARROW:extension:name", b"ARROW:extension:metadata"):
            values = [(field.metadata or {}).get(key, b"none").decode(errors="replace") for field in (ours, theirs)]
            if values[0] != values[1]:
                return f"column {ours.name} has the extension type {values[1]}, not {values[0]}"
    return None


def _stored_schema(schema: pa.Schema) -> pa.Schema:
    fields = [field.with_type(stored_type(field.type)) for field in schema]
    return pa.schema(fields, metadata=schema.metadata)


def _without_stale_original(schema: pa.Schema) -> pa.Schema:
    try:
        original_schema(schema)
    except UNDECODABLE:
        others = {key: value for key, value in schema.metadata.items() if key != ORIGINAL_SCHEMA_KEY}
        return schema.with_metadata(others or None)
    return schema


def _has_dictionaries(schema: pa.Schema) -> bool:
    return any(not stored_type(field.type).equals(field.type) for field in schema)


def _check_conversions(schema: pa.Schema, plain: pa.Schema) -> None:
    for field, stored in zip(schema, plain, strict=True):
        try:
            _encoded(_decoded(pa.nulls(0, field.type), stored.type), field.type)
        except (pa.ArrowNotImplementedError, AttributeError) as error:
            raise TypeError(
                f"column {field.name}: {field.type} cannot be stored; decode its dictionaries first"
            ) from error


def _children(data_type: pa.DataType) -> list[pa.Field]:
    if pa.types.is_map(data_type):
        return [data_type.key_field, data_type.item_field]
    return [data_type.field(position) for position in range(data_type.num_fields)]


def _rebuilt(data_type: pa.DataType, children: list[pa.Field]) -> pa.DataType:
    """The nested type ``data_type`` with other children."""
    if all(new.equals(old) for new, old in zip(children, _children(data_type), strict=True)):
        return data_type
    if pa.types.is_struct(data_type):
        return pa.struct(children)
    if pa.types.is_map(data_type):
        return pa.map_(children[0], children[1], keys_sorted=data_type.keys_sorted)
    if pa.types.is_fixed_size_list(data_type):
        return pa.list_(children[0], data_type.list_size)
    constructors = {
        pa.types.is_list: pa.list_,
        pa.types.is_large_list: pa.large_list,
        pa.types.is_list_view: pa.list_view,
        pa.types.is_large_list_view: pa.large_list_view,
    }
    for is_kind, construct in constructors.items():
        if is_kind(data_type):
            return construct(children[0])
    raise TypeError(f"dictionary-encoded values inside {data_type} cannot be stored; decode them first")


def _decoded(array: pa.Array, stored: pa.DataType) -> pa.Array:
    """``array`` as one of the type ``stored``, that is ``stored_type(array.type)``."""
    if array.type.equals(stored):
        return array
    if isinstance(array.type, pa.BaseExtensionType):
        return _decoded(array.storage, stored)
    if not pa.types.is_dictionary(array.type):
        return _with_children(array, stored, _decoded)
    values = _decoded(array.dictionary, stored)
    if pa.types.is_string_view(stored) or pa.types.is_binary_view(stored):  # Arrow has no take for views
        offset_type = pa.large_string() if pa.types.is_string_view(stored) else pa.large_binary()
        return values.cast(offset_type).take(array.indices).cast(stored)
    return values.take(array.indices)


def _encoded(array: pa.Array, original: pa.DataType) -> pa.Array:
    """``array`` as one of the type ``original``, whose ``stored_type`` it has.

    Raises:
        pyarrow.ArrowInvalid: more distinct values than the type's index can number.
    """
    if array.type.equals(original):
        return array
    if isinstance(original, pa.BaseExtensionType):
        return original.wrap_array(_encoded(array, original.storage_type))
    if pa.types.is_dictionary(original):
        if pa.types.is_nested(original.value_type):  # Arrow cannot hash nested values: each is its own entry
            indices = pa.array(
                range(len(array)), original.index_type, mask=array.is_null().to_numpy(zero_copy_only=False)
            )
            values = array
        else:
            encoded = array.dictionary_encode()
            indices, values = encoded.indices.cast(original.index_type), encoded.dictionary
        values = _encoded(values, original.value_type)
        return pa.DictionaryArray.from_arrays(indices, values, ordered=original.ordered)
    return _with_children(array, original, _encoded)


def _with_children(
    array: pa.Array, data_type: pa.DataType, convert: Callable[[pa.Array, pa.DataType], pa.Array]
) -> pa.Array:
    """The nested ``array`` as one of ``data_type``, its children converted; Arrow's cast knows strings alone.

    Children of a slice are cut to it, since the values outside might be too many for an index type.
    """
    mask = array.is_null() if array.null_count else None
    if pa.types.is_struct(data_type):
        children = [convert(array.field(number), field.type) for number, field in enumerate(data_type)]
        return pa.StructArray.from_arrays(children, fields=list(data_type), mask=mask)
    if pa.types.is_list_view(data_type) or pa.types.is_large_list_view(data_type):
        own_buffers = array.buffers()[:3]  # validity, offsets, sizes: right for slices, unlike from_arrays
        values = convert(array.values, data_type.value_type)
        return pa.Array.from_buffers(data_type, len(array), own_buffers, array.null_count, array.offset, [values])
    if pa.types.is_fixed_size_list(data_type):
        size = data_type.list_size
        values = convert(array.values.slice(array.offset * size, len(array) * size), data_type.value_type)
        return pa.FixedSizeListArray.from_arrays(values, type=data_type, mask=mask)
    start, stop = array.offsets[0].as_py(), array.offsets[-1].as_py()
    offsets = pc.subtract(array.offsets, start)
    if pa.types.is_map(data_type):
        keys = convert(array.keys.slice(start, stop - start), data_type.key_type)
        items = convert(array.items.slice(start, stop - start), data_type.item_type)
        return pa.MapArray.from_arrays(offsets, keys, items, data_type, mask=mask)
    values = convert(array.values.slice(start, stop - start), data_type.value_type)
    return type(array).from_arrays(offsets, values, type=data_type, mask=mask)


def check_rows(rows: pa.RecordBatch | pa.Table) -> None:
    """Raise ValueError unless every value is valid: offsets within their buffers, text that is UTF-8."""
    try:
        rows.validate(full=True)
    except pa.ArrowInvalid as error:
        raise ValueError(f"the rows are not valid: {error}") from error
