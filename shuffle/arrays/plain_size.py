"""What rows take in memory once no value stands for others: dictionaries, run ends and views decoded. Pure.

A batch of a few KiB can decode to GiB: whoever decodes looks here first, and takes fewer rows at once.
"""
# PURE

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shuffle.arrays.memory import is_variable_binary

_types = pa.types
_OFFSET_BYTES = 8  # of a string or list that was a view; others have four


def in_pieces(rows: pa.RecordBatch, most_bytes: int) -> Iterator[pa.RecordBatch]:
    """Slices of the rows, in order, each, down to a single row, of at most so many bytes once it is decoded."""
    pieces = [rows]
    while pieces:
        piece = pieces.pop()
        if piece.num_rows < 2 or (byte_count := plain_bytes(piece, most_bytes)) <= most_bytes:
            yield piece
        else:
            step = -(-piece.num_rows // -(-byte_count // most_bytes))  # equal ones
            pieces += [piece.slice(begin, step) for begin in reversed(range(0, piece.num_rows, step))]


def plain_bytes(rows: pa.RecordBatch, enough_bytes: int = 0) -> int:
    """Bytes of the rows once they are decoded; of nested values in dictionaries and run ends, on average.

    An upper bound, which is told faster, where that is no more than ``enough_bytes``.
    """
    if not any(_is_shared(field.type) for field in rows.schema):
        return int(rows.nbytes)
    most = sum(_most_bytes_of(column) for column in rows.columns) if enough_bytes else 1
    return most if most <= enough_bytes else sum(_bytes_of(column) for column in rows.columns)


def _is_shared(kind: pa.DataType) -> bool:
    """Whether values of this type, or in it, may stand for several, or lie in memory of other rows."""
    if isinstance(kind, pa.BaseExtensionType):
        return _is_shared(kind.storage_type)
    if _types.is_dictionary(kind) or _types.is_run_end_encoded(kind) or _is_view(kind):
        return True
    return any(_is_shared(kind.field(position).type) for position in range(kind.num_fields))


def _is_view(kind: pa.DataType) -> bool:
    return bool(
        _types.is_string_view(kind)
        or _types.is_binary_view(kind)
        or _types.is_list_view(kind)
        or _types.is_large_list_view(kind)
    )


def _most_bytes_of(column: pa.Array) -> int:
    """No less than ``_bytes_of``: each value is as long as the longest."""
    if _types.is_dictionary(column.type):
        return len(column) * int(pc.max(_sizes(column.dictionary)).as_py() or 0)
    if _types.is_string_view(column.type) or _types.is_binary_view(column.type):
        return len(column) * (int(_view_lengths(column).max(initial=0)) + _OFFSET_BYTES)
    return _bytes_of(column)


def _bytes_of(array: pa.Array) -> int:  # noqa: PLR0911 (a table of types)
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _bytes_of(array.storage)
    if not _is_shared(kind):
        return int(array.nbytes)
    if _types.is_dictionary(kind):
        return _sum(pc.take(_sizes(array.dictionary), array.indices))
    if _types.is_run_end_encoded(kind):
        children = [array.run_ends, _sizes(array.values)]
        sizes_type = pa.run_end_encoded(kind.run_end_type, pa.int64())
        sizes = pa.RunEndEncodedArray.from_buffers(sizes_type, len(array), [None], 0, array.offset, children)
        return _sum(pc.run_end_decode(sizes))
    if _types.is_string_view(kind) or _types.is_binary_view(kind):
        return _sum(_sizes(array))
    if _types.is_struct(kind):
        return sum(map(_bytes_of, array.flatten()))
    if _types.is_union(kind):
        return sum(_bytes_of(array.field(position)) for position in range(kind.num_fields))
    if _types.is_map(kind):  # which Arrow does not flatten
        places = array.offsets
        start, stop = places[0].as_py(), places[-1].as_py()
        children = [child.slice(start, stop - start) for child in (array.keys, array.items)]
        return sum(map(_bytes_of, children)) + _OFFSET_BYTES * len(array)
    return _bytes_of(array.flatten()) + _OFFSET_BYTES * len(array)


def _sizes(values: pa.Array) -> pa.Array:
    """Bytes of each value, int64; null where it is null, perhaps."""
    kind = values.type
    if _types.is_string_view(kind) or _types.is_binary_view(kind):  # binary_length does not know them
        lengths = _view_lengths(values).astype(np.int64)
        if values.null_count:
            lengths[~values.is_valid().to_numpy(zero_copy_only=False)] = 0
        return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(lengths + _OFFSET_BYTES)])
    if is_variable_binary(kind):
        return pc.add(pc.binary_length(values).cast(pa.int64()), _OFFSET_BYTES)
    return pa.repeat(pa.scalar(-(-_bytes_of(values) // max(len(values), 1)), pa.int64()), len(values))


def _view_lengths(values: pa.Array) -> npt.NDArray[np.int32]:
    """Of views, which are 16 bytes each, of which the first four are the length; of null anything."""
    views = np.frombuffer(values.buffers()[1] or b"", np.int32).reshape(-1, 4)
    return views[values.offset : values.offset + len(values), 0]


def _sum(sizes: pa.Array) -> int:
    return int(pc.sum(sizes).as_py() or 0)
