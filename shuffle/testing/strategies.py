"""Hypothesis strategies for what partitioned files are made of: schemas, rows of them, layouts, whole files' contents.

The only module of the package that imports hypothesis.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Sequence
from functools import lru_cache

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa

from shuffle.testing.rows import to_batches
from spill_format import PartitionLayout
from spill_format.checksum import crc32c
from spill_format.encoder import COMPRESSIONS

_FLAT_TYPES: tuple[pa.DataType, ...] = (
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float32(), pa.float64(), pa.bool_(), pa.decimal128(10, 2)),
    *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.binary_view(), pa.binary(3)),
    *(pa.date32(), pa.time64("us"), pa.timestamp("ms"), pa.timestamp("us", "UTC"), pa.duration("s")),
    *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.int64())),
)
_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_YEAR_2200 = 7_258_118_400  # seconds since 1970; in nanoseconds it still fits, and Python's datetime holds it
# Of one to four bytes each. All of Unicode would tell no more, and building its tables takes hypothesis seconds.
_ALPHABET = "\0\n aZß漢\U0001f600"

compressions: st.SearchStrategy[str | None] = st.sampled_from(COMPRESSIONS)
"""Of record batches' bodies: none, lz4, zstd."""

alignments: st.SearchStrategy[int] = st.sampled_from([1 << exponent for exponent in range(3, 17)])
"""Bytes: all that the format allows, 8 to 65536."""


def data_types(*, nested: bool = True) -> st.SearchStrategy[pa.DataType]:
    """Types of columns; ``nested``: lists of every kind, structs and maps, too."""
    flat = st.sampled_from(_FLAT_TYPES)
    return st.recursive(flat, _nested, max_leaves=3) if nested else flat


def _nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    constructors: list[Callable[[pa.DataType], pa.DataType]] = [
        pa.list_,
        pa.large_list,
        pa.list_view,
        lambda data_type: pa.list_(data_type, 2),
        lambda data_type: pa.struct([("x", data_type)]),
        lambda data_type: pa.map_(pa.int8(), data_type),
    ]
    return st.builds(lambda construct, data_type: construct(data_type), st.sampled_from(constructors), inner)


def schemas(*, max_columns: int = 3, nested: bool = True) -> st.SearchStrategy[pa.Schema]:
    """Schemas of one to ``max_columns`` columns, ``c0``, ``c1`` and so on."""
    types = st.lists(data_types(nested=nested), min_size=1, max_size=max_columns)
    return types.map(lambda drawn: pa.schema([(f"c{number}", data_type) for number, data_type in enumerate(drawn)]))


@lru_cache(maxsize=1024)  # hypothesis checks each new strategy, at more cost than drawing from it
def values(data_type: pa.DataType, *, allow_nan: bool = True) -> st.SearchStrategy[object]:
    """Python values that Arrow takes for ``data_type``, null among them.

    Raises:
        ValueError: unions, intervals and run-end encoded types have no values here.
    """
    if pa.types.is_dictionary(data_type):
        # Few different ones: no index type is too small for them.
        few: st.SearchStrategy[object] = st.shared(
            st.lists(_present(data_type.value_type, allow_nan), min_size=1, max_size=4), key=f"entries of {data_type}"
        ).flatmap(st.sampled_from)
        return st.none() | few
    if pa.types.is_null(data_type):
        return st.none()
    return st.none() | _present(data_type, allow_nan)


def _present(data_type: pa.DataType, allow_nan: bool) -> st.SearchStrategy[object]:
    """Values of a type that are not null; of a nested one, null may be inside."""
    for of_kind in (_numbers, _texts, _times, _nested_values):
        found = of_kind(data_type, allow_nan)
        if found is not None:
            return found
    if isinstance(data_type, pa.BaseExtensionType):
        return _present(data_type.storage_type, allow_nan)
    raise ValueError(f"there is no strategy for values of {data_type}")


def _numbers(data_type: pa.DataType, allow_nan: bool) -> st.SearchStrategy[object] | None:
    kinds = pa.types
    if kinds.is_boolean(data_type):
        return st.booleans()
    if kinds.is_unsigned_integer(data_type):
        return st.integers(0, 2**data_type.bit_width - 1)
    if kinds.is_integer(data_type):
        return st.integers(-(2 ** (data_type.bit_width - 1)), 2 ** (data_type.bit_width - 1) - 1)
    if kinds.is_floating(data_type):
        return st.floats(width=data_type.bit_width, allow_nan=allow_nan)
    if kinds.is_decimal(data_type):
        # With a negative scale Arrow multiplies before it divides, and would overflow.
        largest = 10 ** (data_type.precision + min(data_type.scale, 0)) - 1
        # By its digits, since arithmetic would round to 28 of them.
        return st.integers(-largest, largest).map(lambda number: _decimal(number, data_type.scale))
    return None


def _decimal(number: int, scale: int) -> decimal.Decimal:
    return decimal.Decimal((int(number < 0), tuple(map(int, str(abs(number)))), -scale))


