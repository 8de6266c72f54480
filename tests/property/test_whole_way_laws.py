"""The law of the whole way: what is mapped, merged, served and fetched is what went in, each row once, in its place."""

import tempfile
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuffle import HashPartitioner, MapWriter, PartitionClient, PartitionServer, merge
from shuffle.client import Place

SCHEMA = pa.schema([("key", pa.int64()), ("row", pa.int64()), ("text", pa.dictionary(pa.int32(), pa.string()))])

inputs = st.lists(st.lists(st.none() | st.integers(-9, 9), min_size=1, max_size=60), min_size=1, max_size=4)


@given(
    inputs=inputs,
    partition_count=st.integers(1, 9),
    compression=st.sampled_from([None, "lz4", "zstd"]),
    alignment=st.sampled_from([8, 64, 4096]),
)
@settings(max_examples=15, deadline=None)
@pytest.mark.slow
def test_map_merge_serve_fetch_gives_the_input(
    inputs: list[list[int | None]], partition_count: int, compression: Literal["lz4", "zstd"] | None, alignment: int
) -> None:
    rows = [(key, number) for number, key in enumerate(key for keys in inputs for key in keys)]
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        outputs, at = [], 0
        for number, keys in enumerate(inputs):
            batch = pa.record_batch(
                [
                    pa.array(keys, pa.int64()),
                    pa.array(range(at, at + len(keys)), pa.int64()),
                    pa.array([str(key) for key in keys]).dictionary_encode(),
                ],
                SCHEMA,
            )
            at += len(keys)
            outputs.append(root / f"{number}.spill.arrow")
            partitioner = HashPartitioner(["key"], partition_count)
            with MapWriter(outputs[-1], SCHEMA, partitioner, compression=compression, alignment=alignment) as mapper:
                mapper.write(batch)
        merge(outputs, root / "merged.arrow")
        with PartitionServer(root) as server, PartitionClient() as client:
            places = [Place.of(f"{server.url}merged.arrow", partition) for partition in range(partition_count)]
            tables = [fetched.table for fetched in client.read_many(places)]
            assert pa.concat_tables(tables) == client.read(f"{server.url}merged.arrow", 0, partition_count)
    found = [list(zip(*table.to_pydict().values(), strict=True)) for table in tables]
    for part in found:
        assert [number for _, number, _ in part] == sorted(
            number for _, number, _ in part
        )  # in the order of the inputs
    partition_of = {key: partition for partition, part in enumerate(found) for key, _, _ in part}
    assert sorted(number for part in found for _, number, _ in part) == list(range(len(rows)))
    for partition, part in enumerate(found):
        for key, number, text in part:
            assert (key, number) == rows[number]
            assert text == str(key)
            assert partition_of[key] == partition
