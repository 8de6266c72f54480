"""What all partitioners have in common: the checks of their arguments, and the dtype of their answers."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shuffle.partitioners import (
    CallablePartitioner,
    HashPartitioner,
    Partitioner,
    RangePartitioner,
    RoundRobinPartitioner,
)


def zeros(batch: pa.RecordBatch) -> Any:
    return np.zeros(batch.num_rows, np.int64)


SAMPLE = pa.table({"key": pa.array([1, 2, 3])})
MAKERS: dict[str, Callable[[int], Partitioner]] = {
    "hash": lambda count: HashPartitioner("key", count),
    "range": lambda count: RangePartitioner("key", [], partition_count=count),
    "range from sample": lambda count: RangePartitioner.from_sample(SAMPLE, "key", count),
    "round robin": RoundRobinPartitioner,
    "callable": lambda count: CallablePartitioner(zeros, count),
}
every_partitioner = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


@every_partitioner
@pytest.mark.parametrize("count", [0, -1, 2**31, 2**70])
def test_a_partition_count_out_of_range_is_a_value_error(make: Callable[[int], Partitioner], count: int) -> None:
    with pytest.raises(ValueError, match=f"partition_count must be from 1 to 2147483647, not {count}"):
        make(count)


@every_partitioner
@pytest.mark.parametrize("count", [True, np.True_, 2.0, "2", float("nan")])
def test_a_partition_count_that_is_no_integer_is_a_type_error(make: Callable[[Any], Partitioner], count: Any) -> None:
    with pytest.raises(TypeError, match="partition_count must be an integer"):
        make(count)


@every_partitioner
@pytest.mark.parametrize(
    ("count", "dtype"), [(1, np.uint16), (np.int64(7), np.uint16), (65536, np.uint16), (65537, np.uint32)]
)
def test_partition_numbers_are_as_narrow_as_the_count_allows(
    make: Callable[[int], Partitioner], count: int, dtype: type[np.generic]
) -> None:
    partitioner = make(count)
    assert partitioner.partition_count == count
    assert type(partitioner.partition_count) is int
    for row_count in (0, 5):
        batch = pa.record_batch({"key": pa.array(range(row_count), pa.int64())})
        partitioner.check_schema(batch.schema)
        numbers = partitioner.partition_numbers(batch)
        assert numbers.dtype == dtype
        assert numbers.shape == (row_count,)
        assert numbers.max(initial=0) < count


@every_partitioner
def test_a_partitioner_travels_to_other_processes(make: Callable[[int], Partitioner]) -> None:
    batch = pa.record_batch({"key": pa.array(range(100), pa.int64())})
    partitioner = make(3)
    copy = pickle.loads(pickle.dumps(partitioner))
    assert copy.partition_numbers(batch).tolist() == partitioner.partition_numbers(batch).tolist()
    assert repr(copy) == repr(partitioner)


BY_COLUMNS: dict[str, Callable[[Any], Partitioner]] = {
    "hash": lambda columns: HashPartitioner(columns, 4),
    "range": lambda columns: RangePartitioner(columns, [], partition_count=4),
}
by_columns = pytest.mark.parametrize("make", BY_COLUMNS.values(), ids=BY_COLUMNS.keys())


@by_columns
def test_a_column_that_is_not_there_is_an_error_listing_those_that_are(make: Callable[[Any], Partitioner]) -> None:
    schema = pa.schema({"user": pa.int64(), "day": pa.date32()})
    with pytest.raises(ValueError, match="no column 'usr' to partition by; the columns are: 'user', 'day'"):
        make(["day", "usr"]).check_schema(schema)
    with pytest.raises(ValueError, match="no column 'usr'"):
        make("usr").partition_numbers(pa.RecordBatch.from_pylist([], schema))
    with pytest.raises(ValueError, match="the columns are: none"):
        make("usr").check_schema(pa.schema([]))


@by_columns
def test_a_name_that_two_columns_have_is_ambiguous(make: Callable[[Any], Partitioner]) -> None:
    schema = pa.schema([("key", pa.int64()), ("key", pa.string())])
    with pytest.raises(ValueError, match="column 'key' is ambiguous: 2 columns"):
        make("key").check_schema(schema)


@by_columns
@pytest.mark.parametrize(("columns", "error"), [([], ValueError), ([1], TypeError), (["a", None], TypeError)])
def test_columns_are_named_by_strings(
    make: Callable[[Any], Partitioner], columns: list[Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match="column to partition by"):
        make(columns)
