"""How large rows are once they are decoded, however little memory they share before."""

import pyarrow as pa
import pytest

from shuffle.arrays.plain_size import in_pieces, plain_bytes
from shuffle.arrays.sortable import sortable_schema, to_sortable
from spill_format.schemas import storage_schema, to_storage

COUNT = 1000
LONG = "x" * 500
TEXTS = pa.array([LONG if n % 3 else None for n in range(COUNT)])
SHARED = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1] * 250, pa.int8()), pa.array(["", LONG]))
RUNS = pa.RunEndEncodedArray.from_arrays(pa.array([10, 1000], pa.int32()), pa.array(["", LONG]))
OFFSETS = pa.array(range(COUNT + 1), pa.int32())
COLUMNS: dict[str, pa.Array] = {
    "plain": TEXTS,
    "dictionary": SHARED,
    "dictionary of numbers": pa.array([1.5, 2.5] * 500).dictionary_encode(),
    "run ends": RUNS,
    "view": TEXTS.cast(pa.string_view()),
    "binary view": TEXTS.cast(pa.binary_view()),
    "struct": pa.StructArray.from_arrays([SHARED, TEXTS], ["shared", "plain"]),
    "list": pa.ListArray.from_arrays(OFFSETS, SHARED),
    "fixed-size list": pa.FixedSizeListArray.from_arrays(SHARED, 1),
    "list view": pa.ListViewArray.from_arrays(
        pa.array([0] * COUNT, pa.int32()), pa.array([2] * COUNT, pa.int32()), pa.array([LONG, LONG])
    ),
    "map": pa.MapArray.from_arrays(OFFSETS, pa.array(range(COUNT)), SHARED),
    "null": pa.nulls(COUNT),
}


def rows_of(column: pa.Array) -> pa.RecordBatch:
    return pa.record_batch([column, pa.array(range(len(column)))], ["x", "n"])


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize(("begin", "end"), [(0, COUNT), (5, 15), (990, COUNT), (7, 7)])
def test_it_is_what_the_decoded_rows_take(column: pa.Array, begin: int, end: int) -> None:
    rows = rows_of(column).slice(begin, end - begin)
    stored = storage_schema(rows.schema)
    sortable = sortable_schema(stored)
    decoded = to_sortable(to_storage(rows, stored), sortable)
    exact = plain_bytes(rows)
    assert exact <= plain_bytes(rows, 1 << 30)
    assert plain_bytes(rows, max(exact - 1, 0)) == exact
    assert exact == pytest.approx(decoded.nbytes, rel=0.05, abs=20 * (end - begin) + 40)


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("most_bytes", [1, 20_000, 1 << 30])
def test_pieces_are_all_rows_in_order_none_too_large(column: pa.Array, most_bytes: int) -> None:
    rows = rows_of(column)
    pieces = list(in_pieces(rows, most_bytes))
    assert all(piece.num_rows == 1 or plain_bytes(piece) <= most_bytes for piece in pieces)
    assert pa.concat_batches(pieces)["n"].equals(rows["n"])
    if most_bytes == 1 << 30:
        assert len(pieces) == 1
