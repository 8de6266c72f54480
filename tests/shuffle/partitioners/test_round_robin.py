"""Rows dealt out in turn."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuffle.partitioners import RoundRobinPartitioner


def batch_of(row_count: int) -> pa.RecordBatch:
    return pa.record_batch({"key": pa.nulls(row_count)})


@given(st.lists(st.integers(0, 50)), st.integers(1, 20), st.integers(0, 1000))
def test_rows_are_counted_across_batches(row_counts: list[int], partition_count: int, start: int) -> None:
    partitioner = RoundRobinPartitioner(partition_count, start)
    numbers = [each for row_count in row_counts for each in partitioner.partition_numbers(batch_of(row_count)).tolist()]
    assert numbers == [(start + row) % partition_count for row in range(sum(row_counts))]


def test_the_same_input_gives_the_same_partitions_again() -> None:
    first, second = (RoundRobinPartitioner(7, start=3) for _ in range(2))
    for batch in map(batch_of, (5, 0, 12, 1)):
        assert first.partition_numbers(batch).tolist() == second.partition_numbers(batch).tolist()


def test_the_largest_partition_count_counts_on() -> None:
    partitioner = RoundRobinPartitioner(2**31 - 1, start=2**31 - 3)
    assert partitioner.partition_numbers(batch_of(4)).tolist() == [2**31 - 3, 2**31 - 2, 0, 1]


@pytest.mark.parametrize("start", [True, 1.0, "1", None])
def test_start_is_an_integer(start: object) -> None:
    with pytest.raises(TypeError):
        RoundRobinPartitioner(2, start)  # type: ignore[arg-type]
