"""What every partitioner must do, as a class of tests for the authors of one."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest

from shuffle.partitioners import Partitioner

_PIECES: tuple[list[int], ...] = ([], [1], [0, 1], [1, 1, 1], [7], [2, 5, 3])
"""Where rows are cut: lengths of the first pieces, over and over."""


class PartitionerConformance:
    """The laws of a partitioner, as tests of pytest.

    A test class that inherits the laws says which partitioner it is, and which rows it places::

    class TestMyPartitioner(PartitionerConformance):
        @pytest.fixture
        def partitioner(self):
            return MyPartitioner(["user_id"], 16)

        @pytest.fixture
        def rows(self):
            return pa.table({"user_id": range(1000)})

    The fixture ``partitioner`` makes a new partitioner for each test, since one may count the rows that it placed.
    """

    @pytest.fixture
    def partitioner(self) -> Partitioner:
        """Return a new partitioner. To be overridden."""
        raise NotImplementedError

    @pytest.fixture
    def rows(self) -> pa.Table:
        """Return rows that the partitioner places, nulls among them where it takes nulls. To be overridden."""
        raise NotImplementedError

    def test_every_row_is_placed_in_a_partition_that_exists(self, partitioner: Partitioner, rows: pa.Table) -> None:
        partitioner.check_schema(rows.schema)
        numbers = _placed(partitioner, rows)
        assert numbers.shape == (rows.num_rows,)
        assert numbers.dtype == (np.uint16 if partitioner.partition_count <= 1 << 16 else np.uint32)
        assert not rows.num_rows or int(numbers.max()) < partitioner.partition_count

    @pytest.mark.parametrize("pieces", _PIECES, ids=str)
    def test_places_do_not_depend_on_how_rows_are_cut(
        self, partitioner: Partitioner, rows: pa.Table, pieces: list[int]
    ) -> None:
        again = pickle.loads(pickle.dumps(partitioner))
        whole = _placed(partitioner, rows)
        parts, start = [], 0
        while start < rows.num_rows:
            for length in pieces or [rows.num_rows]:
                parts.append(_placed(again, rows.slice(start, length)))
                start += length
        np.testing.assert_array_equal(np.concatenate([np.empty(0, whole.dtype), *parts]), whole)

    def test_places_do_not_depend_on_other_columns(self, partitioner: Partitioner, rows: pa.Table) -> None:
        again = pickle.loads(pickle.dumps(partitioner))
        wider = rows.add_column(0, "a column that is not a key", pa.nulls(rows.num_rows, pa.int8()))
        np.testing.assert_array_equal(_placed(again, wider), _placed(partitioner, rows))

    def test_a_partitioner_that_is_pickled_places_alike(self, partitioner: Partitioner, rows: pa.Table) -> None:
        again = pickle.loads(pickle.dumps(partitioner))
        assert again.partition_count == partitioner.partition_count
        np.testing.assert_array_equal(_placed(again, rows), _placed(partitioner, rows))


def _placed(partitioner: Partitioner, rows: pa.Table) -> np.ndarray:
    numbers = [partitioner.partition_numbers(batch) for batch in rows.to_batches() if batch.num_rows]
    return np.concatenate(numbers) if numbers else np.empty(0, np.uint16)
