"""RangePartitioner against a comparison of one row with one bound at a time."""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuffle.partitioners import RangePartitioner


def compare(left: Any, right: Any, *, descending: bool, nulls_first: bool) -> int:
    """Negative, zero or positive, as Spark orders two values of one column."""
    if left is None or right is None:
        return 0 if left is right else (-1 if (left is None) == nulls_first else 1)
    if isinstance(left, float) and (math.isnan(left) or math.isnan(right)):
        order = math.isnan(left) - math.isnan(right)
    else:
        if isinstance(left, str):
            left, right = left.encode(), right.encode()
        order = (left > right) - (left < right)
    return -order if descending else order


def compare_rows(left: Any, right: Any, descending: list[bool], nulls_first: list[bool]) -> int:
    for values in zip(left, right, descending, nulls_first, strict=True):
        order = compare(values[0], values[1], descending=values[2], nulls_first=values[3])
        if order:
            return order
    return 0


def expected_partition(row: Any, bounds: list[Any], descending: list[bool], nulls_first: list[bool]) -> int:
    return sum(compare_rows(bound, row, descending, nulls_first) < 0 for bound in bounds)


def batch_of(kinds: list[pa.DataType], rows: list[Any]) -> pa.RecordBatch:
    arrays = [pa.array([row[position] for row in rows], kind) for position, kind in enumerate(kinds)]
    return pa.RecordBatch.from_arrays(arrays, [f"column{position}" for position in range(len(kinds))])


# Few values of each type, so that rows meet bounds; the ends of its range among them.
TIMES = [dt.datetime(year, 1, 1) for year in (1900, 1970, 2024)]  # noqa: DTZ001
TEXTS = [
    "",
    "a",
    "a\0",
    "a\0\0",
    "abcdefg",
    "abcdefg\0",
    "abcdefgh",
    "abcdefghijklmnopqrst",
    "abcdefghijklmnopqrsu",
    "ß",
    "😀",
]
VALUES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.bool_(), [False, True]),
    (pa.int8(), [-128, -1, 0, 1, 127]),
    (pa.int64(), [-(2**63), -1, 0, 1, 2**63 - 1]),
    (pa.uint16(), [0, 1, 2**16 - 1]),
    (pa.uint64(), [0, 1, 2**63, 2**64 - 1]),
    (pa.float16(), [float("-inf"), -1.5, -0.0, 0.0, 2.0, float("nan")]),
    (pa.float32(), [float("-inf"), -1.5, -0.0, 0.0, 2.0, float("inf"), float("nan")]),
    (pa.float64(), [float("-inf"), -5e-324, -0.0, 0.0, 5e-324, float("inf"), float("nan")]),
    (pa.decimal32(5, 2), [Decimal("-1.27"), Decimal(0), Decimal("9.99")]),
    (pa.decimal64(15, 2), [Decimal("-1.27"), Decimal(0), Decimal("9.99")]),
    (
        pa.decimal128(38, 0),
        [Decimal(-(2**70)), Decimal(-(2**64)), Decimal(-1), Decimal(0), Decimal(2**64), Decimal(2**70)],
    ),
    (
        pa.decimal256(60, 0),
        [Decimal(-(2**190)), Decimal(-(2**64)), Decimal(-1), Decimal(1), Decimal(2**130), Decimal(2**190)],
    ),
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.string_view(), TEXTS),
    (pa.dictionary(pa.int32(), pa.string()), TEXTS),
    (pa.binary(), [b"", b"\0", b"\0\0", b"\x7f", b"\x80", b"\xff" * 7, b"\xff" * 8]),
    (pa.binary_view(), [b"", b"\0", b"\xff" * 20]),
    (pa.binary(3), [b"\0\0\0", b"\0\0\1", b"abc", b"\xff\xff\xff"]),
    (pa.date32(), [dt.date(1900, 1, 1), dt.date(1970, 1, 1), dt.date(2024, 2, 29)]),
    (pa.date64(), [dt.date(1900, 1, 1), dt.date(1970, 1, 1), dt.date(2024, 2, 29)]),
    (pa.timestamp("s"), TIMES),
    (pa.timestamp("us"), TIMES),
    (pa.duration("ms"), [dt.timedelta(days) for days in (-1, 0, 5)]),
    (pa.time32("s"), [dt.time(0, 0, 1), dt.time(23, 59)]),
    (pa.time64("us"), [dt.time(0, 0, 1), dt.time(23, 59)]),
    (pa.null(), [None]),
]


