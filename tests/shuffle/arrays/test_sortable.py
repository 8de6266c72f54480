"""Types that Arrow cannot sort, or whose slices bring along the rest: converted and back."""

import numpy as np
import pyarrow as pa
import pytest

from shuffle.arrays.sortable import from_sortable, has_unions, sortable_schema, to_sortable

ROWS = 600
TEXTS = [None if row % 7 == 0 else f"text {row} " + "x" * (row % 40) for row in range(ROWS)]
LISTS = [None if row % 5 == 0 else TEXTS[row : row + row % 4] for row in range(ROWS)]


def out_of_order_list_view() -> pa.Array:
    """A list view as no builder makes it: lists that overlap, in reverse, with garbage under a null."""
    offsets, sizes = np.arange(ROWS, dtype=np.int32)[::-1].copy(), np.ones(ROWS, np.int32)
    sizes[5] = 10**6
    validity = np.ones(ROWS, bool)
    validity[5] = False
    buffers = [pa.array(validity).buffers()[1], pa.py_buffer(offsets), pa.py_buffer(sizes)]
    return pa.Array.from_buffers(pa.list_view(pa.string()), ROWS, buffers, 1, 0, [pa.array(TEXTS)])


def run_ends() -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array(range(3, ROWS + 1, 3), pa.int16()), pa.array(TEXTS[: ROWS // 3]))


CONVERTED = {
    "string_view": pa.array(TEXTS, pa.string_view()),
    "binary_view": pa.array([t and t.encode() for t in TEXTS], pa.binary_view()),
    "list_view": pa.array(LISTS, pa.list_view(pa.string())),
    "large_list_view": pa.array(LISTS, pa.large_list_view(pa.string_view())),
    "list_view out of order": out_of_order_list_view(),
    "list of views": pa.array(LISTS, pa.list_(pa.string_view())),
    "large list of views": pa.array(LISTS, pa.large_list(pa.string_view())),
    "fixed list of views": pa.array([[t, None] if t else None for t in TEXTS], pa.list_(pa.string_view(), 2)),
    "map of views": pa.array([[("k", t)] for t in TEXTS], pa.map_(pa.string(), pa.string_view())),
    "struct of views": pa.array(
        [{"a": t, "b": 1} if t else None for t in TEXTS], pa.struct([("a", pa.string_view()), ("b", pa.int8())])
    ),
    "deep": pa.array(
        [{"a": [lists], "b": None} for lists in LISTS],
        pa.struct([("a", pa.list_view(pa.list_view(pa.string_view()))), ("b", pa.null())]),
    ),
    "run ends": run_ends(),
    "struct of run ends": pa.StructArray.from_arrays([run_ends()], ["a"]),
    "sparse union of views": pa.UnionArray.from_sparse(
        pa.array([0, 1] * (ROWS // 2), pa.int8()), [pa.array(range(ROWS)), pa.array(TEXTS, pa.string_view())]
    ),
    "dense union of views": pa.UnionArray.from_dense(
        pa.array([0, 1] * (ROWS // 2), pa.int8()),
        pa.array(np.repeat(np.arange(ROWS // 2), 2), pa.int32()),
        [pa.array(range(ROWS)), pa.array(TEXTS, pa.string_view())],
    ),
    "extension over views": pa.ExtensionArray.from_storage(
        pa.json_(pa.string_view()), pa.array([t and '"x"' for t in TEXTS], pa.string_view())
    ),
}
KEPT = {
    "int": pa.array(range(ROWS)),
    "string": pa.array(TEXTS),
    "list": pa.array(LISTS),
    "struct": pa.array([{"a": t} for t in TEXTS]),
    "uuid": pa.array([b"u" * 16] * ROWS, pa.uuid()),
    "null": pa.nulls(ROWS),
}


@pytest.mark.parametrize("array", CONVERTED.values(), ids=CONVERTED)
def test_values_survive_sorting_slices_of_slices(array: pa.Array) -> None:
    batch = pa.record_batch({"column": array}).slice(33, 500)
    schema = sortable_schema(batch.schema)
    assert schema is not batch.schema
    sortable = to_sortable(batch, schema)
    sortable.validate(full=True)
    order = np.random.default_rng(3).permutation(500)
    taken = sortable.take(pa.array(order)).slice(40, 20)
    back = from_sortable(taken, batch.schema)
    back.validate(full=True)
    assert back.schema.equals(batch.schema)
    values = batch["column"].to_pylist()
    assert back["column"].to_pylist() == [values[row] for row in order[40:60]]


@pytest.mark.parametrize("array", CONVERTED.values(), ids=CONVERTED)
def test_what_comes_back_holds_nothing_of_other_rows(array: pa.Array) -> None:
    batch = pa.record_batch({"column": array})
    sortable = to_sortable(batch, sortable_schema(batch.schema))
    parts = [from_sortable(sortable.slice(start, 10), batch.schema).serialize().size for start in range(0, ROWS, 10)]
    # 60 messages have 60 frames; the values themselves come once.
    assert sum(parts) < batch.serialize().size * 1.5 + 60 * 1200


@pytest.mark.parametrize("array", KEPT.values(), ids=KEPT)
def test_what_can_be_sorted_is_left_as_it_is(array: pa.Array) -> None:
    batch = pa.record_batch({"column": array})
    assert sortable_schema(batch.schema) is batch.schema
    assert to_sortable(batch, batch.schema) is batch
    assert from_sortable(batch, batch.schema) is batch


@pytest.mark.parametrize("array", CONVERTED.values(), ids=CONVERTED)
def test_no_rows_are_converted_too(array: pa.Array) -> None:
    batch = pa.record_batch({"column": array}).slice(0, 0)
    back = from_sortable(to_sortable(batch, sortable_schema(batch.schema)), batch.schema)
    assert back.equals(batch)


def test_rows_without_columns_stay_rows() -> None:
    batch = pa.RecordBatch.from_struct_array(pa.array([{}] * 5, pa.struct([])))
    schema = pa.schema([], metadata={"a": "b"})
    assert to_sortable(batch, schema).num_rows == 5
    assert to_sortable(batch, schema).schema.metadata == {b"a": b"b"}


@pytest.mark.parametrize(
    ("kind", "has"),
    [
        (pa.dense_union([pa.field("a", pa.int8())]), True),
        (pa.list_(pa.struct([("a", pa.sparse_union([pa.field("a", pa.int8())]))])), True),
        (pa.list_(pa.string()), False),
        (pa.map_(pa.string(), pa.int8()), False),
        (pa.uuid(), False),
    ],
)
def test_unions_are_found_however_deep(kind: pa.DataType, has: bool) -> None:
    assert has_unions(pa.schema([("column", kind)])) is has
