"""Laws of the map side: for any rows, cuts, partitions and budgets."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from shuffle import HashPartitioner, MapOptions, MapWriter
from spill_format import SpillFile
from tests.helpers.map_outputs import MIB, assert_partitioned

SCHEMA = pa.schema([("key", pa.int64()), ("row", pa.int64()), ("text", pa.string())])

# Rows of up to 30 KiB, so that a few hundred of them pass the smallest budget.
rows = st.lists(st.tuples(st.none() | st.integers(-3, 3), st.integers(0, 30_000)), max_size=300)
cuts = st.lists(st.integers(1, 100), min_size=1, max_size=20)


def batches_of(values: list[tuple[int | None, int]], sizes: list[int]) -> list[pa.RecordBatch]:
    """The rows in batches of the sizes, over and over."""
    whole = pa.record_batch(
        [
            pa.array([key for key, _ in values], pa.int64()),
            pa.array(range(len(values)), pa.int64()),
            pa.array(["x" * length for _, length in values], pa.string()),
        ],
        SCHEMA,
    )
    batches: list[pa.RecordBatch] = []
    start = 0
    while start < len(values):
        batches.append(whole.slice(start, sizes[len(batches) % len(sizes)]))
        start += batches[-1].num_rows
    return batches or [whole]


def write(target: Path, batches: list[pa.RecordBatch], partition_count: int, options: MapOptions) -> None:
    with MapWriter(target, SCHEMA, HashPartitioner(["key"], partition_count), options) as writer:
        for batch in batches:
            writer.write(batch)


@settings(max_examples=60)
@given(values=rows, sizes=cuts, partition_count=st.integers(1, 40), memory_mib=st.integers(1, 6))
def test_every_row_is_in_the_partition_of_its_key_in_order(
    values: list[tuple[int | None, int]], sizes: list[int], partition_count: int, memory_mib: int
) -> None:
    batches = batches_of(values, sizes)
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory, "map.arrow")
        write(target, batches, partition_count, MapOptions(memory_bytes=memory_mib * MIB))
        assert_partitioned(target, batches, HashPartitioner(["key"], partition_count))


@settings(max_examples=30)
@given(values=rows, sizes=cuts, other_sizes=cuts, partition_count=st.integers(1, 40))
def test_neither_cuts_nor_spills_nor_compression_change_a_partition(
    values: list[tuple[int | None, int]], sizes: list[int], other_sizes: list[int], partition_count: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        one, other = Path(directory, "one.arrow"), Path(directory, "other.arrow")
        write(one, batches_of(values, sizes), partition_count, MapOptions(memory_bytes=MIB))
        write(other, batches_of(values, other_sizes), partition_count, MapOptions(compression="lz4"))
        with SpillFile(one) as first, SpillFile(other) as second:
            for partition in range(partition_count):
                assert first.read(partition).equals(second.read(partition))


@settings(max_examples=30)
@given(values=rows, sizes=cuts, partition_count=st.integers(1, 40), threads=st.integers(2, 6))
def test_the_bytes_do_not_depend_on_the_number_of_threads(
    values: list[tuple[int | None, int]], sizes: list[int], partition_count: int, threads: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        contents = []
        for thread_count in (1, threads):
            target = Path(directory, f"{thread_count}.arrow")
            options = MapOptions(memory_bytes=MIB, threads=thread_count)
            write(target, batches_of(values, sizes), partition_count, options)
            contents.append(target.read_bytes())
        assert contents[0] == contents[1]


def test_a_spill_at_any_row_gives_the_same_partitions(tmp_path: Path) -> None:
    # A row that alone passes the budget makes one spill end before it and another begin behind it.
    row_count = 12
    for place in range(row_count):
        texts = ["x" * (2 * MIB if row == place else 10) for row in range(row_count)]
        batch = pa.record_batch([np.arange(row_count) % 3, np.arange(row_count), texts], SCHEMA)
        target = tmp_path / f"{place}.arrow"
        write(target, [batch], 4, MapOptions(memory_bytes=MIB))
        assert_partitioned(target, [batch], HashPartitioner(["key"], 4))
