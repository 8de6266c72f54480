"""Where batches end: by their rows alone, however these came."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuffle.arrays.sortable import sortable_schema, to_sortable
from shuffle.merging.rebatching import BATCH_BYTES, Group, Portion, RowBits, joined, rebatched
from shuffle.testing.strategies import record_batches, schemas
from spill_format.schemas import storage_schema, to_storage

TEXTS = ["", "a", None, "four", "é"]  # 0, 1, 0, 4 and 2 bytes

# A column of five rows, and the bits that its first rows hold: a bit of validity for each value, offsets, values.
COLUMNS: dict[str, tuple[pa.Array, list[int]]] = {
    "int32": (pa.array([1, None, 3, 4, 5], pa.int32()), [0, 33, 66, 99, 132, 165]),
    "boolean": (pa.array([True, None, False, True, True]), [0, 2, 4, 6, 8, 10]),
    "null": (pa.nulls(5), [0, 1, 2, 3, 4, 5]),
    "fixed-size binary": (pa.array([b"abc"] * 5, pa.binary(3)), [0, 25, 50, 75, 100, 125]),
    "decimal": (pa.array([None] * 5, pa.decimal128(10, 2)), [0, 129, 258, 387, 516, 645]),
    "string": (pa.array(TEXTS), [0, 33, 74, 107, 172, 221]),
    "large string": (pa.array(TEXTS, pa.large_string()), [0, 65, 138, 203, 300, 381]),
    "list": (pa.array([[1], None, [], [1, 2], [None]], pa.list_(pa.int8())), [0, 42, 75, 108, 159, 201]),
    "list of strings": (
        pa.array([["a"], [], None, ["bb", ""], []], pa.list_(pa.string())),
        [0, 74, 107, 140, 255, 288],
    ),
    "fixed-size list": (pa.array([[1, 2]] * 5, pa.list_(pa.int8(), 2)), [0, 19, 38, 57, 76, 95]),
    "fixed-size list of strings": (
        pa.array([["a", ""], ["", ""], ["", ""], ["", "bb"], ["", ""]], pa.list_(pa.string(), 2)),
        [0, 75, 142, 209, 292, 359],
    ),
    "fixed-size list of nothing": (pa.array([[]] * 5, pa.list_(pa.string(), 0)), [0, 1, 2, 3, 4, 5]),
    "struct": (pa.array([{"n": 1, "s": t} for t in TEXTS], pa.struct({"n": pa.int8(), "s": pa.string()})), []),
    "map": (pa.array([[(1, "a")], [], None, [], []], pa.map_(pa.int8(), pa.string())), [0, 84, 117, 150, 183, 216]),
    "extension": (pa.array([b"u" * 16] * 5, pa.uuid()), [0, 129, 258, 387, 516, 645]),
    "sparse union": (
        pa.UnionArray.from_sparse(pa.array([0, 1, 0, 1, 0], pa.int8()), [pa.array([1] * 5, pa.int8()), pa.nulls(5)]),
        [0, 19, 38, 57, 76, 95],
    ),
    "dense union": (
        pa.UnionArray.from_dense(
            pa.array([0, 1, 0, 1, 0], pa.int8()),
            pa.array([0, 0, 1, 1, 2], pa.int32()),
            [pa.array([1, 2, 3], pa.int8()), pa.array(["a", "bb"])],
        ),
        [0, 50, 132, 182, 272, 322],
    ),
}
COLUMNS["struct"] = (COLUMNS["struct"][0], [10 * row + bits for row, bits in enumerate(COLUMNS["string"][1])])


@pytest.mark.parametrize(("column", "bits"), COLUMNS.values(), ids=COLUMNS)
def test_bits_of_first_rows(column: pa.Array, bits: list[int]) -> None:
    found = RowBits.of(joined(pa.table({"column": column})))
    assert [found.of_first(row_count) for row_count in range(6)] == bits


@pytest.mark.parametrize("column", [column for column, _ in COLUMNS.values()], ids=COLUMNS)
def test_joined_slices_hold_nothing_of_other_rows(column: pa.Array) -> None:
    table = pa.table({"column": column})
    rows = joined(pa.concat_tables([table.slice(3, 1), table.slice(1, 2)]))
    rows.validate(full=True)
    assert rows["column"].to_pylist() == [column.to_pylist()[row] for row in (3, 1, 2)]
    alone = joined(pa.concat_tables([joined_alone(table, 3), joined_alone(table, 1), joined_alone(table, 2)]))
    assert rows.serialize().to_pybytes() == alone.serialize().to_pybytes()


def joined_alone(table: pa.Table, row: int) -> pa.Table:
    return pa.Table.from_batches([joined(table.slice(row, 1))])


def pieces_of(rows: pa.RecordBatch, cuts: list[int], partition: int = 0) -> list[Portion]:
    borders = sorted({0, rows.num_rows, *(cut for cut in cuts if cut < rows.num_rows)})
    return [
        Portion.of(partition, pa.Table.from_batches([rows.slice(begin, end - begin)]))
        for begin, end in itertools.pairwise(borders)
    ]


def numbers_of(groups: list[Group]) -> list[tuple[int, list[int]]]:
    return [(group.partition, group.joined()["number"].to_pylist()) for group in groups]


def text_rows(lengths: list[int]) -> pa.RecordBatch:
    return pa.record_batch({"number": np.arange(len(lengths)), "text": ["x" * length for length in lengths]})


KIB = 1 << 10
# Lengths of rows in KiB, and how many rows each batch gets.
CUTS: dict[str, tuple[list[int], list[int]]] = {
    "few": ([1, 2, 3], [3]),
    "one that is exactly enough is not split off": ([600, 600, 600], [2, 1]),
    "the row that reaches it is the last": ([1023, 1, 1, 1023], [2, 2]),
    "a row larger than a batch": ([1, 5000, 1, 5000, 5000, 1], [2, 2, 1, 1]),
    "a row that is a batch": ([1024, 1024], [1, 1]),
}


@pytest.mark.parametrize(("lengths", "row_counts"), CUTS.values(), ids=CUTS)
def test_a_batch_ends_with_the_row_that_is_enough(lengths: list[int], row_counts: list[int]) -> None:
    rows = text_rows([length * KIB for length in lengths])
    for cuts in ([], [1], [1, 2, 3, 4, 5]):
        groups = list(rebatched(pieces_of(rows, cuts)))
        assert [len(numbers) for _, numbers in numbers_of(groups)] == row_counts
        assert [number for _, numbers in numbers_of(groups) for number in numbers] == list(range(len(lengths)))


def test_a_batch_ends_with_its_partition() -> None:
    rows = text_rows([10, 20, 30])
    portions = [*pieces_of(rows, [1], 3), *pieces_of(rows, [2], 7)]
    assert numbers_of(list(rebatched(portions))) == [(3, [0, 1, 2]), (7, [0, 1, 2])]


def test_a_piece_that_is_a_batch_is_not_copied() -> None:
    (portion,) = pieces_of(text_rows([10, 20]), [])
    (group,) = rebatched([portion])
    assert group.joined() is portion.rows


def test_no_pieces_make_no_batches() -> None:
    assert list(rebatched([])) == []


@pytest.mark.parametrize("partition_count", [1, 3])
def test_all_but_the_last_batch_of_a_partition_are_full(partition_count: int) -> None:
    rows = text_rows([(7919 * number) % 50_000 for number in range(400)])
    parts = [portion for partition in range(partition_count) for portion in pieces_of(rows, [100, 150, 399], partition)]
    groups = list(rebatched(parts))
    for group, following in itertools.pairwise(groups):
        if group.partition == following.partition:
            assert BATCH_BYTES <= group.byte_count < BATCH_BYTES + 50_100
    assert [group.partition for group in groups] == sorted(group.partition for group in groups)
    assert sum(len(numbers) for _, numbers in numbers_of(groups)) == 400 * partition_count


@settings(max_examples=60)
@given(data=st.data(), schema=schemas())
def test_cuts_change_neither_batches_nor_a_byte_of_them(data: st.DataObject, schema: pa.Schema) -> None:
    rows = data.draw(record_batches(schema, min_rows=1, max_rows=12))
    plain = pa.schema([(field.name, column.type) for field, column in zip(schema, decoded(rows), strict=True)])
    sortable = sortable_schema(plain)
    rows = to_sortable(pa.record_batch(decoded(rows), plain), sortable)
    whole = RowBits.of(joined(pa.Table.from_batches([rows])))
    contents = []
    for cuts in ([], data.draw(st.lists(st.integers(1, 11)))):
        portions = pieces_of(rows, cuts)
        assert sum(portion.bits.of_first(portion.rows.num_rows) for portion in portions) == whole.of_first(
            rows.num_rows
        )
        (group,) = rebatched(portions)
        contents.append(group.joined().serialize().to_pybytes())
    assert contents[0] == contents[1]


def decoded(rows: pa.RecordBatch) -> list[pa.Array]:
    """Columns as files store them, without dictionaries."""
    return list(to_storage(rows, storage_schema(rows.schema)).columns)
