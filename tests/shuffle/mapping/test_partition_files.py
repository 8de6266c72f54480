"""``partition_files``: what the command does for a person, for a program."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest

from shuffle import partition_files
from shuffle.rows.errors import InputError
from shuffle.rows.placement import SortKey
from spill_format import SpillFile
from tests.helpers.commands import succeeded

ROWS = pa.table({"key": pa.array(range(1000), pa.int64()), "text": [f"row {n % 10}" for n in range(1000)]})


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    pa.parquet.write_table(ROWS, tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        ({"by": "key"}, "--by key"),
        ({"by": ["text", "key"], "columns": ["key"]}, "--by text,key --columns key"),
        ({"range": "text:desc,key"}, "--range text:desc,key"),
        ({"range": [SortKey("text", True, False), "key"]}, "--range text:desc --range key"),
        ({"round_robin": True, "compression": "lz4"}, "--round-robin --compression lz4"),
        ({"by": "key", "where": "text = 'row 7'"}, "--by key --where \"text = 'row 7'\""),
        ({"by": "key", "where": pc.field("text") == "row 7"}, "--by key --where \"text = 'row 7'\""),
    ],
)
def test_the_function_makes_the_file_that_the_command_makes(rows: Path, arguments: dict[str, Any], flags: str) -> None:
    threads = pa.cpu_count()
    report = partition_files(rows, rows.with_name("a.arrow"), 5, **arguments)
    succeeded(f"shuffle partition rows.parquet {flags} --partitions 5 -o b.arrow", rows.parent)

    assert rows.with_name("a.arrow").read_bytes() == rows.with_name("b.arrow").read_bytes()
    with SpillFile(rows.with_name("a.arrow")) as spill:
        assert report.row_count == spill.read(0, 5).num_rows
    assert pa.cpu_count() == threads


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either by columns, by range or round_robin, and 0 of them are given"),
        ({"by": "key", "round_robin": True}, "and 2 of them are given"),
        ({"by": "key", "columns": ["kye"]}, "columns: no column 'kye' to write; the columns are: key, text"),
        ({"by": "key", "columns": ["key", "key"]}, "columns: 'key' is given more than once"),
        ({"by": "key", "where": "key ="}, "where: at character 6"),
        ({"by": "key", "inputs": []}, "there are no inputs"),
        ({"range": "key:desc:asc"}, "more than one order"),
    ],
)
def test_wrong_arguments_are_told_by_their_keywords(rows: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        partition_files(arguments.pop("inputs", rows), rows.with_name("a.arrow"), 5, **arguments)
    assert [path.name for path in rows.parent.iterdir()] == ["rows.parquet"]


def test_progress_is_told_to_a_stage(rows: Path) -> None:
    from contextlib import contextmanager

    told: list[object] = []

    @contextmanager
    def stage(total: int | None, unit: str, name: str) -> Any:
        told.append((total, unit, name))
        yield told.append

    partition_files([rows], rows.with_name("a.arrow"), 5, range="key", progress=stage)

    assert told[0] == (1000, " rows", "sampling")
    assert (1000, " rows", "partitioning") in told
    assert sum(step for step in told if isinstance(step, int)) == 2000


def test_an_input_error_is_a_value_error() -> None:
    assert issubclass(InputError, ValueError)


@pytest.mark.parametrize("arguments", [{"by": "key"}, {"range": "key"}, {"round_robin": True}])
def test_partitions_that_memory_does_not_hold_are_refused(rows: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError,
        match=r"2147483647 partitions take 81919 MiB of memory for offsets, .*the memory of the task is 256 MiB",
    ):
        partition_files(rows, rows.with_name("a.arrow"), 2**31 - 1, **arguments)
