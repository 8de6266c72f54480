"""What partitioners say of themselves: alike where they place equal keys alike, and different where they do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from shuffle import CallablePartitioner, HashPartitioner, RangePartitioner, RoundRobinPartitioner
from shuffle.partitioners.protocol import Partitioner, describe
from spill_format.partitioner import PartitionerDescription, describe_mixture, describe_separation

SCHEMA = pa.schema([("n", pa.int64()), ("t", pa.string())])


def described(partitioner: Partitioner, data_type: pa.DataType | None = None) -> PartitionerDescription:
    schema = SCHEMA if data_type is None else pa.schema([("n", data_type)])
    description = describe(partitioner, schema)
    assert description is not None
    return description


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        (pa.int8(), pa.int32(), True),
        (pa.int32(), pa.int64(), False),
        (pa.uint32(), pa.int64(), True),
        (pa.uint64(), pa.int64(), False),
        (pa.float16(), pa.float32(), True),
        (pa.float32(), pa.float64(), False),
        (pa.string(), pa.large_string(), True),
        (pa.string(), pa.dictionary(pa.int8(), pa.string_view()), True),
        (pa.timestamp("s"), pa.timestamp("ns", "UTC"), True),
        (pa.decimal128(10, 2), pa.decimal128(18, 2), True),
        (pa.decimal128(10, 2), pa.decimal128(10, 3), False),
        (pa.decimal128(18, 2), pa.decimal128(19, 2), False),
        (pa.list_(pa.int8()), pa.large_list(pa.int32()), True),
        (pa.struct([("a", pa.int32())]), pa.struct([("b", pa.int64())]), False),
        (pa.map_(pa.string(), pa.int32()), pa.map_(pa.string(), pa.int32()), True),
        (pa.date32(), pa.date64(), True),
        (pa.bool_(), pa.null(), False),
        (pa.binary(), pa.binary(3), True),
        (pa.time32("s"), pa.time64("ns"), True),
        (pa.duration("s"), pa.duration("us"), True),
    ],
)
def test_types_are_sparks_where_rows_are_hashed(first: pa.DataType, second: pa.DataType, alike: bool) -> None:
    descriptions = [described(HashPartitioner("n", 8), data_type) for data_type in (first, second)]
    assert (describe_separation(*descriptions) is None) == alike
    assert (describe_mixture(*descriptions) is None) == alike


CASES: list[tuple[str, Callable[[], Any], Callable[[], Any], str | None]] = [
    ("columns", lambda: HashPartitioner("n", 8), lambda: HashPartitioner("t", 8), "types of keys bigint and string"),
    ("kinds", lambda: HashPartitioner("n", 8), lambda: RangePartitioner("n", range(7)), "kinds hash and range"),
    ("counts", lambda: HashPartitioner("n", 8), lambda: HashPartitioner("n", 9), "numbers of partitions 8 and 9"),
    ("bounds", lambda: RangePartitioner("n", [1, 2]), lambda: RangePartitioner("n", [1, 3]), "bounds"),
    ("equal bounds", lambda: RangePartitioner("n", [1, 2]), lambda: RangePartitioner("n", pa.array([1, 2])), None),
    (
        "narrow bounds",
        lambda: RangePartitioner("n", [1]),
        lambda: RangePartitioner("n", pa.array([1], pa.int8())),
        None,
    ),
    (
        "directions",
        lambda: RangePartitioner("n", [1]),
        lambda: RangePartitioner("n", [1], descending=True),
        "descending",
    ),
    ("turns", lambda: RoundRobinPartitioner(8), lambda: RoundRobinPartitioner(8, start=3), None),
]


@pytest.mark.parametrize(("first", "second", "difference"), [case[1:] for case in CASES])
def test_partitioners_differ_in_words(
    first: Callable[[], Partitioner], second: Callable[[], Partitioner], difference: str | None
) -> None:
    found = describe_mixture(described(first()), described(second()))
    assert found is None if difference is None else difference in str(found)


def test_rows_in_turn_are_not_placed_by_value() -> None:
    turns = described(RoundRobinPartitioner(8))
    assert "something else than their values" in str(describe_separation(turns, turns))


def test_a_function_says_nothing_of_itself() -> None:
    assert describe(CallablePartitioner(lambda batch: [0] * batch.num_rows, 2), SCHEMA) is None
