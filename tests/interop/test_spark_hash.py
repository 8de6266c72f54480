"""Our hash against Spark's own, on values of every type that Parquet or Arrow can carry to it."""

from __future__ import annotations

import decimal
import itertools
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from shuffle.partitioners import HashPartitioner

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.java

ROW_COUNT = 200
Generator = Callable[[random.Random], Any]


def integers(bits: int, *, signed: bool = True) -> Generator:
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)

    def generate(source: random.Random) -> int:
        # Every magnitude, and the ends.
        return source.choice(
            [low, high, 0, 1, max(low, -1), max(low, min(high, source.getrandbits(source.randint(1, bits))))]
        )

    return generate


def floats(source: random.Random) -> float:
    return source.choice([0.0, -0.0, 1.5, float("nan"), float("inf"), float("-inf"), 5e-324, source.gauss(0, 1e6)])


def float32s(source: random.Random) -> float:
    return float(np.float32(floats(source)))


def decimals(precision: int, scale: int) -> Generator:
    def generate(source: random.Random) -> decimal.Decimal:
        digits = source.randint(1, precision)
        unscaled = source.choice([0, 1, 127, 128, 255, 256, 10**digits - 1, source.randrange(10**digits)])
        with decimal.localcontext(prec=precision):
            return decimal.Decimal(source.choice([-1, 1]) * min(unscaled, 10**precision - 1)).scaleb(-scale)

    return generate


def texts(source: random.Random) -> str:
    return "".join(
        source.choice("aZ0 éß漢😀\0") for _ in range(source.choice([0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 100]))
    )


def byte_strings(source: random.Random) -> bytes:
    return source.randbytes(source.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 33]))


def fixed_bytes(source: random.Random) -> bytes:
    return source.randbytes(7)


def lists(generate: Generator, longest: int = 5, shortest: int = 0) -> Generator:
    return lambda source: [maybe(generate, source) for _ in range(source.randint(shortest, longest))]


def maybe(generate: Generator, source: random.Random) -> Any:
    return None if source.random() < 0.2 else generate(source)


def structs(**fields: Generator) -> Generator:
    return lambda source: {name: maybe(generate, source) for name, generate in fields.items()}


def maps(keys: Generator, items: Generator) -> Generator:
    def generate(source: random.Random) -> list[tuple[Any, Any]]:
        return list({keys(source): maybe(items, source) for _ in range(source.randint(0, 4))}.items())

    return generate


# Years 1890 to 2050, as a count of the unit.
def instants(units_per_second: int) -> Generator:
    return lambda source: source.randint(-2_500_000_000 * units_per_second, 2_500_000_000 * units_per_second)


int32s, int64s = integers(32), integers(64)

# What Parquet carries to Spark.
PARQUET_CASES: list[tuple[pa.DataType, Generator]] = [
    (pa.bool_(), lambda source: source.random() < 0.5),
    (pa.int8(), integers(8)),
    (pa.int16(), integers(16)),
    (pa.int32(), int32s),
    (pa.int64(), int64s),
    (pa.uint8(), integers(8, signed=False)),
    (pa.uint16(), integers(16, signed=False)),
    (pa.uint32(), integers(32, signed=False)),
    (pa.uint64(), integers(64, signed=False)),
    (pa.float32(), float32s),
    (pa.float64(), floats),
    (pa.decimal32(7, 2), decimals(7, 2)),
    (pa.decimal64(16, 3), decimals(16, 3)),
    (pa.decimal128(1, 0), decimals(1, 0)),
    (pa.decimal128(9, 2), decimals(9, 2)),
    (pa.decimal128(18, 18), decimals(18, 18)),
    (pa.decimal128(19, 0), decimals(19, 0)),
    (pa.decimal128(38, 10), decimals(38, 10)),
    (pa.decimal256(12, 2), decimals(12, 2)),
    (pa.decimal256(38, 2), decimals(38, 2)),
    (pa.string(), texts),
    (pa.large_string(), texts),
    (pa.string_view(), texts),
    (pa.binary(), byte_strings),
    (pa.large_binary(), byte_strings),
    (pa.binary_view(), byte_strings),
    (pa.binary(7), fixed_bytes),
    (pa.date32(), lambda source: source.randint(-25_000, 40_000)),
    (pa.date64(), lambda source: source.randint(-25_000, 40_000) * 86_400_000),
    (pa.timestamp("s"), instants(1)),
    (pa.timestamp("ms"), instants(1_000)),
    (pa.timestamp("us"), instants(1_000_000)),
    (pa.timestamp("us", "Europe/Berlin"), instants(1_000_000)),
    (pa.null(), lambda _: None),
    (pa.dictionary(pa.int16(), pa.string()), texts),
    (pa.list_(pa.int32()), lists(int32s)),
    (pa.large_list(pa.string()), lists(texts)),
    (pa.list_(pa.int64(), 3), lists(int64s, 3, 3)),
    (pa.list_(pa.list_(pa.float64())), lists(lists(floats))),
    (pa.struct({"a": pa.int32(), "b": pa.string()}), structs(a=int32s, b=texts)),
    (
        pa.struct({"a": pa.struct({"b": pa.list_(pa.decimal128(30, 2))}), "c": pa.bool_()}),
        structs(a=structs(b=lists(decimals(30, 2))), c=lambda source: source.random() < 0.5),
    ),
    (pa.list_(pa.struct({"a": pa.int64(), "b": pa.binary()})), lists(structs(a=int64s, b=byte_strings))),
    (pa.map_(pa.string(), pa.int64()), maps(texts, int64s)),
    (pa.map_(pa.int32(), pa.list_(pa.string())), maps(int32s, lists(texts))),
]

