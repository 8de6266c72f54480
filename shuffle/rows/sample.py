"""A uniform sample of rows whose number is not known beforehand, in bounded memory: for the bounds of ranges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_SEED = 0  # the same rows give the same sample, hence the same output


class RowSample:
    """The rows with the smallest of random numbers, one drawn for each row: all are equally likely to be among them.

    Which rows these are depends on their order, and not on how they are cut into batches, unless they had to be made
    fewer for their size.

    Args:
        schema: of the rows.
        most_rows: the most rows in the sample.
        most_bytes: memory for the rows; the sample has fewer rows where they would take more.
    """

    def __init__(self, schema: pa.Schema, most_rows: int, most_bytes: int) -> None:
        self._schema = schema
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._random = np.random.default_rng(_SEED)
        self._limit = 1.0  # rows of greater numbers would be thrown away
        self._rows: list[pa.RecordBatch] = []
        self._numbers: list[npt.NDArray[np.float64]] = []
        self._row_count = self._byte_count = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take what the sample needs of these rows; the batch is not kept."""
        numbers = self._random.random(batch.num_rows)
        (chosen,) = np.nonzero(numbers < self._limit)
        if not len(chosen):
            return
        self._keep(batch.take(pa.array(chosen)), numbers[chosen])
        if self._row_count > 2 * self._most_rows:
            self._shrink()
        while self._byte_count > self._most_bytes and self._row_count > 1:
            self._most_rows = max(min(self._most_rows, self._row_count) // 2, 1)
            self._shrink()

    def rows(self) -> pa.Table:
        """The sample, in the order of the rows."""
        if self._row_count > self._most_rows:
            self._shrink()
        return pa.Table.from_batches(self._rows, self._schema)

    def _keep(self, rows: pa.RecordBatch | pa.Table, numbers: npt.NDArray[np.float64]) -> None:
        self._rows += rows.to_batches() if isinstance(rows, pa.Table) else [rows]
        self._numbers.append(numbers)
        self._row_count += rows.num_rows
        self._byte_count += rows.nbytes

    def _shrink(self) -> None:
        rows, numbers = pa.Table.from_batches(self._rows, self._schema), np.concatenate(self._numbers)
        chosen = np.sort(np.argpartition(numbers, self._most_rows)[: self._most_rows])
        self._limit = float(numbers[chosen].max())
        self._rows, self._numbers, self._row_count, self._byte_count = [], [], 0, 0
        self._keep(rows.take(pa.array(chosen)), numbers[chosen])