def _texts(data_type: pa.DataType, _allow_nan: bool) -> st.SearchStrategy[object] | None:
    kinds = pa.types
    if kinds.is_string(data_type) or kinds.is_large_string(data_type) or kinds.is_string_view(data_type):
        return st.text(_ALPHABET, max_size=20)  # views hold 12 bytes themselves
    if kinds.is_fixed_size_binary(data_type):
        return st.binary(min_size=data_type.byte_width, max_size=data_type.byte_width)
    if kinds.is_binary(data_type) or kinds.is_large_binary(data_type) or kinds.is_binary_view(data_type):
        return st.binary(max_size=20)
    return None


def _times(data_type: pa.DataType, _allow_nan: bool) -> st.SearchStrategy[object] | None:
    kinds = pa.types
    if kinds.is_date32(data_type):
        return st.dates()
    if kinds.is_date64(data_type):
        return st.integers(-36_500, 84_000).map(lambda days: days * _DAY["ms"])
    if kinds.is_time(data_type):
        return st.integers(0, _DAY[data_type.unit] - 1)
    if kinds.is_timestamp(data_type) or kinds.is_duration(data_type):
        return st.integers(0, _YEAR_2200 * _DAY[data_type.unit] // _DAY["s"])
    return None


def _nested_values(data_type: pa.DataType, allow_nan: bool) -> st.SearchStrategy[object] | None:
    kinds = pa.types
    if kinds.is_struct(data_type):
        return st.fixed_dictionaries({field.name: values(field.type, allow_nan=allow_nan) for field in data_type})
    if kinds.is_map(data_type):
        keys, items = _present(data_type.key_type, allow_nan), values(data_type.item_type, allow_nan=allow_nan)
        return st.lists(st.tuples(keys, items), max_size=3)
    if kinds.is_fixed_size_list(data_type):
        size = data_type.list_size
        return st.lists(values(data_type.value_type, allow_nan=allow_nan), min_size=size, max_size=size)
    lists = (kinds.is_list, kinds.is_large_list, kinds.is_list_view, kinds.is_large_list_view)
    if any(is_kind(data_type) for is_kind in lists):
        return st.lists(values(data_type.value_type, allow_nan=allow_nan), max_size=3)
    return None


@st.composite
def record_batches(
    draw: st.DrawFn, schema: pa.Schema, *, min_rows: int = 0, max_rows: int = 4, allow_nan: bool = True
) -> pa.RecordBatch:
    """Record batches of a schema."""
    row_count = draw(st.integers(min_rows, max_rows))
    columns = {
        field.name: draw(
            st.lists(values(field.type, allow_nan=allow_nan), min_size=row_count, max_size=row_count), label=field.name
        )
        for field in schema
    }
    _, batches = to_batches({0: columns}, schema)
    return (
        batches[0][0]
        if batches[0]
        else pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in schema], schema=schema)
    )


@st.composite
def tables(
    draw: st.DrawFn, schema: pa.Schema | None = None, *, max_batches: int = 3, max_rows: int = 4, allow_nan: bool = True
) -> pa.Table:
    """Tables of a schema, or of any, in up to ``max_batches`` batches of up to ``max_rows`` rows."""
    schema = draw(schemas()) if schema is None else schema
    batches = record_batches(schema, max_rows=max_rows, allow_nan=allow_nan)
    return pa.Table.from_batches(draw(st.lists(batches, max_size=max_batches)), schema)


@st.composite
def partitions(
    draw: st.DrawFn,
    schema: pa.Schema | None = None,
    *,
    max_partitions: int = 6,
    max_batches: int = 3,
    max_rows: int = 4,
    allow_nan: bool = True,
) -> dict[int, pa.Table]:
    """The rows of every partition of a file, as ``write_spill`` takes them; some of them empty."""
    schema = draw(schemas()) if schema is None else schema
    one = tables(schema, max_batches=max_batches, max_rows=max_rows, allow_nan=allow_nan)
    return dict(enumerate(draw(st.lists(one, min_size=1, max_size=max_partitions))))


def range_lengths(
    lengths: Sequence[int] = (0, 0, 1, 7, 64, 4096, 5000), *, max_partitions: int = 5, max_sources: int = 5
) -> st.SearchStrategy[list[list[int]]]:
    """Bytes of each partition's range in each of several files of one partition count: a list of rows."""
    return st.integers(1, max_partitions).flatmap(
        lambda partition_count: st.lists(
            st.lists(st.sampled_from(lengths), min_size=partition_count, max_size=partition_count),
            min_size=1,
            max_size=max_sources,
        )
    )


@st.composite
def layouts(draw: st.DrawFn, *, max_partitions: int = 8, max_range_bytes: int = 1 << 20) -> PartitionLayout:
    """Layouts with offsets, rows and checksums that obey the laws of ``PartitionLayout``."""
    lengths = draw(st.lists(st.just(0) | st.integers(1, max_range_bytes), min_size=1, max_size=max_partitions))
    offsets = np.cumsum([draw(st.integers(0, 4096), label="first offset"), *lengths], dtype=np.int64)
    rows = [draw(st.integers(1, length)) if length else 0 for length in lengths]
    checksums = [draw(st.integers(0, 2**32 - 1)) if length else crc32c(b"") for length in lengths]
    return PartitionLayout(offsets, np.array(rows, dtype=np.int64), np.array(checksums, dtype=np.uint32))
