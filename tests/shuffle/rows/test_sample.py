"""A sample is uniform, repeatable, and as small as it was to be."""

import numpy as np
import pyarrow as pa
import pytest

from shuffle.rows.sample import RowSample

SCHEMA = pa.schema([("row", pa.int64()), ("text", pa.dictionary(pa.int32(), pa.string()))])


def rows_of(first: int, count: int) -> pa.RecordBatch:
    texts = pa.array([f"{first} {n % 3}" for n in range(count)]).dictionary_encode()  # of its own in each batch
    return pa.record_batch([pa.array(range(first, first + count), pa.int64()), texts], SCHEMA)


def sampled(row_count: int, batch_rows: int, most_rows: int, most_bytes: int = 1 << 30) -> pa.Table:
    sample = RowSample(SCHEMA, most_rows, most_bytes)
    for first in range(0, row_count, batch_rows):
        sample.add(rows_of(first, min(batch_rows, row_count - first)))
    return sample.rows()


@pytest.mark.parametrize(
    ("row_count", "most_rows", "size"),
    [(0, 10, 0), (1, 10, 1), (10, 10, 10), (11, 10, 10), (5000, 10, 10), (100, 1, 1)],
)
def test_the_sample_has_as_many_rows_as_there_are_or_may_be(row_count: int, most_rows: int, size: int) -> None:
    rows = sampled(row_count, 300, most_rows)["row"].to_pylist()
    assert len(set(rows)) == size
    assert rows == sorted(rows)


@pytest.mark.parametrize("batch_rows", [1, 7, 999, 20_000])
def test_the_sample_does_not_depend_on_how_rows_are_cut(batch_rows: int) -> None:
    assert sampled(3000, batch_rows, 100)["row"] == sampled(3000, 3000, 100)["row"]


def test_rows_stay_whole() -> None:
    table = sampled(5000, 700, 200)
    for row, text in zip(table["row"].to_pylist(), table["text"].to_pylist(), strict=True):
        assert text == f"{row // 700 * 700} {row % 700 % 3}"


def test_every_part_of_the_rows_has_its_share() -> None:
    rows = sampled(200_000, 10_000, 10_000)["row"].to_numpy()
    shares = np.histogram(rows, 10, (0, 200_000))[0]
    # The binomial distribution's standard deviation is 30; the seed is fixed, so this fails always or never.
    assert np.abs(shares - 1000).max() < 120


def test_rows_that_take_too_much_are_fewer() -> None:
    table = sampled(20_000, 1000, 10_000, most_bytes=20_000)
    assert table.nbytes <= 20_000
    assert 200 < table.num_rows < 2000
    rows = table["row"].to_numpy()
    assert rows.min() < 2000
    assert rows.max() > 18_000
    assert sampled(100, 50, 10, most_bytes=1).num_rows == 1
