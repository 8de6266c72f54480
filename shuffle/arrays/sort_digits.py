"""Arrow columns as digits: unsigned 64-bit numbers, most significant first, that sort as the values do.

A number is one digit, a long decimal two or four, a string one for every seven bytes, a null one more. Two values of
a column compare as their digits do, so that whoever places rows among bounds knows one type only. Which bounds there
are, and directions across columns, is not known here.
"""
# PURE

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shuffle.arrays.memory import (
    BinaryValues,
    Bools,
    binary_values,
    boolean_values,
    canonical_floats,
    fixed_width_values,
    is_variable_binary,
    plain,
    plain_type,
    validity,
)
from shuffle.arrays.murmur3 import Int64s, gather_words

UInt64s = npt.NDArray[np.uint64]
_types = pa.types

_SIGN = np.uint64(1 << 63)
_BYTES_PER_DIGIT = 7


@dataclass(frozen=True, slots=True)
class SortOrder:
    """How one column is sorted. NaN is the greatest number, and 0.0 and -0.0 are equal, as in Spark."""

    descending: bool = False
    nulls_first: bool = True


def is_sortable(kind: pa.DataType) -> bool:
    """Whether columns of this type have digits: all but nested types, unions and calendar intervals."""
    kind = compared_type(kind)
    return bool(
        _types.is_boolean(kind)
        or _types.is_integer(kind)
        or _types.is_floating(kind)
        or _types.is_decimal(kind)
        or is_variable_binary(kind)
        or _types.is_fixed_size_binary(kind)
        or _types.is_null(kind)
        or (_types.is_temporal(kind) and not _types.is_interval(kind))
    )


def compared_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values that are compared: a dictionary's entries, an extension type's storage."""
    kind = plain_type(kind)
    return plain_type(kind.value_type) if _types.is_dictionary(kind) else kind


def compared_array(array: pa.Array) -> pa.Array:
    """The array as its ``compared_type``."""
    array = plain(array)
    return plain(array.dictionary_decode()) if _types.is_dictionary(array.type) else array


class DigitColumn:
    """One column's digits under one order. Views the array's memory."""

    def __init__(self, array: pa.Array, order: SortOrder) -> None:
        self._array = compared_array(array)
        self._order = order
        self._valid = validity(self._array)
        self._binary: BinaryValues | None = None
        self._fixed: list[UInt64s] = []
        if is_variable_binary(self._array.type) or _types.is_fixed_size_binary(self._array.type):
            self._binary = binary_values(self._array)
        else:
            self._fixed = _fixed_digits(self._array)

    @property
    def has_nulls(self) -> bool:
        """Whether the null digit tells any value from another."""
        return self._valid is not None

    def digit_count(self) -> int:
        """How many digits, after the null digit, tell all values of this column apart, from each other and others."""
        if self._binary is None:
            return len(self._fixed)
        lengths = self._binary.lengths if self._valid is None else self._binary.lengths[self._valid]
        return int(lengths.max(initial=0)) // _BYTES_PER_DIGIT + 1

    def null_digit(self, rows: Int64s) -> UInt64s:
        """0 or 1: on which side of the values, or of the nulls, each row is."""
        valid = np.ones(len(rows), np.bool_) if self._valid is None else self._valid[rows]
        return (valid if self._order.nulls_first else ~valid).astype(np.uint64)

    def digit(self, step: int, rows: Int64s) -> UInt64s:
        """The rows' digits number ``step``, which may lie beyond a value's last; of null rows 0."""
        valid = None if self._valid is None else self._valid[rows]
        if self._binary is None:
            digits = self._fixed[step][rows]
        else:
            # What lies under a null may be out of bounds.
            lengths = self._binary.lengths[rows] if valid is None else np.where(valid, self._binary.lengths[rows], 0)
            digits = _binary_digits(self._binary, rows, lengths, step)
        return self._ordered(digits, valid)

    def all_digits(self) -> list[UInt64s]:
        """Every row's digits, null digit first, however long the values: comparable within this column only."""
        if self._binary is None:
            digits = self._fixed
        else:
            # Arrow compares whole byte strings.
            ranks = pc.rank(self._array.cast(pa.large_binary()), tiebreaker="dense")
            digits = [ranks.to_numpy().astype(np.uint64)]
        rows = np.arange(len(self._array))
        return [self.null_digit(rows), *(self._ordered(values, self._valid) for values in digits)]

    def _ordered(self, digits: UInt64s, valid: Bools | None) -> UInt64s:
        if self._order.descending:
            digits = ~digits
        return digits if valid is None else np.where(valid, digits, np.uint64(0))


def dense_ranks(columns: Sequence[DigitColumn]) -> Int64s:
    """The place of each row among the distinct rows, when sorted by the columns in turn: int64, from 0."""
    digits = [values for column in columns for values in column.all_digits()]
    order = np.lexsort(digits[::-1])
    is_new = np.zeros(len(order), np.bool_)
    for values in digits:
        is_new[1:] |= values[order[1:]] != values[order[:-1]]
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.cumsum(is_new)
    return ranks


def _fixed_digits(array: pa.Array) -> list[UInt64s]:
    kind = array.type
    if _types.is_null(kind):
        return []
    if _types.is_boolean(kind):
        return [boolean_values(array).astype(np.uint64)]
    if _types.is_floating(kind):
        return [_float_digits(canonical_floats(array, np.float64))]
    if _types.is_unsigned_integer(kind):
        return [fixed_width_values(array, kind.to_pandas_dtype()).astype(np.uint64)]
    if kind.bit_width <= 64:
        return [_signed_digits(fixed_width_values(array, np.dtype(f"i{kind.bit_width // 8}")))]
    words = fixed_width_values(array, np.uint64)
    lower = [words[:, position] for position in range(words.shape[1] - 2, -1, -1)]
    return [words[:, -1] ^ _SIGN, *lower]


def _signed_digits(values: npt.NDArray[Any]) -> UInt64s:
    digits: UInt64s = values.astype(np.int64).view(np.uint64)
    digits ^= _SIGN
    return digits


def _float_digits(values: npt.NDArray[np.float64]) -> UInt64s:
    digits = values.view(np.uint64)
    # IEEE 754 is sign and magnitude: negative numbers are turned round.
    negative = digits >= _SIGN
    return np.where(negative, ~digits, digits | _SIGN)


def _binary_digits(values: BinaryValues, rows: Int64s, lengths: Int64s, step: int) -> UInt64s:
    r"""The next seven bytes of each value as a big-endian number, then how many of them there are.

    The count tells "a" from "a\0", and makes the digits of a value that has ended sort before any that go on.
    """
    left = np.clip(lengths - step * _BYTES_PER_DIGIT, 0, _BYTES_PER_DIGIT)
    data = values.data if len(values.data) >= 8 else np.concatenate([values.data, np.zeros(8, np.uint8)])
    positions = np.where(left > 0, values.starts[rows] + step * _BYTES_PER_DIGIT, 0)
    digits = gather_words(data, positions).byteswap()
    missing_bits = (8 * (8 - left)).astype(np.uint64)
    digits >>= missing_bits
    digits <<= missing_bits
    digits |= left.astype(np.uint64)
    return digits
