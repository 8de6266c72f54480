"""Rows of every type through a map task, also of those that Arrow cannot sort."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shuffle import HashPartitioner, MapOptions, MapWriter, RoundRobinPartitioner
from spill_format import SpillFile
from tests.map_outputs import MIB

COUNT = 3000
TEXTS = [None if row % 7 == 0 else f"text {row}" for row in range(COUNT)]
COLUMNS = {
    "string_view": pa.array(TEXTS, pa.string_view()),
    "binary_view": pa.array([t and t.encode() * 3 for t in TEXTS], pa.binary_view()),
    "list": pa.array([[t, "b"] if t else None for t in TEXTS]),
    "list_view": pa.array([[t, "b"] if t else None for t in TEXTS], pa.list_view(pa.string_view())),
    "struct": pa.array([{"a": t, "b": row} for row, t in enumerate(TEXTS)]),
    "map": pa.array([[("k", t)] for t in TEXTS], pa.map_(pa.string(), pa.string_view())),
    "dictionary": pa.array(TEXTS).dictionary_encode(),
    "run ends": pa.RunEndEncodedArray.from_arrays(pa.array(range(2, COUNT + 1, 2), pa.int32()), pa.array(TEXTS[::2])),
    "dense union": pa.UnionArray.from_dense(
        pa.array([0, 1] * (COUNT // 2), pa.int8()),
        pa.array(np.repeat(np.arange(COUNT // 2), 2), pa.int32()),
        [pa.array(range(COUNT // 2)), pa.array(TEXTS[::2])],
    ),
    "sparse union": pa.UnionArray.from_sparse(
        pa.array([0, 1] * (COUNT // 2), pa.int8()), [pa.array(range(COUNT)), pa.array(TEXTS)]
    ),
    "union of views": pa.UnionArray.from_sparse(
        pa.array([0, 1] * (COUNT // 2), pa.int8()), [pa.array(range(COUNT)), pa.array(TEXTS, pa.string_view())]
    ),
    "decimal": pa.array(range(COUNT), pa.decimal128(38, 2)),
    "boolean": pa.array([None, True, False] * (COUNT // 3)),
    "null": pa.nulls(COUNT),
    "interval": pa.array([(1, 2, 3)] * COUNT, pa.month_day_nano_interval()),
    "fixed": pa.array([b"abc"] * COUNT, pa.binary(3)),
    "extension": pa.array([b"u" * 16] * COUNT, pa.uuid()),
    "time": pa.array(range(COUNT), pa.timestamp("ns", "Europe/Berlin")),
}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the target goes; a test leaves nothing else there."""
    directory = tmp_path / "outputs"
    directory.mkdir()
    return directory / "map.arrow"


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("memory_bytes", [MIB, 64 * MIB])
def test_every_type_comes_back(target: Path, column: pa.Array, memory_bytes: int) -> None:
    batch = pa.record_batch({"row": pa.array(range(COUNT)), "column": column})
    writes = 1 if memory_bytes > MIB else 12
    with MapWriter(target, batch.schema, RoundRobinPartitioner(30), MapOptions(memory_bytes=memory_bytes)) as writer:
        for _ in range(writes):
            writer.write(batch.slice(0, 1000))
            writer.write(batch.slice(1000))
    values = column.to_pylist() * writes
    with SpillFile(target) as output:
        output.verify()
        assert output.schema.equals(batch.schema)
        for partition in range(30):
            assert output.read(partition)["column"].to_pylist() == values[partition::30]
    # Each row once, whatever else was in its block: a frame each of 30 partitions, and for unions all values again.
    assert target.stat().st_size < 3 * writes * max(column.nbytes, 8 * COUNT) + 30 * writes * 3000


def test_dictionaries_that_differ_from_batch_to_batch(target: Path) -> None:
    kind = pa.dictionary(pa.int8(), pa.string())
    schema = pa.schema([("key", kind), ("nested", pa.list_(kind))])
    batches = []
    for number in range(6):
        keys = pa.array([f"value {number} {row % 100}" for row in range(1000)])
        encoded = keys.dictionary_encode().cast(kind)
        nested = pa.ListArray.from_arrays(pa.array(range(1001), pa.int32()), encoded)
        batches.append(pa.record_batch([encoded, nested], schema))
    with MapWriter(target, schema, HashPartitioner(["key"], 7), MapOptions(memory_bytes=MIB)) as writer:
        for batch in batches:
            writer.write(batch)
    with SpillFile(target) as output:
        assert output.schema.equals(schema)
        read = [row["key"] for partition in range(7) for row in output.read(partition).to_pylist()]
    assert sorted(read) == sorted(value for batch in batches for value in batch["key"].to_pylist())


def test_rows_without_columns_are_counted(target: Path) -> None:
    batch = pa.RecordBatch.from_struct_array(pa.array([{}] * 1000, pa.struct([])))
    with MapWriter(target, batch.schema, RoundRobinPartitioner(3), MapOptions(memory_bytes=MIB)) as writer:
        for _ in range(3):
            writer.write(batch)
    with SpillFile(target) as output:
        assert output.layout.rows is not None
        assert output.layout.rows.tolist() == [1000, 1000, 1000]
        output.verify()
