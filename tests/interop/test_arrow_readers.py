"""Programs that know nothing of partitions read every file: as an Arrow file, and from byte 8 on as an Arrow stream."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import datafusion
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pytest

from shuffle.testing import write_spill
from spill_format import SpillFile
from tests.helpers.spills import FLAT_SCHEMA, flat_batch

Reader = Callable[[Path], pa.Table]
LONG = "longer than the twelve bytes of a view"
WORDS = pa.array(["b", "a", None, "b", LONG])
ENCODED = WORDS.dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))


class Celsius(pa.ExtensionType):  # type: ignore[misc]
    """An extension type that this process knows only while it is registered."""

    def __init__(self) -> None:
        super().__init__(pa.float64(), "tests.celsius")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Celsius:
        return cls()


# Columns of five rows, by what is special about them.
COLUMNS: dict[str, pa.Array] = {
    "null": pa.nulls(5),
    "boolean": pa.array([True, None, False, True, True]),
    "float16": pa.array([1, None, 2, 3, 4], pa.float16()),
    "timestamp": pa.array([0, 1, None, 3, 4], pa.timestamp("us", "UTC")),
    "large binary": pa.array([b"", b"x", None, b"yy", b"z"], pa.large_binary()),
    "fixed size binary": pa.array([b"ab"] * 5, pa.binary(2)),
    "decimal128": pa.array([Decimal("1.10"), None] * 2 + [Decimal("-9.99")], pa.decimal128(38, 2)),
    "decimal256": pa.array([Decimal("1.10"), None] * 2 + [Decimal("-9.99")], pa.decimal256(76, 2)),
    "string view": WORDS.cast(pa.string_view()),
    "binary view": WORDS.cast(pa.binary()).cast(pa.binary_view()),
    "list": pa.array([[1], None, [], [2, 3], [4]]),
    "list view": pa.array([[1], None, [], [2, 3], [4]], pa.list_view(pa.int64())),
    "fixed size list": pa.array([[1, 2], None, [3, 4], [5, 6], [7, 8]], pa.list_(pa.int64(), 2)),
    "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": 2, "b": None}, {"a": 3, "b": "y"}, {"a": 4, "b": "z"}]),
    "map": pa.array([[("a", 1)], None, [], [("b", 2)], [("c", None)]], pa.map_(pa.string(), pa.int64())),
    "list of structs of lists": pa.array([[{"a": [1, 2]}], None, [], [{"a": None}, {"a": []}], [None]]),
    "run-end encoded": pa.RunEndEncodedArray.from_arrays(pa.array([2, 5], pa.int32()), pa.array(["x", "y"])),
    "dense union": pa.UnionArray.from_dense(
        pa.array([0, 1, 0, 1, 0], pa.int8()),
        pa.array([0, 0, 1, 1, 2], pa.int32()),
        [pa.array([1, 2, 3]), pa.array(["x", "y"])],
    ),
    "interval": pa.array([(1, 2, 3), None] * 2 + [(4, 5, 6)], pa.month_day_nano_interval()),
    "uuid": pa.array([bytes([n] * 16) for n in range(5)], pa.uuid()),
    "registered extension": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int64(), [2]), pa.array([[1, 2]] * 5, pa.list_(pa.int64(), 2))
    ),
    "unregistered extension": pa.ExtensionArray.from_storage(Celsius(), pa.array([1.5, None, 2, 3, 4])),
    "dictionary": ENCODED,
    "ordered dictionary": pa.DictionaryArray.from_arrays(
        pa.array([0, 1, None, 0, 1], pa.int16()), pa.array([10, 20]), ordered=True
    ),
    "dictionary of structs": pa.DictionaryArray.from_arrays(
        pa.array([0, 1, None, 0, 1], pa.int8()), pa.array([{"a": 1}, {"a": 2}])
    ),
    "dictionary of views": pa.DictionaryArray.from_arrays(
        pa.array([0, 1, None, 0, 1], pa.int8()), pa.array(["x", LONG], pa.string_view())
    ),
    "list of dictionaries": pa.ListArray.from_arrays([0, 1, 1, 2, 4, 5], ENCODED),
    "struct with a dictionary": pa.StructArray.from_arrays([ENCODED, pa.array(range(5))], ["d", "n"]),
    "extension over a dictionary": pa.ExtensionArray.from_storage(pa.opaque(ENCODED.type, "kind", "vendor"), ENCODED),
}

# What Polars does not read from any Arrow file, be it ours or pyarrow's.
BEYOND_POLARS = {"decimal256", "list view", "run-end encoded", "dense union", "interval"}


def pyarrow_file(path: Path) -> pa.Table:
    with pa.ipc.open_file(path) as reader:
        return reader.read_all()


def pyarrow_stream(path: Path) -> pa.Table:
    return pa.ipc.open_stream(path.read_bytes()[8:]).read_all()


def polars_file(path: Path) -> pa.Table:
    return pl.read_ipc(path).to_arrow()


def polars_scan(path: Path) -> pa.Table:
    return pl.scan_ipc(path).collect().to_arrow()


def polars_stream(path: Path) -> pa.Table:
    return pl.read_ipc_stream(io.BytesIO(path.read_bytes()[8:])).to_arrow()


def datafusion_file(path: Path) -> pa.Table:
    return datafusion.SessionContext().read_arrow(str(path)).to_arrow_table()


POLARS: Sequence[Reader] = (polars_file, polars_scan, polars_stream)
READERS: Sequence[Reader] = (pyarrow_file, pyarrow_stream, *POLARS, datafusion_file)

each_reader = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)


def values(column: pa.ChunkedArray) -> list[object]:
    """A column's values; UUIDs as the bytes that a program gives who does not know the type."""
    return [value.bytes if isinstance(value, uuid.UUID) else value for value in column.to_pylist()]


