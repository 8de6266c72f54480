"""HashPartitioner: Spark's hashes, whatever memory an Arrow array has its values in."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuffle.partitioners import HashPartitioner


def batch_of(**columns: pa.Array) -> pa.RecordBatch:
    return pa.record_batch(columns)


def hashes_of(array: pa.Array) -> list[int]:
    hashes: list[int] = HashPartitioner("key", 1).hashes(batch_of(key=array)).tolist()
    return hashes


# SELECT hash(1000000000L)
SECOND_AS_NANOSECONDS = 906109959

# What Spark 4.3 answers to `SELECT hash(…)`.
SPARKS_HASHES: list[tuple[Any, pa.DataType, int]] = [
    (None, pa.int32(), 42),
    (None, pa.null(), 42),
    (None, pa.string(), 42),
    (True, pa.bool_(), -559580957),
    (False, pa.bool_(), 933211791),
    (-128, pa.int8(), 1110053733),
    (1, pa.int16(), -559580957),
    (0, pa.int32(), 933211791),
    (-1, pa.int32(), -1604776387),
    (2**31 - 1, pa.int32(), 133916647),
    (0, pa.int64(), -1670924195),
    (1, pa.int64(), -1712319331),
    (-(2**63), pa.int64(), -853646085),
    (-0.0, pa.float32(), 933211791),
    (float("nan"), pa.float32(), -349261430),
    (1.5, pa.float32(), -221251528),
    (-0.0, pa.float64(), -1670924195),
    (float("nan"), pa.float64(), -1281358385),
    (1.5, pa.float64(), 1290763749),
    (Decimal("-1.27"), pa.decimal128(5, 2), 264262399),
    (Decimal("-1.27"), pa.decimal32(5, 2), 264262399),
    (Decimal("-1.27"), pa.decimal64(5, 2), 264262399),
    (Decimal("-1.27"), pa.decimal256(5, 2), 264262399),
    (Decimal(0), pa.decimal128(38, 0), -783713497),
    (Decimal(-128), pa.decimal128(38, 0), 775851899),
    (Decimal(128), pa.decimal128(38, 0), -544401882),
    (Decimal(12345678901234567890123456789), pa.decimal128(38, 0), -1130599762),
    (Decimal(12345678901234567890123456789), pa.decimal256(38, 0), -1130599762),
    ("", pa.string(), 142593372),
    ("a", pa.string(), 1485273170),
    ("abc", pa.large_string(), 1322437556),
    ("abcd", pa.string_view(), -396302900),
    ("abcdefg", pa.string(), 2132013596),
    ("漢字", pa.string(), 174112765),
    (b"Spark", pa.binary(), 228093765),
    (b"\xff\x80", pa.large_binary(), -577813652),
    (b"\xff\x80", pa.binary_view(), -577813652),
    (b"\xff\x80", pa.binary(2), -577813652),
    (dt.date(1969, 12, 31), pa.date32(), -1604776387),
    (dt.date(1969, 12, 31), pa.date64(), -1604776387),
    (dt.datetime(1970, 1, 1, 0, 0, 1), pa.timestamp("s"), -1715802514),  # noqa: DTZ001
    (dt.datetime(1970, 1, 1, 0, 0, 1), pa.timestamp("ms"), -1715802514),  # noqa: DTZ001
    (dt.datetime(1970, 1, 1, 0, 0, 1), pa.timestamp("us"), -1715802514),  # noqa: DTZ001
    (1_000_000_999, pa.timestamp("ns"), -1715802514),
    (-1, pa.timestamp("ns", "UTC"), -939490007),  # as microsecond -1: rounded down
    (dt.timedelta(seconds=1), pa.duration("s"), -1715802514),
    (dt.timedelta(seconds=1), pa.duration("ns"), -1715802514),
    (dt.time(0, 0, 0, 1), pa.time64("us"), -803323719),
    (1_000, pa.time64("ns"), -803323719),
    ([1, None, 3], pa.list_(pa.int32()), 1066699649),
    ([1, None, 3], pa.large_list(pa.int32()), 1066699649),
    ([1, None, 3], pa.list_(pa.int32(), 3), 1066699649),
    ([1, None, 3], pa.list_view(pa.int32()), 1066699649),
    ([1, None, 3], pa.large_list_view(pa.int32()), 1066699649),
    ([], pa.list_(pa.int32()), 42),
    ({"a": 1, "b": None, "c": "a"}, pa.struct({"a": pa.int32(), "b": pa.int8(), "c": pa.string()}), -936062819),
    ([("a", 1), ("b", None)], pa.map_(pa.string(), pa.int64()), 1453571632),
    # What Spark reads these as.
    (1, pa.uint8(), -559580957),
    (1, pa.uint16(), -559580957),
    (1, pa.uint32(), -1712319331),
    (1, pa.uint64(), -386724586),
    (1.5, pa.float16(), -221251528),
    (1, pa.time32("s"), SECOND_AS_NANOSECONDS),
    (1_000, pa.time32("ms"), SECOND_AS_NANOSECONDS),
]


@pytest.mark.parametrize(("value", "kind", "expected"), SPARKS_HASHES, ids=str)
def test_hashes_that_spark_answered(value: Any, kind: pa.DataType, expected: int) -> None:
    assert hashes_of(pa.array([value], kind)) == [expected]


@pytest.mark.parametrize(("value", "kind", "expected"), SPARKS_HASHES, ids=str)
def test_a_slice_hashes_as_its_own_rows(value: Any, kind: pa.DataType, expected: int) -> None:
    padding = [value] * 9 + [None] * 4
    array = pa.array([*padding, value, None, value, *padding], kind).slice(len(padding), 3)
    assert hashes_of(array) == [expected, 42, expected]
    assert hashes_of(array.slice(1, 0)) == []


def test_columns_are_chained_and_nulls_pass_the_seed_on() -> None:
    batch = batch_of(
        a=pa.array([1], pa.int32()),
        b=pa.array([2], pa.int64()),
        c=pa.array(["three"]),
        d=pa.nulls(1),
        e=pa.array([4.5]),
        f=pa.array([None], pa.int64()),
    )
    # SELECT hash(1, 2L, 'three', null, 4.5D)
    assert HashPartitioner(["a", "b", "c", "d", "e", "f"], 1).hashes(batch).tolist() == [2077053667]
    nested = batch_of(a=pa.array(["Spark"]), b=pa.array([[123]], pa.list_(pa.int32())), c=pa.array([2], pa.int32()))
    # The example of Spark's documentation: SELECT hash('Spark', array(123), 2)
    assert HashPartitioner(["a", "b", "c"], 1).hashes(nested).tolist() == [-1321691492]


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.sampled_from([1, 2, 3, 200, 65536, 65537, 2**31 - 1]))
def test_the_partition_is_the_hash_modulo_the_count(values: list[int], partition_count: int) -> None:
    batch = batch_of(key=pa.array(values, pa.int64()))
    partitioner = HashPartitioner(["key"], partition_count)
    numbers = partitioner.partition_numbers(batch)
    assert numbers.tolist() == [value % partition_count for value in partitioner.hashes(batch).tolist()]
    assert numbers.dtype == (np.uint16 if partition_count <= 65536 else np.uint32)


@pytest.mark.parametrize("kind", [pa.int64(), pa.string(), pa.decimal128(30, 0)], ids=str)
def test_blocks_and_batches_are_cut_without_a_trace(kind: pa.DataType) -> None:
    values = [None if row % 7 == 0 else row for row in range(40_000)]
    numbers = pa.array(values, pa.int32())
    array = numbers.cast(kind)
    whole = hashes_of(array)
    assert whole == [each for start in range(0, 40_000, 9_999) for each in hashes_of(array.slice(start, 9_999))]
    assert len(set(whole)) > 30_000


def test_every_nan_is_one_nan() -> None:
    bits = np.array([0x7FF8000000000000, 0xFFF8000000000001, 0x7FF0000000000001], np.uint64)
    assert set(hashes_of(pa.array(bits.view(np.float64)))) == {-1281358385}
    bits32 = np.array([0x7FC00000, 0xFFC00001, 0x7F800001], np.uint32)
    assert set(hashes_of(pa.array(bits32.view(np.float32)))) == {-349261430}


@pytest.mark.parametrize(
    ("kind", "plain_kind"),
    [
        (pa.dictionary(pa.int8(), pa.string()), pa.string()),
        (pa.dictionary(pa.uint32(), pa.large_string()), pa.string()),
        (pa.run_end_encoded(pa.int32(), pa.string()), pa.string()),
        (pa.string_view(), pa.string()),
        (pa.json_(), pa.string()),
        (pa.dictionary(pa.int32(), pa.decimal128(25, 2)), pa.decimal128(25, 2)),
    ],
    ids=str,
)
def test_an_encoding_hashes_as_its_values(kind: pa.DataType, plain_kind: pa.DataType) -> None:
    values = ["1.25", None, "1.25", "1234567890123456789.50", "0.00", None]
    plain = pa.array(values).cast(plain_kind)
    if pa.types.is_run_end_encoded(kind):
        encoded = pa.RunEndEncodedArray.from_arrays(pa.array(range(1, 7), pa.int32()), plain)
    elif pa.types.is_dictionary(kind):
        encoded = plain.cast(kind.value_type).dictionary_encode().cast(kind)
    elif isinstance(kind, pa.BaseExtensionType):
        encoded = pa.ExtensionArray.from_storage(kind, plain)
    else:
        encoded = plain.cast(kind)
    assert encoded.type == kind
    for piece in (slice(0, 6), slice(1, 4), slice(3, 6)):
        assert hashes_of(encoded[piece]) == hashes_of(plain[piece])


def test_a_dictionary_may_hold_nulls_and_duplicates() -> None:
    dictionary = pa.array(["a", None, "a"])
    array = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, None], pa.int32()), dictionary)
    assert hashes_of(array) == [1485273170, 42, 1485273170, 42]


def test_what_lies_under_a_null_has_no_say() -> None:
    first_only = pa.py_buffer(bytes([0b01]))
    offsets = pa.py_buffer(np.array([0, 1, 3], np.int32))
    integers = pa.Array.from_buffers(pa.int32(), 2, [first_only, pa.py_buffer(np.array([0, 99], np.int32))])
    assert hashes_of(integers) == [933211791, 42]
    strings = pa.Array.from_buffers(pa.string(), 2, [first_only, offsets, pa.py_buffer(b"abc")])
    assert hashes_of(strings) == [1485273170, 42]
    elements = pa.array([1, 2, 3], pa.int32())
    lists = pa.Array.from_buffers(pa.list_(pa.int32()), 2, [first_only, offsets], children=[elements])
    assert hashes_of(lists) == hashes_of(pa.array([[1], None], pa.list_(pa.int32())))
    structs = pa.StructArray.from_arrays([pa.array([1, 2], pa.int32())], ["a"], mask=pa.array([False, True]))
    assert hashes_of(structs)[1] == 42
    # This index is not even in the dictionary.
    indices = pa.Array.from_buffers(pa.int32(), 2, [first_only, pa.py_buffer(np.array([0, 5_000], np.int32))])
    assert hashes_of(pa.DictionaryArray.from_arrays(indices, pa.array(["a"]), safe=False)) == [1485273170, 42]


def test_children_of_sliced_nested_arrays_are_sliced_with_them() -> None:
    kind = pa.struct({"a": pa.list_(pa.struct({"b": pa.string(), "c": pa.list_(pa.int64(), 2)}))})
    values = [None if row % 5 == 4 else {"a": [{"b": str(row), "c": [row, None]}] * (row % 3)} for row in range(50)]
    whole = hashes_of(pa.array(values, kind))
    for start in (0, 3, 8, 17):
        assert hashes_of(pa.array(values, kind).slice(start, 20)) == whole[start : start + 20]


def test_a_batch_without_rows_has_no_numbers() -> None:
    numbers = HashPartitioner("key", 5).partition_numbers(batch_of(key=pa.array([], pa.string())))
    assert numbers.shape == (0,)
    assert numbers.dtype == np.uint16


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (pa.month_day_nano_interval(), "month_day_nano_interval"),
        (pa.dense_union([pa.field("a", pa.int32())]), "dense_union"),
        (pa.list_(pa.struct({"a": pa.month_day_nano_interval()})), "month_day_nano_interval"),
        (pa.map_(pa.string(), pa.month_day_nano_interval()), "month_day_nano_interval"),
    ],
    ids=str,
)
def test_a_type_that_spark_cannot_hash_is_named_with_its_column(kind: pa.DataType, named: str) -> None:
    schema = pa.schema({"other": pa.int64(), "key": kind})
    with pytest.raises(ValueError, match=rf"column 'key'.*{named}"):
        HashPartitioner("key", 2).check_schema(schema)
    HashPartitioner("other", 2).check_schema(schema)
    with pytest.raises(ValueError, match="column 'key'"):
        HashPartitioner("key", 2).partition_numbers(batch_of(key=pa.nulls(0, kind)))
