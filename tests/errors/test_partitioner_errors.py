"""Errors of partitioners: the column, its type, the row or the bound that is at fault, and what may be given."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from shuffle import HashPartitioner, MapWriter, RangePartitioner, run
from shuffle.partitioners.callable import CallablePartitioner
from shuffle.partitioners.spark_hash import hash_node
from tests.errors.rows import Raised, Row, each_row, wrong

ROWS = pa.table({"key": [1, 2], "text": ["a", "b"]})


def answering(answer: object) -> object:
    """What becomes of a partition function that answers this for two rows."""
    return CallablePartitioner(lambda _batch: answer, 4).partition_numbers(ROWS.to_batches()[0])


TABLE: list[Row] = [
    Raised(
        TypeError,
        "partitioner must be one such as HashPartitioner(['user_id'], 200), not 'user_id'",
        lambda directory: MapWriter(directory / "a.arrow", pa.schema([]), wrong("user_id")),
    ),
    Raised(
        TypeError,
        "partitioner must be one such as HashPartitioner(['user_id'], 200), not <class …>",
        lambda _: run([], wrong(None), wrong(HashPartitioner), wrong(None)),
    ),
    Raised(TypeError, "the partition function must answer integers, not float64", lambda _: answering(np.zeros(2))),
    Raised(
        ValueError,
        "column 'm' cannot be hashed: Spark's hash has no type for",
        lambda _: HashPartitioner("m", 4).check_schema(pa.schema([("m", pa.month_day_nano_interval())])),
    ),
    Raised(
        ValueError,
        "column 'm' cannot be hashed: Spark's hash has no type for",
        lambda _: HashPartitioner("m", 4).check_schema(pa.schema([("m", pa.list_(pa.month_day_nano_interval()))])),
    ),
    Raised(
        ValueError,
        "Spark's hash has no type for month_day_nano_interval",
        lambda _: hash_node(pa.array([], pa.month_day_nano_interval())),
    ),
    Raised(ValueError, "the bounds of a column must be of one type: …", lambda _: RangePartitioner("key", [1, "x"])),
]


@each_row(TABLE)
def test_what_an_error_says(row: Row, tmp_path: Path) -> None:
    row.check(tmp_path)
