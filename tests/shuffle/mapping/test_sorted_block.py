"""Blocks of rows in partition order, and windows over them."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from shuffle.mapping.sorted_block import (
    BLOCK_ROWS,
    SortedBlock,
    block_rows,
    check_partition_numbers,
    largest_block_bytes,
    plan_windows,
    sort_block,
    stable_order,
    window_batches,
)
from shuffle.partitioners.protocol import PartitionNumbers


def numbers_of(values: npt.ArrayLike, dtype: type = np.uint16) -> PartitionNumbers:
    return np.asarray(values, dtype=dtype)


def block_of(numbers: PartitionNumbers, first_row: int = 0, text_length: int = 3) -> SortedBlock:
    """A block of rows that know their partition and their place among all rows."""
    rows = pa.record_batch(
        {
            "partition": numbers,
            "row": np.arange(first_row, first_row + len(numbers)),
            "text": pa.array(["x" * text_length] * len(numbers)),
        }
    )
    return sort_block([rows], [numbers])


def blocks_of(numbers: PartitionNumbers, block_count: int, text_length: int = 3) -> list[SortedBlock]:
    cuts = np.linspace(0, len(numbers), block_count + 1).astype(int)
    return [block_of(numbers[begin:end], begin, text_length) for begin, end in pairwise(cuts.tolist()) if begin < end]


def batches_of(blocks: list[SortedBlock], partition_count: int) -> list[tuple[int, pa.RecordBatch]]:
    return [batch for window in plan_windows(blocks, partition_count) for batch in window_batches(window)]


def assert_sorted(blocks: list[SortedBlock], numbers: PartitionNumbers, partition_count: int) -> None:
    """The batches hold every row once, in its partition, in the order in which the rows came."""
    batches = batches_of(blocks, partition_count)
    partitions = [partition for partition, _ in batches]
    assert partitions == sorted(partitions)
    for partition, batch in batches:
        assert batch.num_rows
        assert set(batch["partition"].to_pylist()) == {partition}
    rows = np.concatenate([batch["row"].to_numpy() for _, batch in batches])
    np.testing.assert_array_equal(rows, np.argsort(numbers, kind="stable"))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize("partition_count", [1, 2, 255, 65536])
def test_order_is_stable(dtype: type, partition_count: int) -> None:
    numbers = numbers_of(np.random.default_rng(1).integers(0, partition_count, 5000), dtype)
    np.testing.assert_array_equal(stable_order(numbers), np.argsort(numbers, kind="stable"))


def test_order_of_more_partitions_than_16_bits_number() -> None:
    numbers = numbers_of(np.random.default_rng(1).integers(0, 2**31 - 1, 5000), np.uint32)
    np.testing.assert_array_equal(stable_order(numbers), np.argsort(numbers, kind="stable"))


# partitions, rows, blocks, skew (1: even), length of a text
SHAPES = {
    "one row": (1, 1, 1, 1.0, 3),
    "one partition": (1, 5000, 3, 1.0, 3),
    "one block": (50, 5000, 1, 1.0, 3),
    "large partitions": (5, 100_000, 4, 1.0, 60),
    "partitions larger than a batch": (2, 60_000, 5, 1.0, 200),
    "small partitions": (3000, 30_000, 10, 1.0, 3),
    "tiny blocks": (10, 300, 150, 1.0, 3),
    "more partitions than rows": (60_000, 1000, 4, 1.0, 3),
    "one large among small": (2000, 50_000, 7, 0.1, 3),
    "wide rows": (40, 60, 6, 1.0, 300_000),
}


@pytest.mark.parametrize(
    ("partition_count", "row_count", "block_count", "skew", "text_length"), SHAPES.values(), ids=SHAPES
)
def test_every_row_comes_once_in_its_partition_in_order(
    partition_count: int, row_count: int, block_count: int, skew: float, text_length: int
) -> None:
    generator = np.random.default_rng(2)
    numbers = numbers_of(generator.integers(0, partition_count, row_count))
    numbers[generator.random(row_count) > skew] = partition_count // 2
    assert_sorted(blocks_of(numbers, block_count, text_length), numbers, partition_count)


def test_no_blocks_make_no_batches() -> None:
    assert batches_of([], 5) == []


def test_batches_of_a_large_partition_are_large_and_not_too_large() -> None:
    numbers = numbers_of(np.zeros(200_000))
    sizes = [batch.nbytes for _, batch in batches_of(blocks_of(numbers, 50, 40), 1)]
    assert max(sizes) <= 1.1 * 2**20
    assert np.mean(sizes) > 2**19


def test_a_single_row_is_not_copied() -> None:
    rows = pa.record_batch({"text": ["x" * 1000]})
    block = sort_block([rows], [numbers_of([3])])
    ((partition, batch),) = batches_of([block], 4)
    assert partition == 3
    assert batch["text"].buffers()[2].address == rows["text"].buffers()[2].address


def test_a_block_of_several_batches_has_the_rows_of_all() -> None:
    rows = [pa.record_batch({"row": [0, 1]}), pa.record_batch({"row": [2]}), pa.record_batch({"row": [3, 4]})]
    block = sort_block(rows, [numbers_of([1, 0]), numbers_of([1]), numbers_of([0, 1])])
    assert block.rows["row"].to_pylist() == [1, 3, 0, 2, 4]
    assert block.partition_numbers.tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(("partition_count", "rows"), [(1, 1 << 16), (200, 1 << 16), (2000, 256_000), (10**6, 1 << 18)])
def test_more_partitions_need_larger_blocks(partition_count: int, rows: int) -> None:
    assert block_rows(partition_count) == rows <= BLOCK_ROWS


def test_dense_unions_do_not_keep_the_values_of_other_rows() -> None:
    count = 2000
    kinds = pa.array([0, 1] * (count // 2), pa.int8())
    places = pa.array(np.repeat(np.arange(count // 2), 2), pa.int32())
    texts = pa.array([f"text {row:0100}" for row in range(count // 2)])
    union = pa.UnionArray.from_dense(kinds, places, [pa.array(range(count // 2)), texts])
    numbers = numbers_of(np.arange(count) % 100)
    blocks = [sort_block([pa.record_batch({"union": union})], [numbers]) for _ in range(2)]
    batches = batches_of(blocks, 100)
    # A hundred frames, and all values again with the first slice, which Arrow does not cut; but not a hundred times.
    assert sum(batch.serialize().size for _, batch in batches) < 6 * union.nbytes
    for partition, batch in batches:
        assert batch["union"].to_pylist() == 2 * union.to_pylist()[partition::100]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (numbers_of([0, 1]), "3 rows need as many partition numbers"),
        (numbers_of([[0], [1], [2]]), "3 rows need as many"),
        (numbers_of([0, 4, 5]), "row 1 has partition number 4: there are 4, from 0"),
        (np.array([0, 1, 2]), "must be uint16 or uint32, not int64"),
        (np.array([0.0, 1.0, 2.0]), "must be uint16 or uint32, not float64"),
    ],
)
def test_wrong_partition_numbers_are_refused(numbers: PartitionNumbers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_partition_numbers(numbers, 3, 4)


def test_right_partition_numbers_pass() -> None:
    check_partition_numbers(numbers_of([0, 3, 1]), 3, 4)
    check_partition_numbers(numbers_of([]), 0, 4)


@pytest.mark.parametrize(
    ("budget_bytes", "expected"), [(32 << 10, 32 << 10), (256 << 20, 256 << 20), (1 << 35, 256 << 20)]
)
def test_no_budget_makes_blocks_that_offsets_of_strings_cannot_hold(budget_bytes: int, expected: int) -> None:
    assert largest_block_bytes(budget_bytes) == expected
