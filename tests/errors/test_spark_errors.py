"""Errors about Spark's own files: which of the three, which partition or chunk, and what may be done."""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shuffle import MergeOptions, merge
from shuffle.merging.push_merge import merge_pushed
from shuffle.testing import write_output
from spill_format import CorruptError, TruncatedError
from spill_format.spark.outputs import index_path_of, paths_beside, read_checksums, read_output
from spill_format.spark.pushed import read_pushed
from tests.errors.rows import Raised, Row, each_row
from tests.helpers.spark_files import write_pushed, write_spark

RANGES = [b"abc", b"", b"defghij"]


def offsets(*values: int) -> bytes:
    return struct.pack(f">{len(values)}q", *values)


def pushing(*names: str, **arguments: Any) -> Callable[[Path], object]:
    """What merges outputs of these names into the push-based layout."""

    def provoke(directory: Path) -> object:
        (directory / "merged").mkdir()
        sources = [write_spark(directory / name, RANGES) for name in names]
        return merge_pushed(sources, directory / "merged", application="a", **arguments)

    return provoke


def read_with_checksums_missing(directory: Path) -> object:
    write_spark(directory / "a.data", RANGES).with_suffix(".checksum.ADLER32").write_bytes(offsets(1, 1))
    return read_output(paths_beside(directory / "a.data"))


def merge_two_shuffles(directory: Path) -> object:
    sources = [write_spark(directory / f"shuffle_{shuffle}_0_0.data", RANGES) for shuffle in (3, 4)]
    return merge([directory], sources[0].with_name("merged.data"))


def read_cut_chunk(directory: Path) -> object:
    pushed = read_pushed(write_pushed(directory / "a.data", [([0], b"abc")]))
    os.truncate(directory / "a.data", 0)
    return pushed.read(0)


TABLE: list[Row] = [
    Raised(TruncatedError, "bytes for the checksums of 3 partitions", read_with_checksums_missing),
    Raised(ValueError, "outputs of several shuffles (3, 4) below", merge_two_shuffles),
    Raised(
        CorruptError,
        "the algorithm of its checksums: expected one of ADLER32, CRC32",
        lambda directory: read_checksums(directory / "a.checksum.MD5", 3),
    ),
    Raised(
        ValueError,
        "the name of a data file in Spark's layout ends with .data: …/a.arrow",
        lambda directory: index_path_of(directory / "a.arrow"),
    ),
    Raised(
        ValueError,
        "checksums are of ADLER32, CRC32, CRC32C or None, not of 'MD5'",
        lambda directory: write_output(directory / "a.data", RANGES, algorithm="MD5"),
    ),
    Raised(TruncatedError, "bytes of chunk 0: expected 3, found 0", read_cut_chunk),
    Raised(
        ValueError,
        "a push-based merge does not know delete_sources: leave this option out",
        pushing(options=MergeOptions(delete_sources=True)),
    ),
]


@each_row(TABLE)
def test_what_an_error_says(row: Row, tmp_path: Path) -> None:
    row.check(tmp_path)
