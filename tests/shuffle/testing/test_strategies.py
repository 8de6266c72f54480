"""What the strategies give is what they promise, and all of it can be written and read."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from shuffle.testing import assert_layout, assert_same_rows, strategies, write_spill
from spill_format import PartitionLayout

EVERY_TYPE = [
    *(pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()),
    *(pa.decimal128(38, 10), pa.decimal256(76, -3), pa.decimal32(5, 2)),
    *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(7)),
    *(pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
    *(pa.timestamp("s"), pa.timestamp("ns", "Europe/Berlin"), pa.duration("ms"), pa.duration("ns")),
    *(pa.dictionary(pa.int8(), pa.string()), pa.list_(pa.dictionary(pa.int32(), pa.int64())), pa.uuid()),
    *(pa.list_(pa.int8()), pa.large_list(pa.string()), pa.list_(pa.float32(), 3), pa.list_view(pa.int8())),
    *(pa.large_list_view(pa.int8()), pa.struct([("x", pa.int8()), ("y", pa.list_(pa.string()))])),
    pa.map_(pa.string(), pa.list_(pa.int16())),
]


@pytest.mark.parametrize("data_type", EVERY_TYPE, ids=str)
def test_values_of_every_type_can_be_written(data_type: pa.DataType) -> None:
    schema = pa.schema([("x", data_type)])

    @settings(max_examples=20)
    @given(batch=strategies.record_batches(schema))
    def law(batch: pa.RecordBatch) -> None:
        batch.validate(full=True)
        assert batch.schema == schema
        assert batch.num_rows <= 4
        with tempfile.TemporaryDirectory() as directory:
            path = write_spill({0: batch}, Path(directory, "x.arrow"))
            assert_same_rows(path, pa.Table.from_batches([batch]))

    law()


def test_what_has_no_values_is_told() -> None:
    with pytest.raises(ValueError, match="there is no strategy for values of sparse_union"):
        strategies.values(pa.sparse_union([pa.field("x", pa.int8())]))


@given(schema=strategies.schemas(max_columns=2))
def test_schemas_have_columns(schema: pa.Schema) -> None:
    assert 1 <= len(schema) <= 2
    assert schema.names == [f"c{number}" for number in range(len(schema))]


@given(schema=strategies.schemas(nested=False))
def test_flat_schemas_are_flat(schema: pa.Schema) -> None:
    assert all(field.type.num_fields == 0 for field in schema)


@given(table=strategies.tables(pa.schema([("x", pa.float64())]), max_batches=2, max_rows=3, allow_nan=False))
def test_tables_keep_their_bounds(table: pa.Table) -> None:
    assert table.num_rows <= 6
    assert not any(value != value for value in table["x"].to_pylist() if value is not None)  # noqa: PLR0124 -- NaN


@given(
    partitions=strategies.partitions(max_partitions=3),
    compression=strategies.compressions,
    alignment=strategies.alignments,
)
def test_partitions_are_a_files(partitions: dict[int, pa.Table], compression: str | None, alignment: int) -> None:
    assert list(partitions) == list(range(len(partitions)))
    assert len(partitions) <= 3
    with tempfile.TemporaryDirectory() as directory:
        path = write_spill(partitions, Path(directory, "x.arrow"), compression=compression, alignment=alignment)
        assert_layout(path, [table.num_rows for table in partitions.values()])
        assert_same_rows(path, partitions)


@given(layout=strategies.layouts(max_partitions=3, max_range_bytes=100))
def test_layouts_obey_their_laws(layout: PartitionLayout) -> None:
    assert layout.partition_count <= 3
    assert layout.lengths.max() <= 100
    assert layout.rows is not None
    assert layout.crc32c is not None
    assert ((layout.rows > 0) == (layout.lengths > 0)).all()
    assert (layout.crc32c[layout.lengths == 0] == 0).all()


@given(lengths=strategies.range_lengths([0, 9], max_partitions=2, max_sources=3))
def test_range_lengths_are_of_one_partition_count(lengths: list[list[int]]) -> None:
    assert len({len(row) for row in lengths}) == 1
    assert {length for row in lengths for length in row} <= {0, 9}
    assert (len(lengths), len(lengths[0])) <= (3, 2)


@pytest.mark.parametrize(
    ("strategy", "condition"),
    [
        (strategies.layouts(), lambda layout: 0 in layout.lengths and layout.partition_count > 2),
        (strategies.partitions(), lambda partitions: any(table.num_rows == 0 for table in partitions.values())),
        (strategies.partitions(), lambda partitions: sum(table.num_rows for table in partitions.values()) > 5),
        (strategies.tables(), lambda table: any(column.null_count for column in table.columns)),
        (strategies.schemas(), lambda schema: any(field.type.num_fields for field in schema)),
    ],
)
def test_what_is_worth_testing_comes_up(strategy: st.SearchStrategy[object], condition: object) -> None:
    # The smallest example is not asked for.
    only_found = settings(max_examples=2000, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    find(strategy, condition, settings=only_found)  # type: ignore[arg-type]