@pytest.mark.parametrize("nulls_first", [False, True], ids=["nulls last", "nulls first"])
@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
@pytest.mark.parametrize(
    ("kind", "values"), VALUES, ids=lambda each: str(each) if isinstance(each, pa.DataType) else ""
)
def test_every_value_is_placed_among_every_value(
    kind: pa.DataType, values: list[Any], descending: bool, nulls_first: bool
) -> None:
    rows = [(value,) for value in [*values, None, *values[::-1]]]
    order = functools.partial(compare_rows, descending=[descending], nulls_first=[nulls_first])
    bounds = sorted(rows, key=functools.cmp_to_key(order))
    batch = batch_of([kind], rows)
    partitioner = RangePartitioner("column0", batch_of([kind], bounds), descending=descending, nulls_first=nulls_first)
    expected = [expected_partition(row, bounds, [descending], [nulls_first]) for row in rows]
    assert partitioner.partition_numbers(batch).tolist() == expected
    assert partitioner.partition_numbers(batch.slice(1, 2)).tolist() == expected[1:3]
    assert partitioner.partition_count == len(bounds) + 1


@st.composite
def tables_and_orders(draw: st.DrawFn) -> tuple[list[pa.DataType], list[Any], list[Any], list[bool], list[bool]]:
    columns = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=3))
    rows = st.lists(st.tuples(*(st.sampled_from([*values, None]) for _, values in columns)), max_size=30)
    flags = st.lists(st.booleans(), min_size=len(columns), max_size=len(columns))
    return [kind for kind, _ in columns], draw(rows), draw(rows), draw(flags), draw(flags)


@given(tables_and_orders())
def test_rows_of_several_columns_are_placed_as_one_by_one(
    case: tuple[list[pa.DataType], list[Any], list[Any], list[bool], list[bool]],
) -> None:
    kinds, rows, bounds, descending, nulls_first = case
    order = functools.partial(compare_rows, descending=descending, nulls_first=nulls_first)
    bounds = sorted(bounds, key=functools.cmp_to_key(order))
    names = [f"column{position}" for position in range(len(kinds))]
    partitioner = RangePartitioner(names, batch_of(kinds, bounds), descending=descending, nulls_first=nulls_first)
    numbers = partitioner.partition_numbers(batch_of(kinds, rows))
    assert numbers.tolist() == [expected_partition(row, bounds, descending, nulls_first) for row in rows]


@given(tables_and_orders(), st.integers(1, 12))
def test_partitions_by_sample_are_in_order_and_all_there(
    case: tuple[list[pa.DataType], list[Any], list[Any], list[bool], list[bool]], partition_count: int
) -> None:
    kinds, rows, sample, descending, nulls_first = case
    names = [f"column{position}" for position in range(len(kinds))]
    partitioner = RangePartitioner.from_sample(
        pa.Table.from_batches([batch_of(kinds, sample)]),
        names,
        partition_count,
        descending=descending,
        nulls_first=nulls_first,
    )
    assert partitioner.partition_count == partition_count
    numbers = partitioner.partition_numbers(batch_of(kinds, rows)).tolist()
    order = functools.partial(compare_rows, descending=descending, nulls_first=nulls_first)
    placed = sorted(zip(rows, numbers, strict=True), key=lambda each: each[1])
    for (row, number), (next_row, next_number) in itertools.pairwise(placed):
        assert number == next_number or order(row, next_row) < 0
    assert all(number < partition_count for number in numbers)


def test_a_row_equal_to_a_bound_is_in_the_partition_that_the_bound_ends() -> None:
    batch = pa.record_batch({"key": pa.array([5, 10, 11, 20, 21])})
    assert RangePartitioner("key", [10, 20]).partition_numbers(batch).tolist() == [0, 0, 1, 1, 2]


