"""The caller's own function as a partitioner, its answers checked before any row is placed by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuffle.partitioners.protocol import PartitionNumbers, check_partition_count, empty_partition_numbers


class CallablePartitioner:
    """Places rows by ``function``, which gets a record batch and answers one partition number a row.

    The answer may be a numpy array, an Arrow array without nulls or a sequence of ints; of any integer type.
    """

    def __init__(self, function: Callable[[pa.RecordBatch], Any], partition_count: int) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, not {function!r}")
        self.function = function
        self.partition_count: int = check_partition_count(partition_count)

    def __repr__(self) -> str:
        return f"CallablePartitioner({self.function!r}, {self.partition_count})"

    def check_schema(self, schema: pa.Schema) -> None:
        """Accept any schema: only the function knows which columns it needs."""

    def partition_numbers(self, batch: pa.RecordBatch) -> PartitionNumbers:
        """Call the function, and return its answer, copied and checked.

        TypeError if it is not of an integer type; ValueError, naming the first such row, if its length is not
        ``batch.num_rows``, or a number is null or outside ``0 … partition_count - 1``.
        """
        answer = _as_numpy(self.function(batch))
        if answer.shape != (batch.num_rows,):
            raise ValueError(
                f"the partition function must answer one number for each of {batch.num_rows} rows, "
                f"not an array of shape {answer.shape}"
            )
        # An empty list has no dtype of its own: numpy calls it float64.
        if answer.dtype.kind not in "iu" and answer.size:
            raise TypeError(f"the partition function must answer integers, not {answer.dtype}")
        outside = (answer < 0) | (answer >= self.partition_count)
        if outside.any():
            row = int(outside.argmax())
            raise ValueError(
                f"the partition function answered {answer[row]} for row {row}: "
                f"partitions are numbered 0 to {self.partition_count - 1}"
            )
        numbers = empty_partition_numbers(batch.num_rows, self.partition_count)
        numbers[:] = answer
        return numbers


def _as_numpy(answer: Any) -> npt.NDArray[Any]:
    if isinstance(answer, pa.ChunkedArray):
        answer = answer.combine_chunks()
    if isinstance(answer, pa.Array):
        if answer.null_count:
            row = answer.is_null().index(True).as_py()
            raise ValueError(f"the partition function answered null for row {row}")
        return np.asarray(answer.to_numpy(zero_copy_only=False))
    return np.asarray(answer)
