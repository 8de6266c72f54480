"""Errors of wrong arguments: what was given is told, and what may be given."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from shuffle import (
    CsvOptions,
    FetchOptions,
    HashPartitioner,
    JobOptions,
    JoinSide,
    MapOptions,
    MapWriter,
    MergeOptions,
    ServeOptions,
    run_join,
)
from shuffle.reduce import read_partition
from shuffle.rows.errors import InputError
from shuffle.rows.inputs import Inputs
from spill_format import SpillFile, SpillWriter
from spill_format.messages import check_alignment, metadata_length_of
from tests.errors.rows import Raised, Row, each_row, wrong
from tests.helpers.spills import random_spill

ROWS = pa.table({"key": [1, 2], "text": ["a", "b"]})


def spill_in(directory: Path) -> SpillFile:
    return SpillFile(random_spill(directory / "a.arrow", [1, 2]))


def csv_of(directory: Path, **options: Any) -> Inputs:
    (directory / "a.csv").write_bytes("key,text\n1,\u00e9\n".encode("latin-1"))
    return Inputs([str(directory / "a.csv")], csv=CsvOptions(**options))


def parquet_in(directory: Path) -> str:
    pa.parquet.write_table(ROWS, directory / "a.parquet")
    return str(directory / "a.parquet")


TABLE: list[Row] = [
    Raised(
        InputError,
        "no type 'int' for column key; types are called string",
        lambda directory: csv_of(directory, types={"key": "int"}),
    ),
    Raised(InputError, "column text is not utf-8; say its encoding", csv_of),
    Raised(
        InputError,
        "a.parquet: not CSV, which these options are for",
        lambda directory: Inputs([parquet_in(directory)], csv=CsvOptions()),
    ),
    Raised(
        ValueError,
        "spills_only makes no target, so verify has nothing to do",
        lambda _: MapOptions(spills_only=True, verify=True),
    ),
    Raised(ValueError, "memory_bytes is the memory of a compacting merge", lambda _: MergeOptions(memory_bytes="1GiB")),
    Raised(ValueError, "memory_bytes: '1MB' is not a size: give bytes", lambda _: MapOptions(memory_bytes="1MB")),
    Raised(TypeError, "memory_bytes: None is not a size", lambda _: MapOptions(memory_bytes=wrong(None))),
    Raised(ValueError, "alignment: '1.5' is not a whole number of bytes", lambda _: MapOptions(alignment="1.5")),
    Raised(ValueError, "must be 1048576 bytes or more, not 1000", lambda _: MapOptions(memory_bytes=1000)),
    Raised(TypeError, "threads must be a whole number, not '2'", lambda _: MergeOptions(threads=wrong("2"))),
    Raised(TypeError, "must be a number of seconds, not '1'", lambda _: FetchOptions(timeout_seconds=wrong("1"))),
    Raised(ValueError, "must be more than 0 and finite, not inf", lambda _: ServeOptions(idle_seconds=float("inf"))),
    Raised(TypeError, "verify must be True or False, not 1", lambda _: MergeOptions(verify=wrong(1))),
    Raised(
        TypeError,
        "options must be a MapOptions, not MergeOptions",
        lambda directory: MapWriter(directory, ROWS.schema, wrong(None), wrong(MergeOptions())),
    ),
    Raised(
        TypeError,
        "there is no option 'delete_sources' here; the options are memory_bytes",
        lambda directory: MapWriter(directory, ROWS.schema, wrong(None), **wrong({"delete_sources": True})),
    ),
    Raised(
        TypeError,
        "schema must be a pyarrow.Schema, not ['key']",
        lambda directory: MapWriter(directory / "a.arrow", wrong(["key"]), HashPartitioner(["key"], 4)),
    ),
    Raised(
        ValueError, "compression must be None, lz4 or zstd, not 'gzip'", lambda _: MapOptions(compression=wrong("gzip"))
    ),
    Raised(
        TypeError,
        "spill_directories takes several, in a list: not '/tmp'",
        lambda _: MapOptions(spill_directories="/tmp"),
    ),
    Raised(
        ValueError,
        "the token is empty, which protects nothing; None stands for no token",
        lambda _: ServeOptions(token=" "),
    ),
    Raised(
        ValueError,
        "spills_only leaves map tasks without outputs, which the job reads",
        lambda _: JobOptions(map=MapOptions(spills_only=True)),
    ),
    Raised(ValueError, "merge_from must be 2 or more, not 1: one output", lambda _: JobOptions(merge_from=1)),
    Raised(ValueError, "a job has sides of one partition count, not no sides", lambda _: run_join([], wrong(None))),
    Raised(
        ValueError,
        "combine joins slices of one side: partitions of a join are not cut",
        lambda _: run_join([JoinSide([], wrong(None), HashPartitioner("key", 2))] * 2, wrong(None), combine=wrong(sum)),
    ),
    Raised(ValueError, "there are no files to read", lambda _: read_partition([], 0)),
    Raised(ValueError, "alignment must be a power of two from 8 to 65536, not 100", lambda _: check_alignment(100)),
    Raised(ValueError, "a message's prefix has 8 bytes, not 3", lambda _: metadata_length_of(b"abc")),
    Raised(
        TypeError,
        "columns takes several names, in a list: not 'key'",
        lambda directory: spill_in(directory).read(0, columns="key"),
    ),
    Raised(
        ValueError,
        "columns must name at least one column; None stands for all",
        lambda directory: spill_in(directory).read(0, columns=[]),
    ),
    Raised(
        ValueError,
        "columns names a column twice: key, key",
        lambda directory: spill_in(directory).read(0, columns=["key", "key"]),
    ),
    Raised(
        TypeError,
        "the schema must be a pyarrow.Schema, not list",
        lambda directory: SpillWriter(directory / "a.arrow", [], 4),
    ),
]


@each_row(TABLE)
def test_what_an_error_says(row: Row, tmp_path: Path) -> None:
    row.check(tmp_path)
