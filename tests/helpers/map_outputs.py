"""Rows for tests of map tasks, and what a map output of them must be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shuffle import MapOptions, MapWriter
from shuffle.partitioners import Partitioner
from shuffle.report import MapReport
from spill_format import SpillFile

MIB = 1 << 20
SCHEMA = pa.schema([("key", pa.int64()), ("row", pa.int64()), ("text", pa.string())])


def rows_of(count: int, *, first: int = 0, text_length: int = 20, seed: int = 4) -> pa.RecordBatch:
    """Rows with keys that repeat, their numbers, and texts of about a length, some of them null."""
    generator = np.random.default_rng([seed, first])
    texts = pa.array([None if number % 11 == 0 else "t" * (number % (2 * text_length + 1)) for number in range(count)])
    return pa.record_batch([generator.integers(0, 10_000, count), np.arange(first, first + count), texts], SCHEMA)


def batches_of(count: int, batch_rows: int, **arguments: Any) -> Iterator[pa.RecordBatch]:
    for first in range(0, count, batch_rows):
        yield rows_of(min(batch_rows, count - first), first=first, **arguments)


def write_all(
    target: Path, batches: list[pa.RecordBatch], partitioner: Partitioner, **options: Any
) -> tuple[MapReport, list[pa.RecordBatch]]:
    with MapWriter(target, batches[0].schema, partitioner, MapOptions(**options)) as writer:
        for batch in batches:
            writer.write(batch)
    assert writer.report is not None
    return writer.report, batches


def assert_partitioned(target: Path, batches: list[pa.RecordBatch], partitioner: Partitioner) -> None:
    """The file is sound, and holds in each partition the rows that the partitioner names, in the order given."""
    table = pa.Table.from_batches(batches)
    numbers = np.concatenate([partitioner.partition_numbers(batch) for batch in batches])
    with SpillFile(target) as output:
        output.verify()
        assert output.schema.equals(table.schema)
        assert output.layout.rows is not None
        np.testing.assert_array_equal(output.layout.rows, np.bincount(numbers, minlength=output.partition_count))
        order = np.argsort(numbers, kind="stable")
        read = output.read(0, output.partition_count)
        read.validate(full=True)
        assert read["row"].to_numpy().tolist() == table["row"].to_numpy()[order].tolist()
        assert read.sort_by("row").equals(table.sort_by("row"))