# What only an Arrow table does.
ARROW_CASES: list[tuple[pa.DataType, Generator]] = [
    (pa.timestamp("ns"), instants(1_000_000_000)),
    (pa.timestamp("ns", "UTC"), instants(1_000_000_000)),
    (pa.duration("s"), integers(32)),
    (pa.duration("ms"), integers(50)),
    (pa.duration("us"), integers(60)),
    (pa.time64("us"), lambda source: source.randrange(86_400 * 10**6)),
    (pa.time64("ns"), lambda source: source.randrange(86_400 * 10**9)),
]


def generated(kind: pa.DataType, generate: Generator, seed: int) -> pa.Array:
    source = random.Random(seed)
    return pa.array([maybe(generate, source) for _ in range(ROW_COUNT)], kind)


def sparks_hashes(frame: DataFrame, *keys: Sequence[str]) -> list[list[int]]:
    """For each list of columns, the hashes of all rows; by one query, since each takes long to begin."""
    from pyspark.sql import functions

    return [list(each) for each in zip(*frame.select(*(functions.hash(*key) for key in keys)).collect(), strict=True)]


def our_hashes(table: pa.Table, *columns: str) -> list[int]:
    hashes: list[int] = HashPartitioner(columns, 1).hashes(table.to_batches()[0]).tolist()
    return hashes


@pytest.mark.parametrize(
    ("kind", "generate"), PARQUET_CASES, ids=lambda value: str(value) if isinstance(value, pa.DataType) else ""
)
def test_hashes_of_a_parquet_column_are_sparks(
    spark: SparkSession, tmp_path: Path, kind: pa.DataType, generate: Generator
) -> None:
    table = pa.table({"key": generated(kind, generate, 1)})
    parquet.write_table(table, tmp_path / "table.parquet")
    assert [our_hashes(table, "key")] == sparks_hashes(spark.read.parquet(str(tmp_path / "table.parquet")), ["key"])


@pytest.mark.parametrize(
    ("kind", "generate"), ARROW_CASES, ids=lambda value: str(value) if isinstance(value, pa.DataType) else ""
)
def test_hashes_of_an_arrow_column_are_sparks(spark: SparkSession, kind: pa.DataType, generate: Generator) -> None:
    table = pa.table({"key": generated(kind, generate, 2)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = spark.createDataFrame(table)
    assert [our_hashes(table, "key")] == sparks_hashes(frame, ["key"])


def test_each_column_seeds_the_next_as_in_spark(spark: SparkSession, tmp_path: Path) -> None:
    columns = {
        f"column{position}": generated(kind, generate, position)
        for position, (kind, generate) in enumerate(PARQUET_CASES)
    }
    table = pa.table(columns)
    parquet.write_table(table, tmp_path / "table.parquet")
    frame = spark.read.parquet(str(tmp_path / "table.parquet"))
    names = list(columns)
    keys = [*itertools.pairwise(names), names, names[::-1]]
    for chained, hashes in zip(keys, sparks_hashes(frame, *keys), strict=True):
        assert our_hashes(table, *chained) == hashes, chained


@pytest.fixture(scope="module")
def lineitem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TPC-H's largest table at scale 0.01: 60,175 rows."""
    directory = tmp_path_factory.mktemp("tpch")
    generator = Path(sys.executable).with_name("tpchgen-cli")
    arguments = ["parquet", "--scale-factor=0.01", "--tables=lineitem", f"--output-dir={directory}"]
    subprocess.run([generator, *arguments], check=True, capture_output=True)
    return directory / "lineitem.parquet"


def test_hashes_of_every_column_of_lineitem_are_sparks(spark: SparkSession, lineitem: Path) -> None:
    table, frame = parquet.read_table(lineitem).combine_chunks(), spark.read.parquet(str(lineitem))
    keys = [*([name] for name in table.column_names), table.column_names]
    for columns, hashes in zip(keys, sparks_hashes(frame, *keys), strict=True):
        assert our_hashes(table, *columns) == hashes, columns


@pytest.mark.parametrize(
    "keys", [["l_orderkey"], ["l_shipmode", "l_shipdate"], ["l_extendedprice", "l_comment"]], ids=str
)
def test_rows_of_lineitem_are_where_sparks_repartition_puts_them(
    spark: SparkSession, lineitem: Path, keys: list[str]
) -> None:
    """The placement itself, not only the hash: Spark says in which partition each row is."""
    from pyspark.sql import functions

    frame = spark.read.parquet(str(lineitem)).repartition(64, *keys)
    placed = frame.select("l_orderkey", "l_linenumber", functions.spark_partition_id()).collect()
    spark_numbers = {(order, line): number for order, line, number in placed}

    table = parquet.read_table(lineitem).combine_chunks()
    identities = zip(table["l_orderkey"].to_pylist(), table["l_linenumber"].to_pylist(), strict=True)
    expected = [spark_numbers[identity] for identity in identities]
    assert HashPartitioner(keys, 64).partition_numbers(table.to_batches()[0]).tolist() == expected
