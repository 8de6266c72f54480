"""Rows go where columns say that are not written."""

from pathlib import Path

import pyarrow as pa
import pytest

from shuffle import HashPartitioner, MapOptions, MapWriter
from shuffle.rows.projection import Projection
from spill_format import SpillFile

ROWS = pa.record_batch({"key": range(50_000), "text": [f"row {n}" for n in range(50_000)], "more": [1.5] * 50_000})


@pytest.mark.parametrize("batch_rows", [1, 1000, 50_000])
@pytest.mark.parametrize("columns", [["text"], ["more", "text"], ["key"]])
def test_rows_go_where_all_their_columns_say(tmp_path: Path, batch_rows: int, columns: list[str]) -> None:
    rows = ROWS if batch_rows > 1 else ROWS.slice(0, 300)
    partitioner = HashPartitioner(["key"], 5)
    projection = Projection(partitioner, ROWS.schema, columns)
    target = tmp_path / "out.arrow"
    with MapWriter(target, projection.schema, projection, MapOptions(memory_bytes=1 << 20)) as writer:
        for first in range(0, rows.num_rows, batch_rows):
            writer.write(projection.written(rows.slice(first, batch_rows)))
    numbers = partitioner.partition_numbers(rows)
    with SpillFile(target) as output:
        for partition in range(5):
            expected = pa.Table.from_batches([rows]).filter(pa.array(numbers == partition)).select(columns)
            assert output.read(partition) == expected


def test_the_partitioner_is_asked_about_all_columns() -> None:
    projection = Projection(HashPartitioner(["gone"], 5), ROWS.schema, ["text"])
    assert projection.schema == pa.schema([("text", pa.string())])
    with pytest.raises(ValueError, match="no column 'gone' to partition by; the columns are: 'key', 'text', 'more'"):
        projection.check_schema(projection.schema)
