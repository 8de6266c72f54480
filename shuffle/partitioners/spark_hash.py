"""Spark's ``hash``: which words of which Arrow type go into the running hash of a row, and in what order.

A column becomes a small tree of nodes over numpy views, built once a batch; each node folds any chosen rows into their
hashes without a Python loop over rows. The arithmetic is in murmur3, the memory layouts in arrow_memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuffle.arrays import murmur3
from shuffle.arrays.memory import (
    BinaryValues,
    Bools,
    binary_values,
    boolean_values,
    canonical_floats,
    fixed_width_values,
    is_variable_binary,
    list_places,
    plain,
    plain_type,
    validity,
)
from shuffle.arrays.murmur3 import Int64s, UInt32s

Rows = slice | Int64s
_types = pa.types

# The longest decimal that Spark keeps in a long; longer ones it hashes as the bytes of a BigInteger.
_LONGEST_LONG_DECIMAL = 18

# Spark's timestamps, times of day and intervals are a count of these.
_NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


class HashNode(Protocol):
    """A column, or a part of a nested one, ready to be hashed."""

    def fold(self, hashes: UInt32s, rows: Rows) -> None:
        """Fold the values of ``rows`` into ``hashes``, one hash a row, in place; a null leaves its hash as it is."""


def hash_node(array: pa.Array) -> HashNode:
    """The node of an Arrow array, whose memory it views. ValueError for a type that Spark's hash does not have."""
    array = plain(array)
    kind = array.type
    if _types.is_dictionary(kind):
        indices = fixed_width_values(array.indices, kind.index_type.to_pandas_dtype())
        return _nullable(array.indices, _Dictionary(indices, hash_node(array.dictionary)))
    if _types.is_struct(kind):
        children = [hash_node(array.field(position)) for position in range(kind.num_fields)]
        return _nullable(array, _Struct(children))
    if _is_list(kind) or _types.is_map(kind):
        elements, starts, lengths = list_places(array)
        return _nullable(array, _List(hash_node(elements), starts, lengths))
    return _nullable(array, _leaf(array))


def unsupported_type(kind: pa.DataType) -> pa.DataType | None:
    """The first type inside ``kind``, or itself, that Spark's hash does not have; None when there is none."""
    kind = plain_type(kind)
    if _types.is_dictionary(kind):
        return unsupported_type(kind.value_type)
    if _is_list(kind):
        inner = [kind.value_type]
    elif _types.is_map(kind):
        inner = [kind.key_type, kind.item_type]
    elif _types.is_struct(kind):
        inner = [field.type for field in kind]
    else:
        return None if _leaf_reader(kind) else kind
    return next((found for part in inner if (found := unsupported_type(part)) is not None), None)


