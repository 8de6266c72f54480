"""Errors of partitioners: the column, its type, the row or the bound that is at fault, and what may be given."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from shuffle import (
    HashPartitioner,
    MapWriter,
    RangePartitioner,
    RoundRobinPartitioner,
    run,
)
from shuffle.mapping.sorted_block import check_partition_numbers
from shuffle.partitioners.callable import CallablePartitioner
from shuffle.partitioners.spark_hash import hash_node
from tests.errors.rows import Provoked, Raised, Table, each_row, wrong

ROWS = pa.table({"key": [1, 2], "text": ["a", "b"]})


def answering(answer: object) -> object:
    """What becomes of a partition function that answers this for two rows."""
    return CallablePartitioner(lambda _batch: answer, 4).partition_numbers(ROWS.to_batches()[0])


TABLE: Table = {
    "shuffle/partitioners/callable.py": [
        Raised(TypeError, "function must be callable, not 'x'", lambda _: CallablePartitioner(wrong("x"), 4)),
        Raised(
            ValueError,
            "the partition function must answer one number for each of 2 rows, not an array of shape (3,)",
            lambda _: answering(np.zeros(3, dtype=np.int64)),
        ),
        Raised(
            TypeError,
            "the partition function must answer integers, not float64",
            lambda _: answering(np.zeros(2)),
        ),
        Raised(
            ValueError,
            "the partition function answered 4 for row 1: partitions are numbered 0 to 3",
            lambda _: answering(np.array([3, 4])),
        ),
        Raised(ValueError, "the partition function answered null for row 1", lambda _: answering(pa.array([0, None]))),
    ],
    "shuffle/partitioners/hash.py": [
        Raised(
            ValueError,
            "column 'm' cannot be hashed: Spark's hash has no type for month_day_nano_interval",
            lambda _: HashPartitioner("m", 4).check_schema(pa.schema([("m", pa.month_day_nano_interval())])),
        ),
        Raised(
            ValueError,
            "column 'm' cannot be hashed: Spark's hash has no type for month_day_nano_interval "
            "(in list<item: month_day_nano_interval>)",
            lambda _: HashPartitioner("m", 4).check_schema(pa.schema([("m", pa.list_(pa.month_day_nano_interval()))])),
        ),
    ],
    "shuffle/partitioners/spark_hash.py": [
        Raised(
            ValueError,
            "Spark's hash has no type for month_day_nano_interval",
            lambda _: hash_node(pa.array([], pa.month_day_nano_interval())),
        ),
    ],
    "shuffle/partitioners/protocol.py": [
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
        Raised(TypeError, "partition_count must be an integer, not '4'", lambda _: HashPartitioner("key", wrong("4"))),
        Raised(TypeError, "partition_count must be an integer, not True", lambda _: HashPartitioner("key", True)),
        Raised(ValueError, "partition_count must be from 1 to 2147483647, not 0", lambda _: HashPartitioner("key", 0)),
        Raised(
            TypeError, "a column to partition by is named by a string, not 7", lambda _: HashPartitioner(wrong([7]), 4)
        ),
        Raised(ValueError, "at least one column to partition by is needed", lambda _: HashPartitioner([], 4)),
        Raised(
            ValueError,
            "column 'key' is ambiguous: 2 columns have this name",
            lambda _: HashPartitioner("key", 4).check_schema(pa.schema([("key", pa.int64()), ("key", pa.int64())])),
        ),
        Raised(
            ValueError,
            "no column 'kye' to partition by; the columns are: 'key', 'text'",
            lambda _: HashPartitioner("kye", 4).check_schema(ROWS.schema),
        ),
    ],
    "shuffle/partitioners/range.py": [
        Raised(
            ValueError,
            "3 bounds separate more than 2 partitions",
            lambda _: RangePartitioner("key", [1, 2, 3], partition_count=2),
        ),
        Raised(
            ValueError,
            "bounds must be sorted: bound 2, (1,), sorts before bound 1, (3,)",
            lambda _: RangePartitioner("key", [2, 3, 1]),
        ),
        Raised(
            ValueError,
            "descending must be one bool, or one for each of 1 columns, not 2",
            lambda _: RangePartitioner("key", [1], descending=[True, False]),
        ),
        Raised(
            TypeError, "nulls_first must be bool, not 1", lambda _: RangePartitioner("key", [1], nulls_first=wrong([1]))
        ),
        Raised(
            ValueError,
            "column 'm' cannot be partitioned by range: values of type list<item: int64> are not sortable",
            lambda _: RangePartitioner("m", pa.table({"m": [[1], [2]]})),
        ),
        Raised(
            ValueError,
            "bound 1 has 1 values for 2 columns: (2,)",
            lambda _: RangePartitioner(["a", "b"], [(1, 2), (2,)]),
        ),
        Raised(
            ValueError,
            "an array holds bounds of one column, not of 2",
            lambda _: RangePartitioner(["a", "b"], pa.array([1, 2])),
        ),
        Raised(
            ValueError,
            "the bounds of a column must be of one type: …",
            lambda _: RangePartitioner("key", [1, "x"]),
        ),
        Raised(
            ValueError,
            "the bounds of column 'key', of type string, cannot be int64: …",
            lambda _: RangePartitioner("key", ["x"]).check_schema(ROWS.schema),
        ),
    ],
    "shuffle/partitioners/round_robin.py": [
        Raised(TypeError, "start must be an integer, not '1'", lambda _: RoundRobinPartitioner(4, wrong("1"))),
    ],
    "shuffle/mapping/sorted_block.py": [
        Raised(
            ValueError,
            "2 rows need as many partition numbers, not an array of (3,)",
            lambda _: check_partition_numbers(np.zeros(3, dtype=np.uint16), 2, 4),
        ),
        Raised(
            ValueError,
            "partition numbers must be uint16 or uint32, not int64",
            lambda _: check_partition_numbers(wrong(np.zeros(2, dtype=np.int64)), 2, 4),
        ),
        Raised(
            ValueError,
            "row 1 has partition number 4: there are 4, from 0",
            lambda _: check_partition_numbers(np.array([3, 4], dtype=np.uint16), 2, 4),
        ),
    ],
}


@each_row(TABLE)
def test_what_an_error_says(row: Provoked, tmp_path: Path) -> None:
    row.check(tmp_path)