def test_many_bounds_of_several_columns_are_searched_as_one_sorted_list() -> None:
    generator = np.random.default_rng(4)
    bounds = np.sort(generator.integers(0, 1_000_000, 5_000))
    rows = np.concatenate([generator.integers(-1_000, 1_001_000, 50_000), bounds])
    batch = pa.record_batch({"thousands": rows // 1_000, "rest": rows % 1_000})
    table = pa.table({"thousands": bounds // 1_000, "rest": bounds % 1_000})
    numbers = RangePartitioner(["thousands", "rest"], table).partition_numbers(batch)
    assert numbers.tolist() == np.searchsorted(bounds, rows).tolist()


def test_nulls_are_by_default_the_least() -> None:
    batch = pa.record_batch({"key": pa.array([5, None, 15])})
    assert RangePartitioner("key", [None, 10]).partition_numbers(batch).tolist() == [1, 0, 2]
    assert RangePartitioner("key", [10]).partition_numbers(batch).tolist() == [0, 0, 1]
    assert RangePartitioner("key", [10], descending=True).partition_numbers(batch).tolist() == [1, 1, 0]


def test_equal_bounds_leave_partitions_empty() -> None:
    batch = pa.record_batch({"key": pa.array([1, 2, 3])})
    partitioner = RangePartitioner("key", [2, 2, 2])
    assert partitioner.partition_count == 4
    assert partitioner.partition_numbers(batch).tolist() == [0, 0, 3]


def test_more_partitions_than_bounds_separate_stay_empty() -> None:
    batch = pa.record_batch({"key": pa.array([1, 2, 3])})
    partitioner = RangePartitioner("key", [2], partition_count=70_000)
    assert partitioner.partition_numbers(batch).tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="2 bounds separate more than 2 partitions"):
        RangePartitioner("key", [2, 3], partition_count=2)


@pytest.mark.parametrize(
    "bounds",
    [
        [("b", 2), ("c", 1)],
        pa.table({"second": [2, 1], "ignored": [0, 0], "first": ["b", "c"]}),
        pa.record_batch({"first": pa.array(["b", "c"]).dictionary_encode(), "second": pa.array([2, 1], pa.int8())}),
        pa.table({"first": pa.chunked_array([["b"], ["c"]], pa.string_view()), "second": pa.chunked_array([[2], [1]])}),
    ],
    ids=["tuples", "table", "batch", "chunks"],
)
def test_bounds_come_in_many_forms_and_take_the_columns_types(bounds: Any) -> None:
    partitioner = RangePartitioner(["first", "second"], bounds)
    rows = {"first": ["a", "b", "b", "c", "c", "d"], "second": [9, 2, 3, 1, 2, 0]}
    for first, second in ((pa.string(), pa.int64()), (pa.string_view(), pa.int16()), (pa.large_binary(), pa.float32())):
        batch = pa.record_batch({"first": pa.array(rows["first"], first), "second": pa.array(rows["second"], second)})
        partitioner.check_schema(batch.schema)
        assert partitioner.partition_numbers(batch).tolist() == [0, 0, 1, 1, 2, 2]
    assert partitioner.bounds.to_pydict() == {"first": ["b", "c"], "second": [2, 1]}


def test_bounds_of_one_column_may_be_an_array() -> None:
    batch = pa.record_batch({"key": pa.array([dt.date(2020, 1, 1), dt.date(2021, 1, 1)])})
    for bounds in (pa.array(["2020-06-30"]), pa.chunked_array([[dt.date(2020, 6, 30)]]), [dt.date(2020, 6, 30)]):
        assert RangePartitioner("key", bounds).partition_numbers(batch).tolist() == [0, 1]


SCHEMA = pa.schema({"key": pa.int32(), "text": pa.string(), "tags": pa.list_(pa.string())})


@pytest.mark.parametrize(
    ("columns", "bounds", "options", "error", "message"),
    [
        ("key", [2, 1], {}, ValueError, r"bound 1, \(1,\), sorts before bound 0, \(2,\)"),
        ("key", [1, 2], {"descending": True}, ValueError, "bounds must be sorted"),
        ("key", [1, None], {}, ValueError, "bounds must be sorted"),
        (["key", "text"], [(1, "b"), (1, "a")], {}, ValueError, "bounds must be sorted"),
        (["key", "text"], [(1, "b"), (2,)], {}, ValueError, "bound 1 has 1 values for 2 columns"),
        (["key", "text"], [1, 2], {}, ValueError, "bound 0 has 1 values for 2 columns"),
        (["key", "text"], pa.array([1]), {}, ValueError, "bounds of one column, not of 2"),
        ("key", [1, "a"], {}, ValueError, "of one type"),
        ("key", pa.table({"k": [1]}), {}, ValueError, "no column 'key' to partition by; the columns are: 'k'"),
        ("key", ["a"], {}, ValueError, "bounds of column 'key', of type string, cannot be int32"),
        ("key", [1.5], {}, ValueError, "bounds of column 'key', of type double, cannot be int32"),
        ("key", ["10", "9"], {}, ValueError, None),
        ("tags", [], {"partition_count": 2}, ValueError, r"column 'tags' cannot be partitioned by range: .*list"),
        ("tags", [["a"]], {}, ValueError, r"column 'tags' cannot be partitioned by range: .*list"),
        ("key", [1], {"descending": [True, False]}, ValueError, "descending must be one bool, or one for each of 1"),
        ("key", [1], {"nulls_first": []}, ValueError, "nulls_first must be one bool"),
        ("key", [1], {"descending": ["yes"]}, TypeError, "descending must be bool, not 'yes'"),
    ],
    ids=str,
)
def test_bounds_that_cannot_be_are_refused(
    columns: Any, bounds: Any, options: Any, error: type[Exception], message: str | None
) -> None:
    with pytest.raises(error, match=message):
        RangePartitioner(columns, bounds, **options).check_schema(SCHEMA)


# --- bounds from a sample -----------------------------------------------------------------------------------------


def sizes_of(values: Any, partition_count: int, **options: Any) -> list[int]:
    sample = pa.table({"key": values})
    partitioner = RangePartitioner.from_sample(sample, "key", partition_count, **options)
    numbers = [partitioner.partition_numbers(batch) for batch in sample.to_batches()]
    sizes: list[int] = np.bincount(
        np.concatenate([*numbers, np.zeros(0, np.int64)]), minlength=partition_count
    ).tolist()
    return sizes


def test_distinct_values_are_shared_out_evenly() -> None:
    values = np.random.default_rng(3).permutation(1_000)
    assert sizes_of(values, 10) == [100] * 10
    assert sizes_of(values, 10, descending=True) == [100] * 10
    assert sizes_of(values, 1) == [1_000]
    assert sizes_of(values.astype(str), 8) == [125] * 8


def test_a_frequent_value_does_not_spoil_the_share_of_the_others() -> None:
    values = np.concatenate([np.full(9_000, 500), np.arange(1_000)])
    sizes = sizes_of(values, 10)
    assert max(sizes) in range(9_000, 9_010)
    assert min(sizes) >= 50


@pytest.mark.parametrize(
    ("values", "partition_count", "sizes"),
    [
        ([7] * 20, 4, [20, 0, 0, 0]),
        ([1, 1, 2, 2, 3, 3], 6, [2, 2, 2, 0, 0, 0]),
        ([1, 2, 3], 3, [1, 1, 1]),
        ([1] * 98 + [2, 3], 3, [98, 1, 1]),
        ([1, 2] + [3] * 98, 3, [2, 98, 0]),
        ([None, None, 1, 1], 2, [2, 2]),
        ([None] * 4, 3, [4, 0, 0]),
        ([], 3, [0, 0, 0]),
    ],
)
def test_few_distinct_values_leave_the_last_partitions_empty(
    values: list[Any], partition_count: int, sizes: list[int]
) -> None:
    assert sizes_of(pa.array(values, pa.int64()), partition_count) == sizes


def test_without_a_sample_every_row_is_in_the_first_partition() -> None:
    partitioner = RangePartitioner.from_sample(pa.table({"key": pa.array([], pa.string_view())}), "key", 3)
    assert partitioner.partition_numbers(pa.record_batch({"key": pa.array(["b", "a"])})).tolist() == [0, 0]


def test_a_sample_by_several_columns_cuts_within_the_first() -> None:
    sample = pa.table({"day": [1] * 50 + [2] * 50, "user": [*range(50), *range(50)], "tags": [["a"]] * 100})
    partitioner = RangePartitioner.from_sample(sample, ["day", "user"], 4, descending=[True, False])
    numbers = partitioner.partition_numbers(sample.to_batches()[0])
    assert np.bincount(numbers).tolist() == [25] * 4
    assert numbers[50] == 0
    assert numbers[49] == 3


def test_a_sample_in_chunks_of_any_encoding_is_one_sample() -> None:
    words = [f"word {number:03}" for number in range(90)]
    chunks = [pa.array(words[start::3]) for start in range(3)]
    plain = RangePartitioner.from_sample(pa.table({"key": pa.chunked_array(chunks)}), "key", 9)
    for kind in (pa.string_view(), pa.dictionary(pa.int8(), pa.string()), pa.large_binary()):
        table = pa.table({"key": pa.chunked_array([chunk.cast(kind) for chunk in chunks])})
        partitioner = RangePartitioner.from_sample(table, "key", 9)
        for batch in table.to_batches():
            assert partitioner.partition_numbers(batch).tolist() == plain.partition_numbers(batch).tolist()