def spark_type(kind: pa.DataType) -> str:
    """Spark's name of the type that values of an Arrow type are hashed as; types of one name hash equal values alike.

    Bytes, shorts and ints are one type, as are decimals of one scale that fit a long.
    """
    kind = plain_type(kind)
    if _types.is_dictionary(kind):
        return spark_type(kind.value_type)
    if _is_list(kind):
        return f"array<{spark_type(kind.value_type)}>"
    if _types.is_map(kind):
        return f"map<{spark_type(kind.key_type)},{spark_type(kind.item_type)}>"
    if _types.is_struct(kind):
        return f"struct<{','.join(spark_type(field.type) for field in kind)}>"
    if _types.is_decimal(kind):
        return f"decimal({_LONGEST_LONG_DECIMAL if kind.precision <= _LONGEST_LONG_DECIMAL else 38},{kind.scale})"
    return next((name for has_type, name in _SPARK_TYPES if has_type(kind)), str(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        _types.is_list(kind)
        or _types.is_large_list(kind)
        or _types.is_fixed_size_list(kind)
        or _types.is_list_view(kind)
        or _types.is_large_list_view(kind)
    )


def _nullable(array: pa.Array, node: HashNode) -> HashNode:
    valid = validity(array)
    return node if valid is None else _Nullable(node, valid)


# --- the nodes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Int32s:
    """Values that Spark holds in an int, or a smaller type that it widens to one."""

    values: npt.NDArray[Any]

    def fold(self, hashes: UInt32s, rows: Rows) -> None:
        murmur3.hash_int32(hashes, self.values[rows].astype(np.int32, copy=False))


@dataclass(frozen=True, slots=True)
class _Int64s:
    """Values that Spark holds in a long."""

    values: npt.NDArray[Any]

    def fold(self, hashes: UInt32s, rows: Rows) -> None:
        murmur3.hash_int64(hashes, self.values[rows].astype(np.int64, copy=False))


@dataclass(frozen=True, slots=True)
class _Binary:
    """Strings, byte strings and long decimals."""

    values: BinaryValues

    def fold(self, hashes: UInt32s, rows: Rows) -> None:
        murmur3.hash_bytes(hashes, self.values.data, self.values.starts[rows], self.values.lengths[rows])


@dataclass(frozen=True, slots=True)
class _Nothing:
    """A column of the null type."""

    def fold(self, hashes: UInt32s, rows: Rows) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Nullable:
    node: HashNode
    valid: Bools

    def fold(self, hashes: UInt32s, rows: Rows) -> None:
        # Rows of null are left out instead of hashed and dropped: what lies under them may be out of bounds.
        chosen = np.flatnonzero(self.valid[rows])
        folded = hashes[chosen]
        self.node.fold(folded, chosen + rows.start if isinstance(rows, slice) else rows[chosen])
        hashes[chosen] = folded


@dataclass(frozen=True, slots=True)
class _Dictionary:
    indices: npt.NDArray[Any]
    values: HashNode

    def fold(self, hashes: UInt32s, rows: Rows) -> None:
        self.values.fold(hashes, self.indices[rows].astype(np.int64, copy=False))


@dataclass(frozen=True, slots=True)
class _Struct:
    children: list[HashNode]

    def fold(self, hashes: UInt32s, rows: Rows) -> None:
        for child in self.children:
            child.fold(hashes, rows)


@dataclass(frozen=True, slots=True)
class _List:
    """Lists, and maps as lists of key and value in the order they are stored: element k of all rows, then k + 1."""

    elements: HashNode
    starts: Int64s
    lengths: Int64s

    def fold(self, hashes: UInt32s, rows: Rows) -> None:
        lengths = self.lengths[rows]
        # In order of length, so that the rows that have an element k are contiguous.
        order = np.argsort(lengths, kind="stable")
        starts, lengths = self.starts[rows][order], lengths[order]
        folded = hashes[order]
        for step in range(int(lengths.max(initial=0))):
            first = int(np.searchsorted(lengths, step, side="right"))
            self.elements.fold(folded[first:], starts[first:] + step)
        hashes[order] = folded


# --- what each type's leaf is -------------------------------------------------------------------------------------


def _leaf(array: pa.Array) -> HashNode:
    reader = _leaf_reader(array.type)
    if reader is None:
        raise ValueError(f"Spark's hash has no type for {array.type}")
    return reader(array)


def _leaf_reader(kind: pa.DataType) -> Callable[[pa.Array], HashNode] | None:
    if is_variable_binary(kind) or _types.is_fixed_size_binary(kind):
        return _binary
    if _types.is_decimal(kind):
        return _short_decimals if kind.precision <= _LONGEST_LONG_DECIMAL else _long_decimals
    for has_type, reader in _LEAF_READERS:
        if has_type(kind):
            return reader
    return None


def _booleans(array: pa.Array) -> HashNode:
    return _Int32s(boolean_values(array))


def _small_integers(array: pa.Array) -> HashNode:
    return _Int32s(fixed_width_values(array, array.type.to_pandas_dtype()))


def _large_integers(array: pa.Array) -> HashNode:
    return _Int64s(fixed_width_values(array, array.type.to_pandas_dtype()))


def _uint64s(array: pa.Array) -> HashNode:
    # Spark reads Parquet's UINT_64 as decimal(20, 0).
    padded = np.zeros((len(array), 2), ">u8")
    padded[:, 1] = fixed_width_values(array, np.uint64)
    return _Binary(_shortest_integers(padded.view(np.uint8)))


def _small_floats(array: pa.Array) -> HashNode:
    return _Int32s(canonical_floats(array, np.float32).view(np.int32))


def _doubles(array: pa.Array) -> HashNode:
    return _Int64s(canonical_floats(array, np.float64).view(np.int64))


def _short_decimals(array: pa.Array) -> HashNode:
    if array.type.bit_width == 32:
        return _Int64s(fixed_width_values(array, np.int32))
    words = fixed_width_values(array, np.int64)
    return _Int64s(words if words.ndim == 1 else words[:, 0])


def _long_decimals(array: pa.Array) -> HashNode:
    little_endian = fixed_width_values(array, np.uint8)
    return _Binary(_shortest_integers(np.ascontiguousarray(little_endian[:, ::-1])))


def _shortest_integers(big_endian: npt.NDArray[np.uint8]) -> BinaryValues:
    """Two's complement integers, one a row, without needless leading bytes, as Java's BigInteger.toByteArray."""
    count, width = big_endian.shape
    sign = (big_endian[:, :1] >> 7) * np.uint8(0xFF)
    magnitude = big_endian ^ sign
    magnitude[:, -1] |= 1  # zero has a byte, too
    first = (magnitude != 0).argmax(axis=1)
    # A leading byte of the other sign's needs one more before it, to say which it is.
    lengths = width - first + (magnitude[np.arange(count), first] >> 7)
    return BinaryValues(big_endian.reshape(-1), np.arange(1, count + 1) * width - lengths, lengths)


def _binary(array: pa.Array) -> HashNode:
    return _Binary(binary_values(array))


def _date64s(array: pa.Array) -> HashNode:
    return _Int32s(fixed_width_values(array, np.int64) // 86_400_000)


def _microseconds(array: pa.Array) -> HashNode:
    # As Spark takes them from Arrow: nanoseconds are rounded down, also before 1970. A product beyond 64 bits wraps.
    return _Int64s(_rescaled(fixed_width_values(array, np.int64), array.type.unit, "us"))


def _nanoseconds(array: pa.Array) -> HashNode:
    dtype = np.int32 if _types.is_time32(array.type) else np.int64
    return _Int64s(_rescaled(fixed_width_values(array, dtype).astype(np.int64), array.type.unit, "ns"))


def _rescaled(values: Int64s, unit: str, target_unit: str) -> Int64s:
    have, want = _NANOSECONDS[unit], _NANOSECONDS[target_unit]
    if have == want:
        return values
    return values * np.int64(have // want) if have > want else values // np.int64(want // have)


def _int32_like(array: pa.Array) -> HashNode:
    return _Int32s(fixed_width_values(array, np.int32))


def _nothing(array: pa.Array) -> HashNode:  # noqa: ARG001
    return _Nothing()


def _is_small_integer(kind: pa.DataType) -> bool:
    return bool(_types.is_integer(kind) and kind.bit_width <= 32 and not _types.is_uint32(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(_types.is_string(kind) or _types.is_large_string(kind) or _types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(is_variable_binary(kind) or _types.is_fixed_size_binary(kind))


_LEAF_READERS: list[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], HashNode]]] = [
    (_types.is_boolean, _booleans),
    # Spark has no unsigned types: these are what it reads them as from Parquet. uint8 is a short, uint16 an int, both
    # hashed as ints; uint32 is a long.
    (_is_small_integer, _small_integers),
    (_types.is_uint64, _uint64s),
    (_types.is_integer, _large_integers),
    (_types.is_float64, _doubles),
    # Spark has no half floats: as the floats that they fit in.
    (_types.is_floating, _small_floats),
    (_types.is_date32, _int32_like),
    (_types.is_date64, _date64s),
    (_types.is_timestamp, _microseconds),
    (_types.is_duration, _microseconds),
    (_types.is_time, _nanoseconds),
    (_types.is_null, _nothing),
]

_SPARK_TYPES: list[tuple[Callable[[pa.DataType], bool], str]] = [
    (_types.is_boolean, "boolean"),
    (_is_small_integer, "int"),
    (_types.is_uint64, "decimal(38,0)"),
    (_types.is_integer, "bigint"),
    (_types.is_float64, "double"),
    (_types.is_floating, "float"),
    (_types.is_date, "date"),
    (_types.is_timestamp, "timestamp"),
    (_types.is_duration, "interval"),
    (_types.is_time, "time"),
    (_types.is_null, "void"),
    (_is_text, "string"),
    (_is_bytes, "binary"),
]
