"""Two files are the same where every partition holds the same rows; the first difference is named."""

from __future__ import annotations

import math
from pathlib import Path

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given

from shuffle.inspecting.comparison import Difference, diff
from shuffle.testing import write_spill
from tests.helpers.spills import flat_batch, random_spill

TYPES = {
    "integers": (pa.int32(), [1, 2, 2, None, 3]),
    "floats": (pa.float64(), [1.5, math.nan, math.inf, None, -0.5]),
    "strings": (pa.string(), ["a", "b", "", None, "b"]),
    "string views": (pa.string_view(), ["a", "b", "", None, "longer than a view holds"]),
    "binaries": (pa.binary(), [b"a", b"\xff", b"", None, b"b"]),
    "booleans": (pa.bool_(), [True, False, None, True, False]),
    "decimals": (pa.decimal128(5, 2), [1, 2, None, 3, 4]),
    "timestamps": (pa.timestamp("ns"), [1, 2, None, 10**18 + 1, 10**18]),
    "half floats": (pa.float16(), [1.0, math.nan, None, 0.5, 2.0]),
    "lists": (pa.list_(pa.float64()), [[1], [1, math.nan], [], None, [None]]),
    "structs": (pa.struct([("x", pa.int8())]), [{"x": 1}, {"x": None}, None, {"x": 2}, {"x": 3}]),
    "maps": (pa.map_(pa.string(), pa.int8()), [[("a", 1)], [], None, [("b", 2)], [("a", 2)]]),
    "dictionaries": (pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a", None, "c"]),
    "nulls": (pa.null(), [None] * 5),
    "extensions": (pa.uuid(), [bytes(16), b"x" * 16, None, b"y" * 16, b"x" * 16]),
}


def column_of(data_type: pa.DataType, values: list[object]) -> pa.RecordBatch:
    if pa.types.is_dictionary(data_type):
        array = pa.array(values).dictionary_encode().cast(data_type)
    elif isinstance(data_type, pa.BaseExtensionType):
        array = data_type.wrap_array(pa.array(values, data_type.storage_type))
    else:
        array = pa.array(values, data_type)
    return pa.record_batch([array], names=["c"])


def file_of(path: Path, *batches: pa.RecordBatch) -> Path:
    path.unlink(missing_ok=True)
    return write_spill({1: batches}, path, schema=batches[0].schema, partition_count=3)


@pytest.mark.parametrize(("data_type", "values"), TYPES.values(), ids=TYPES.keys())
def test_values_of_every_type_are_compared(tmp_path: Path, data_type: pa.DataType, values: list[object]) -> None:
    one = file_of(tmp_path / "a.arrow", column_of(data_type, values))
    same = file_of(tmp_path / "b.arrow", column_of(data_type, values[:2]), column_of(data_type, values[2:]))
    turned = file_of(tmp_path / "c.arrow", column_of(data_type, values[::-1]))
    assert diff(one, same).difference is None
    assert diff(one, same, any_order=True).difference is None
    assert diff(one, turned, any_order=True).difference is None
    if data_type != pa.null():
        other = file_of(tmp_path / "d.arrow", column_of(data_type, [*values[:4], values[0]]))
        in_order = diff(one, other).difference
        in_any_order = diff(one, other, any_order=True).difference
        assert in_order is not None
        assert (in_order.partition, in_order.row, in_order.column) == (1, 4, "c")
        assert in_any_order is not None
        assert (in_any_order.partition, in_any_order.row) == (1, values.index(values[4]))


def test_a_difference_names_values(tmp_path: Path) -> None:
    one = write_spill({0: [flat_batch(3)], 1: [flat_batch(4)]}, tmp_path / "a.arrow", partition_count=2)
    changed = flat_batch(4).to_pylist()
    changed[2]["n"] = 9
    changed[3]["s"] = "other"
    other = write_spill(
        {0: [flat_batch(3)], 1: [pa.RecordBatch.from_pylist(changed, flat_batch(1).schema)]},
        tmp_path / "b.arrow",
        partition_count=2,
    )
    assert str(diff(one, other).difference) == "partition 1, row 2, column n: 2 in the first, 9 in the second"
    assert str(diff(one, other, any_order=True).difference) == (
        "partition 1, row 2: this row of the first is missing 1 times in the other: n 2, s None"
    )


@pytest.mark.parametrize(
    ("rows", "other_rows", "difference"),
    [
        ([1, 2], [1, 2, 3], "numbers of partitions: 2 in the first, 3 in the second"),
        ([0, 0], [0, 0], None),
        ([0, 5], [0, 0], "partition 1, row 0: 5 rows in the first, 0 in the second, which are alike as far as they go"),
    ],
)
def test_counts_are_compared(tmp_path: Path, rows: list[int], other_rows: list[int], difference: str | None) -> None:
    one = random_spill(tmp_path / "a.arrow", rows)
    other = random_spill(tmp_path / "b.arrow", other_rows)
    found = diff(one, other).difference
    assert (None if found is None else str(found)) == difference


def test_schemas_are_compared(tmp_path: Path) -> None:
    one = random_spill(tmp_path / "a.arrow", [1])
    other = random_spill(
        tmp_path / "b.arrow", [1], schema=pa.schema([("key", pa.int64()), ("text", pa.large_string())])
    )
    assert diff(one, other).difference == Difference(
        problem="schemas: in the second column text is large_string, not string"
    )


def test_alignment_batches_and_compression_do_not_count(tmp_path: Path) -> None:
    one = write_spill({1: [flat_batch(6)]}, tmp_path / "a.arrow", partition_count=2)
    other = write_spill(
        {1: [flat_batch(2), flat_batch(4, 2)]},
        tmp_path / "b.arrow",
        partition_count=2,
        compression="lz4",
        alignment=4096,
    )
    assert diff(one, other).difference is None


@pytest.mark.parametrize("data_type", [pa.float16(), pa.float32(), pa.float64()])
def test_negative_zero_is_zero(tmp_path: Path, data_type: pa.DataType) -> None:
    one = file_of(tmp_path / "a.arrow", column_of(data_type, [0.0, math.nan]))
    other = file_of(tmp_path / "b.arrow", column_of(data_type, [-0.0, math.nan]))
    assert diff(one, other).difference is None
    assert diff(one, other, any_order=True).difference is None


def test_progress_counts_partitions(tmp_path: Path) -> None:
    path = random_spill(tmp_path / "a.arrow", [1, 2, 0, 4])
    counts: list[int] = []
    assert diff(path, path, progress=counts.append).difference is None
    assert sum(counts) == 4


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), max_size=8),
    other_rows=st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), max_size=8),
)
def test_any_order_is_equality_of_multisets(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str]], other_rows: list[tuple[int, str]]
) -> None:
    directory = tmp_path_factory.mktemp("diff")
    schema = flat_batch(1).schema
    paths = []
    for name, values in (("a.arrow", rows), ("b.arrow", other_rows)):
        batch = pa.RecordBatch.from_pylist([{"n": n, "s": s} for n, s in values], schema)
        paths.append(write_spill({0: [batch]}, directory / name, partition_count=1))
    assert (diff(*paths).difference is None) == (rows == other_rows)
    assert (diff(*paths, any_order=True).difference is None) == (sorted(rows) == sorted(other_rows))