@pytest.mark.parametrize(
    ("name", "reader"),
    [(name, reader) for name in COLUMNS for reader in READERS if not (reader in POLARS and name in BEYOND_POLARS)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_every_type_is_read_by_all(verified_dir: Path, name: str, reader: Reader) -> None:
    batch = pa.record_batch({"c": COLUMNS[name], "n": range(5)})
    path = write_spill({1: [batch, batch.slice(2)]}, verified_dir / "x.arrow", schema=batch.schema, partition_count=3)
    table = reader(path)
    assert values(table["c"]) == values(pa.Table.from_batches([batch, batch.slice(2)])["c"])
    assert table["n"].to_pylist() == [0, 1, 2, 3, 4, 2, 3, 4]


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("name", COLUMNS)
def test_every_type_is_given_back_as_it_was(verified_dir: Path, name: str, compression: str | None) -> None:
    batch = pa.record_batch({"c": COLUMNS[name], "n": range(5)}).slice(1)
    schema = batch.schema.with_metadata({"kept": "yes"})
    path = write_spill(
        {1: [batch]}, verified_dir / "x.arrow", schema=schema, partition_count=3, compression=compression
    )
    with SpillFile(path) as spill:
        table = spill.read(1)
    table.validate(full=True)
    if name != "unregistered extension":
        assert table.schema.equals(schema, check_metadata=True)
    assert values(table["c"]) == values(pa.Table.from_batches([batch])["c"])


def test_an_extension_type_is_given_back_where_it_is_registered(verified_dir: Path) -> None:
    batch = pa.record_batch({"c": COLUMNS["unregistered extension"]})
    path = write_spill({0: [batch]}, verified_dir / "x.arrow", schema=batch.schema, partition_count=1)
    pa.register_extension_type(Celsius())
    try:
        with SpillFile(path) as spill:
            assert spill.read(0).schema == batch.schema
    finally:
        pa.unregister_extension_type("tests.celsius")
    with SpillFile(path) as spill:
        assert spill.schema.field("c").type == pa.float64()
        assert spill.schema.field("c").metadata[b"ARROW:extension:name"] == b"tests.celsius"


@each_reader
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("alignment", [8, 64, 4096])
def test_every_compression_and_alignment_is_read_by_all(
    verified_dir: Path, reader: Reader, compression: str | None, alignment: int
) -> None:
    partitions = {0: [flat_batch(100)], 2: [flat_batch(1, 100), flat_batch(99, 101)]}
    path = write_spill(
        partitions, verified_dir / "x.arrow", partition_count=4, compression=compression, alignment=alignment
    )
    assert reader(path).to_pylist() == flat_batch(200).to_pylist()


@each_reader
@pytest.mark.parametrize(
    ("filled", "partition_count"),
    [
        ([], 1),
        ([], 5),
        ([0], 1),
        ([0], 5),
        ([4], 5),
        ([2], 5),
        pytest.param(range(0, 100_000, 7), 100_000, marks=pytest.mark.slow),
    ],
    ids=["no rows", "no rows in five", "one", "first of five", "last of five", "middle of five", "hundred thousand"],
)
def test_every_shape_is_read_by_all(
    verified_dir: Path, reader: Reader, filled: Sequence[int], partition_count: int
) -> None:
    partitions = {partition: [flat_batch(1, partition)] for partition in filled}
    table = reader(
        write_spill(partitions, verified_dir / "x.arrow", schema=FLAT_SCHEMA, partition_count=partition_count)
    )
    assert table.column_names == ["n", "s"]
    numbers = table["n"].to_pylist()
    if reader is datafusion_file:  # its threads read parts of the file, and it promises no order
        numbers.sort()
    assert numbers == list(filled)


@pytest.mark.parametrize("reader", [pyarrow_file, pyarrow_stream])
def test_rows_without_columns_are_counted(verified_dir: Path, reader: Reader) -> None:
    batch = flat_batch(5).select([])
    path = write_spill(
        {0: [batch], 1: [batch.slice(2)]}, verified_dir / "x.arrow", schema=batch.schema, partition_count=2
    )
    assert reader(path).num_rows == 8
    with SpillFile(path) as spill:
        assert [spill.read(partition).num_rows for partition in range(2)] == [5, 3]
