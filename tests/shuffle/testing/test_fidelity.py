"""A value that its column would change is refused, wherever plain values are given; so is a null where none may be."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shuffle.testing import assert_same_rows, write_spill

MOMENT = dt.datetime(2024, 5, 6, 7, 8, 9, 123456)  # noqa: DTZ001 -- of no zone
EAST = dt.timezone(dt.timedelta(hours=2))
POINT = pa.struct([pa.field("x", pa.int64(), nullable=False)])

CHANGED: dict[str, tuple[Any, pa.DataType]] = {
    "a fraction as an integer": ([1.9], pa.int64()),
    "a fraction of numpy": ([np.float64(1.9)], pa.int64()),
    "a fraction in a list": ([[1, 1.5]], pa.list_(pa.int64())),
    "a fraction in a struct": ([{"x": 1.5}], pa.struct([("x", pa.int64())])),
    "a fraction in a tuple": ([(1.5,)], pa.struct([("x", pa.int64())])),
    "a fraction in a map": ([{"x": 1.5}], pa.map_(pa.string(), pa.int64())),
    "a fraction in a dictionary": ([1.5], pa.dictionary(pa.int8(), pa.int64())),
    "a decimal fraction": ([Decimal("1.5")], pa.int64()),
    "a scalar's fraction": ([pa.scalar(1.5)], pa.int64()),
    "a number beyond float": ([1e300], pa.float32()),
    "a moment as its day": ([MOMENT], pa.date32()),
    "a midnight as its day": ([dt.datetime.combine(MOMENT, dt.time())], pa.date64()),
    "a moment without its microseconds": ([MOMENT], pa.timestamp("ms")),
    "a moment without its zone": ([MOMENT.replace(tzinfo=EAST)], pa.timestamp("us")),
    "a time without its microseconds": ([MOMENT.time()], pa.time32("s")),
    "a length without its microseconds": ([dt.timedelta(microseconds=5)], pa.duration("s")),
    "a field that a struct lacks": ([{"x": 1, "y": 2}], pa.struct([("x", pa.int64())])),
    "an array of moments": (pa.array([MOMENT]), pa.date32()),
    "an array of moments as times": (pa.array([MOMENT]), pa.time64("us")),
    "an array of numbers as truths": (pa.array([2]), pa.bool_()),
    "chunks of moments": (pa.chunked_array([[MOMENT]]), pa.date32()),
}
KEPT: dict[str, tuple[Any, pa.DataType]] = {
    "a whole float": ([1.0], pa.int64()),
    "an integer": ([1], pa.float64()),
    "rounding": ([0.1], pa.float32()),
    "nothing and infinity": ([float("nan"), float("-inf"), None], pa.float32()),
    "units": ([5], pa.timestamp("ns")),
    "nanoseconds": ([1], pa.duration("ns")),
    "a moment in a zone": ([MOMENT.replace(tzinfo=EAST)], pa.timestamp("us", "UTC")),
    "a moment of UTC": ([MOMENT], pa.timestamp("us", "Europe/Berlin")),
    "a whole decimal": ([3, Decimal("1.50")], pa.decimal128(10, 2)),
    "text as bytes": (["a"], pa.binary()),
    "fields that are missing": ([{}, None], pa.struct([("x", pa.int64())])),
    "pairs": ([[("x", 1)]], pa.map_(pa.string(), pa.int64())),
    "a wider array": (pa.array([1], pa.int8()), pa.int64()),
}
NULLS: dict[str, tuple[Any, pa.Field]] = {
    "a null": ([1, None], pa.field("c", pa.int64(), nullable=False)),
    "a null within": ([{"x": 1}, {"x": None}], pa.field("c", POINT)),
    "a null in an array": (pa.array([1, None]), pa.field("c", pa.int64(), nullable=False)),
}


@pytest.mark.parametrize(("values", "data_type"), CHANGED.values(), ids=CHANGED)
def test_a_value_that_would_be_changed_is_refused(tmp_path: Path, values: Any, data_type: pa.DataType) -> None:
    with pytest.raises(ValueError, match=r"partition 3, (row 0, )?column 'c': (.* is no |values of type .* are no )"):
        write_spill({3: {"c": values}}, tmp_path / "a.arrow", schema=pa.schema([("c", data_type)]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("values", "data_type"), KEPT.values(), ids=KEPT)
def test_a_value_that_is_the_same_in_its_column_is_taken(spill_dir: Path, values: Any, data_type: pa.DataType) -> None:
    write_spill({3: {"c": values}}, spill_dir / "a.arrow", schema=pa.schema([("c", data_type)]))


@pytest.mark.parametrize(("values", "field"), NULLS.values(), ids=NULLS)
def test_a_null_where_none_may_be_is_refused(tmp_path: Path, values: Any, field: pa.Field) -> None:
    with pytest.raises(ValueError, match="partition 0, row 1, column 'c': the schema says that there are no nulls"):
        write_spill({0: {"c": values}}, tmp_path / "a.arrow", schema=pa.schema([field]))


def test_a_null_in_a_batch_where_none_may_be_is_refused(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("c", pa.int64(), nullable=False)])
    with pytest.raises(ValueError, match="the schema says that there are no nulls"):
        write_spill({0: pa.record_batch([pa.array([None], pa.int64())], schema=schema)}, tmp_path / "a.arrow")


def test_no_value_equals_its_truncation(spill_dir: Path) -> None:
    path = write_spill({0: {"n": [1], "day": [MOMENT.date()]}}, spill_dir / "a.arrow")
    for row in ({"n": 1.5, "day": MOMENT.date()}, {"n": 1, "day": MOMENT}):
        with pytest.raises(ValueError, match="it would become"):
            assert_same_rows(path, {0: [row]})
