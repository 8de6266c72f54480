"""Columns that have no others in them, as the buffers that they lie in: values of one width, bits, or texts. Pure.

A dictionary-encoded column is one of the values in its dictionary, taken at its codes: that is how it becomes plain
while its rows are put into their order, and not before.
"""
# PURE

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_types = pa.types


@dataclass(frozen=True, slots=True)
class FlatLayout:
    """How the values of a type lie in memory, besides the bits that tell nulls.

    Attributes:
        width: bytes of a value, or of an offset where values are texts; 0 for bits.
        is_text: whether there are offsets, and a buffer of bytes.
    """

    width: int
    is_text: bool = False

    @property
    def buffer_count(self) -> int:
        """Buffers of a column, that of nulls included."""
        return 3 if self.is_text else 2


class FlatColumn(NamedTuple):
    """A column of a batch.

    Attributes:
        values: values, bits or offsets.
        first: which of the bits is the first value; of values and offsets it is the first one.
        texts: the bytes of texts.
        codes: where in them the value of each row is, unsigned; None: at the row's own number.
        valid: ``bool[rows]``, or None where there are no nulls.
    """

    values: Any
    first: int
    texts: Any
    codes: npt.NDArray[Any] | None
    valid: npt.NDArray[np.bool_] | None


def flat_layout(kind: pa.DataType) -> FlatLayout | None:  # noqa: PLR0911 (a table of types)
    """How values of a type lie in memory; None for types of other shapes, as nested ones, views and run ends."""
    if isinstance(kind, pa.BaseExtensionType):
        return flat_layout(kind.storage_type)
    if _types.is_boolean(kind):
        return FlatLayout(0)
    if _types.is_string(kind) or _types.is_binary(kind):
        return FlatLayout(4, is_text=True)
    if _types.is_large_string(kind) or _types.is_large_binary(kind):
        return FlatLayout(8, is_text=True)
    if _types.is_dictionary(kind) or _types.is_nested(kind) or _types.is_null(kind):
        return None
    try:
        width = kind.bit_width // 8
    except ValueError:  # no type of fixed width
        return None
    return FlatLayout(width) if width else None


def flat_column(array: pa.Array, kind: pa.DataType, layout: FlatLayout) -> FlatColumn:
    """The buffers, borrowed, of an array: of ``kind``, which has this layout, or of another form of its values."""
    if isinstance(array.type, pa.BaseExtensionType):
        return flat_column(array.storage, kind, layout)
    if not _types.is_dictionary(array.type):
        array = array.cast(kind) if is_view(array.type) else array
        return _plain(array, layout, None, _valid(array))
    values, indices = array.dictionary, array.indices
    width = indices.type.bit_width // 8
    codes = np.frombuffer(indices.buffers()[1] or b"", f"u{width}")[indices.offset : indices.offset + len(indices)]
    valid = _valid(indices)
    if (valid_values := _valid(values)) is not None:
        if valid is not None:
            codes = np.where(valid, codes, codes.dtype.type(0))  # what lies under a null is anything
        valid = valid_values[codes] if valid is None else valid & valid_values[codes]
    return _plain(values, layout, codes, valid)


def is_view(kind: pa.DataType) -> bool:
    """Whether values are views of texts."""
    return bool(_types.is_string_view(kind) or _types.is_binary_view(kind))


def _plain(
    array: pa.Array, layout: FlatLayout, codes: npt.NDArray[Any] | None, valid: npt.NDArray[np.bool_] | None
) -> FlatColumn:
    array = array.storage if isinstance(array.type, pa.BaseExtensionType) else array
    buffers = [buffer or b"" for buffer in array.buffers()]
    if not layout.width:
        return FlatColumn(buffers[1], array.offset, b"", codes, valid)
    if layout.is_text and not len(array):
        return FlatColumn(bytes(layout.width), 0, b"", codes, valid)  # Arrow may leave out the only offset
    start, stop = array.offset, array.offset + len(array) + layout.is_text
    values = memoryview(buffers[1])[start * layout.width : stop * layout.width]
    return FlatColumn(values, 0, buffers[2] if layout.is_text else b"", codes, valid)


def _valid(array: pa.Array) -> npt.NDArray[np.bool_] | None:
    """Whether each value is one; None where all are."""
    if not array.null_count:
        return None
    bits = np.frombuffer(array.buffers()[0], np.uint8)
    stop = array.offset + len(array)
    return np.unpackbits(bits[: -(-stop // 8)], bitorder="little", count=stop)[array.offset :].view(np.bool_)
