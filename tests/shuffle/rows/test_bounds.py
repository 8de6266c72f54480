"""Bounds of ranges come from a sample that is spread over the inputs."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from shuffle.rows.bounds import range_partitioner
from shuffle.rows.errors import InputError
from shuffle.rows.inputs import Inputs
from shuffle.rows.placement import SortKey

COUNT = 300_000
ASCENDING = SortKey("key", False, True)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows in the order of one column, and another that is skewed and has nulls."""
    directory = tmp_path_factory.mktemp("inputs")
    skewed = np.random.default_rng(4).zipf(1.5, COUNT)
    table = pa.table({"key": range(COUNT), "skewed": pa.array(skewed, mask=skewed % 7 == 0), "list": [[1]] * COUNT})
    pa.parquet.write_table(table, directory / "rows.parquet", row_group_size=1000)
    return directory


def counts_by_partition(inputs: Inputs, partition_count: int, *keys: SortKey, memory_bytes: int = 1 << 28) -> list[int]:
    partitioner = range_partitioner(inputs, keys, partition_count, memory_bytes)
    numbers = [
        partitioner.partition_numbers(rows) for rows in inputs.batches(inputs.parts, None, lambda _count: None, 1 << 30)
    ]
    counts: list[int] = np.bincount(np.concatenate(numbers), minlength=partition_count).tolist()
    return counts


# There are 300 row groups, more than are read.
def test_partitions_have_about_as_many_rows_each(inputs: Path) -> None:
    counts = counts_by_partition(Inputs([str(inputs)]), 10, ASCENDING)
    assert sum(counts) == COUNT
    assert max(counts) < 1.1 * COUNT / 10


def test_only_rows_that_pass_are_sampled(inputs: Path) -> None:
    counts = counts_by_partition(Inputs([str(inputs)], "key >= 299000"), 4, ASCENDING)
    assert counts == [250] * 4


def test_the_same_inputs_have_the_same_bounds(inputs: Path) -> None:
    partitioners = [
        range_partitioner(Inputs([str(inputs)]), [SortKey("skewed", True, True)], 7, 1 << 28) for _ in range(2)
    ]
    assert partitioners[0].bounds == partitioners[1].bounds


def test_a_small_memory_makes_a_small_sample_and_less_even_partitions(inputs: Path) -> None:
    counts = counts_by_partition(Inputs([str(inputs)]), 4, ASCENDING, memory_bytes=400_000)
    assert sum(counts) == COUNT
    assert max(counts) < 1.2 * COUNT / 4


@pytest.mark.parametrize(
    ("column", "problem"), [("list", "column 'list' cannot be partitioned by range"), ("gone", "no column 'gone'")]
)
def test_what_has_no_order_is_refused_before_anything_is_read(
    inputs: Path, tmp_path: Path, column: str, problem: str
) -> None:
    content = (inputs / "rows.parquet").read_bytes()
    damaged = tmp_path / "rows.parquet"
    damaged.write_bytes(content[:4] + bytes(100) + content[104:])
    for name, error, message in [(column, ValueError, problem), ("key", InputError, "rows.parquet: ")]:
        with pytest.raises(error, match=message):
            range_partitioner(Inputs([str(damaged)]), [SortKey(name, False, True)], 4, 1 << 28)
