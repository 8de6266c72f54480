"""Errors of wrong arguments: what was given is told, and what may be given."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from shuffle import (
    FetchOptions,
    HashPartitioner,
    JobOptions,
    JoinSide,
    MapOptions,
    MapWriter,
    MergeOptions,
    ServeOptions,
    run_join,
    verify,
)
from shuffle.reduce import read_partition
from spill_format import SpillWriter
from spill_format.messages import check_alignment, metadata_length_of
from tests.errors.rows import Raised, Row, each_row, wrong

ROWS = pa.table({"key": [1, 2], "text": ["a", "b"]})


TABLE: list[Row] = [
    Raised(ValueError, "no files: not a single path was given", lambda _: verify([])),
    Raised(TypeError, "must be a number of seconds, not '1'", lambda _: FetchOptions(timeout_seconds=wrong("1"))),
    Raised(ValueError, "must be more than 0 and finite, not inf", lambda _: ServeOptions(idle_seconds=float("inf"))),
    Raised(TypeError, "verify must be True or False, not 1", lambda _: MergeOptions(verify=wrong(1))),
    Raised(
        TypeError,
        "schema must be a pyarrow.Schema, not ['key']",
        lambda directory: MapWriter(directory / "a.arrow", wrong(["key"]), HashPartitioner(["key"], 4)),
    ),
    Raised(
        ValueError, "compression must be None, lz4 or zstd, not 'gzip'", lambda _: MapOptions(compression=wrong("gzip"))
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
        "the schema must be a pyarrow.Schema, not list",
        lambda directory: SpillWriter(directory / "a.arrow", [], 4),
    ),
]


@each_row(TABLE)
def test_what_an_error_says(row: Row, tmp_path: Path) -> None:
    row.check(tmp_path)
