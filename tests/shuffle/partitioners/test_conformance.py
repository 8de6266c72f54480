"""The project's own partitioners keep the laws that it asks of others'; and the laws can be broken."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shuffle.partitioners import (
    CallablePartitioner,
    HashPartitioner,
    Partitioner,
    RangePartitioner,
    RoundRobinPartitioner,
)
from shuffle.testing import PartitionerConformance

ROWS = pa.table(
    {
        "key": pa.array([None if row % 7 == 3 else row * row % 101 for row in range(257)], pa.int64()),
        "text": pa.array([f"text {row % 13}" for row in range(257)]).dictionary_encode(),
    }
)


def by_remainder(batch: pa.RecordBatch) -> Any:
    return batch["key"].fill_null(0).to_numpy() % 5


def by_place(batch: pa.RecordBatch) -> Any:
    return np.arange(batch.num_rows) % 5


PARTITIONERS: dict[str, Callable[[], Partitioner]] = {
    "hash": lambda: HashPartitioner(["key", "text"], 16),
    "hash of many": lambda: HashPartitioner("text", 70_000),
    "range": lambda: RangePartitioner("key", [10, 50, 90]),
    "round robin": lambda: RoundRobinPartitioner(7, 3),
    "callable": lambda: CallablePartitioner(by_remainder, 5),
}


class TestConformance(PartitionerConformance):
    @pytest.fixture(params=PARTITIONERS)
    def partitioner(self, request: pytest.FixtureRequest) -> Partitioner:
        return PARTITIONERS[request.param]()

    @pytest.fixture
    def rows(self) -> pa.Table:
        return pa.concat_tables([ROWS.slice(0, 100), ROWS.slice(100)])


def test_one_that_depends_on_how_rows_are_cut_is_found() -> None:
    laws = PartitionerConformance()
    partitioner = CallablePartitioner(by_place, 5)
    laws.test_places_do_not_depend_on_how_rows_are_cut(partitioner, ROWS, [])
    with pytest.raises(AssertionError):
        laws.test_places_do_not_depend_on_how_rows_are_cut(partitioner, ROWS, [2, 5, 3])
