"""Rows of every type through a map task, also of those that Arrow cannot sort."""

from pathlib import Path

import pyarrow as pa
import pytest

from shuffle import HashPartitioner, MapOptions, MapWriter, RoundRobinPartitioner
from spill_format import SpillFile
from tests.helpers.columns import COLUMNS, COUNT
from tests.helpers.map_outputs import MIB


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
