"""The caller's function, and what it may not answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from shuffle.partitioners import CallablePartitioner

BATCH = pa.record_batch({"key": pa.array([10, 21, 32, 43])})


@pytest.mark.parametrize(
    "answer",
    [
        [0, 1, 2, 3],
        np.array([0, 1, 2, 3], np.int8),
        np.array([0, 1, 2, 3], np.uint64),
        pa.array([0, 1, 2, 3], pa.int16()),
        pa.chunked_array([[0, 1], [2, 3]], pa.int64()),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_any_array_of_integers_is_an_answer(answer: Any) -> None:
    numbers = CallablePartitioner(lambda _: answer, 4).partition_numbers(BATCH)
    assert numbers.tolist() == [0, 1, 2, 3]
    assert numbers.dtype == np.uint16


def test_the_function_sees_the_batch() -> None:
    partitioner = CallablePartitioner(lambda batch: pc.bit_wise_and(batch["key"], 3), 4)
    assert partitioner.partition_numbers(BATCH).tolist() == [2, 1, 0, 3]


def test_the_answer_is_copied() -> None:
    answer = np.array([0, 1, 2, 3], np.uint16)
    CallablePartitioner(lambda _: answer, 4).partition_numbers(BATCH)[:] = 0
    assert answer.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ([0, 1, 4, 5], ValueError, "answered 4 for row 2: partitions are numbered 0 to 3"),
        ([0, -1, 4, 0], ValueError, "answered -1 for row 1: partitions are numbered 0 to 3"),
        (np.array([0, 0, 0, 2**63], np.uint64), ValueError, f"answered {2**63} for row 3"),
        (np.array([2**16, 0, 0, 0]), ValueError, "answered 65536 for row 0"),
        (pa.array([0, None, 0, None]), ValueError, "answered null for row 1"),
        (pa.chunked_array([[0, 1], [2, None]]), ValueError, "answered null for row 3"),
        ([0, 1, 2], ValueError, r"each of 4 rows, not an array of shape \(3,\)"),
        ([], ValueError, r"each of 4 rows, not an array of shape \(0,\)"),
        (np.zeros((4, 1), np.int64), ValueError, r"not an array of shape \(4, 1\)"),
        (0, ValueError, r"not an array of shape \(\)"),
        ([0.0, 1.0, 2.0, 3.0], TypeError, "integers, not float64"),
        ([True, False, True, False], TypeError, "integers, not bool"),
        (["0", "1", "2", "3"], TypeError, "integers, not <U1"),
        (pa.array([0.0, 1.0, 2.0, 3.0]), TypeError, "integers, not float64"),
        (None, ValueError, "not an array of shape"),
    ],
    ids=str,
)
def test_a_wrong_answer_is_refused(answer: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CallablePartitioner(lambda _: answer, 4).partition_numbers(BATCH)


def test_an_empty_list_answers_an_empty_batch() -> None:
    assert CallablePartitioner(lambda _: [], 4).partition_numbers(BATCH.slice(0, 0)).shape == (0,)


def test_what_cannot_be_called_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="function must be callable"):
        CallablePartitioner([0, 1], 4)  # type: ignore[arg-type]
