"""Arrow arrays as numpy views of their memory: values, validity, the places of strings.

Slices, missing buffers and the many layouts of one meaning (string, large_string, string_view, …) end here. Views are
read-only and hold on to the array's memory; what lies under a null is garbage.
"""
# PURE

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shuffle.arrays.murmur3 import Bytes, Int64s

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BinaryValues:
    """Byte strings: value i is ``data[starts[i] : starts[i] + lengths[i]]``; ``starts`` and ``lengths`` are int64."""

    data: Bytes
    starts: Int64s
    lengths: Int64s


def plain(array: pa.Array) -> pa.Array:
    """The same values without the wrapping that this module does not read: extension types, string views, run ends.

    Nested values are left as they are: their children are wrapped on their own.
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return plain(array.storage)
    if pa.types.is_run_end_encoded(kind):
        return plain(pc.run_end_decode(array))
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return array.cast(plain_type(kind))
    return array


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that ``plain`` gives."""
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    return kind


def is_variable_binary(kind: pa.DataType) -> bool:
    """Whether values are offsets into bytes: string, binary and their large kinds."""
    types = pa.types
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    )


def validity(array: pa.Array) -> Bools | None:
    """Which values are not null, or None when all are not."""
    if not array.null_count:
        return None
    if pa.types.is_null(array.type):
        return np.zeros(len(array), np.bool_)
    return _bits(array.buffers()[0], array.offset, len(array))


def boolean_values(array: pa.Array) -> Bools:
    """A boolean array's values."""
    return _bits(array.buffers()[1], array.offset, len(array))


def fixed_width_values(array: pa.Array, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array of fixed-width values as ``dtype``, of the same width or one that divides it.

    Shape ``(len(array),)``, or ``(len(array), n)`` where n items of the dtype make one value.
    """
    item = np.dtype(dtype)
    items_per_value = array.type.bit_width // (8 * item.itemsize)
    buffer = array.buffers()[1]
    if not len(array) or buffer is None:
        items = np.zeros(len(array) * items_per_value, item)
    else:
        offset = array.offset * items_per_value * item.itemsize
        items = np.frombuffer(buffer, item, len(array) * items_per_value, offset)
    return items if items_per_value == 1 else items.reshape(len(array), items_per_value)


def canonical_floats(array: pa.Array, dtype: type[np.float32 | np.float64]) -> npt.NDArray[Any]:
    """A copy of a floating point array's values, in which every NaN has Java's bits and -0.0 is 0.0."""
    with np.errstate(invalid="ignore"):  # what a signalling NaN is for
        values: npt.NDArray[np.float32 | np.float64] = fixed_width_values(array, array.type.to_pandas_dtype()).astype(
            dtype
        )
    values[np.isnan(values)] = np.nan
    values += dtype(0)
    return values


def binary_values(array: pa.Array) -> BinaryValues:
    """The places of the values of a string or binary array, fixed-size ones included."""
    if pa.types.is_fixed_size_binary(array.type):
        width = array.type.byte_width
        starts = np.arange(array.offset, array.offset + len(array)) * width
        return BinaryValues(_bytes(array.buffers()[1]), starts, np.full(len(array), width, np.int64))
    is_large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    offsets = _offsets(array, is_large=is_large)
    return BinaryValues(_bytes(array.buffers()[2]), offsets[:-1], np.diff(offsets))


def list_places(array: pa.Array) -> tuple[pa.Array, Int64s, Int64s]:
    """The elements of a list or map array, with each row's first element and number of elements.

    The elements of a map are structs of key and value.
    """
    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        starts = np.arange(array.offset, array.offset + len(array)) * kind.list_size
        return array.values, starts, np.full(len(array), kind.list_size, np.int64)
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        # Casting a slice of these to a list loses its elements (pyarrow 26).
        dtype = np.int64 if pa.types.is_large_list_view(kind) else np.int32
        starts, lengths = (_integers(buffer, array.offset, len(array), dtype) for buffer in array.buffers()[1:3])
        return array.values, starts, lengths
    offsets = _offsets(array, is_large=pa.types.is_large_list(kind))
    return array.values, offsets[:-1], np.diff(offsets)


def _offsets(array: pa.Array, *, is_large: bool) -> Int64s:
    return _integers(array.buffers()[1], array.offset, len(array) + 1, np.int64 if is_large else np.int32)


def _integers(buffer: pa.Buffer | None, offset: int, count: int, dtype: type[np.int32 | np.int64]) -> Int64s:
    # Arrow allows the offsets of an empty array to be missing.
    if buffer is None or not buffer.size:
        return np.zeros(count, np.int64)
    return np.frombuffer(buffer, dtype, count, offset * np.dtype(dtype).itemsize).astype(np.int64)


def _bytes(buffer: pa.Buffer | None) -> Bytes:
    return np.zeros(0, np.uint8) if buffer is None or not buffer.size else np.frombuffer(buffer, np.uint8)


def _bits(buffer: pa.Buffer | None, offset: int, length: int) -> Bools:
    if buffer is None or not length:
        return np.zeros(length, np.bool_)
    first_byte, first_bit = divmod(offset, 8)
    packed = np.frombuffer(buffer, np.uint8, (first_bit + length + 7) // 8, first_byte)
    bits = np.unpackbits(packed, count=first_bit + length, bitorder="little")
    return bits[first_bit:].view(np.bool_)
