"""Errors about Spark's own files: which of the three, which partition or chunk, and what may be done."""

import os
import struct
from pathlib import Path

from shuffle.testing import write_output
from spill_format import CorruptError, TruncatedError
from spill_format.spark.outputs import index_path_of, read_checksums
from spill_format.spark.pushed import read_pushed
from tests.errors.rows import Raised, Row, each_row
from tests.helpers.spark_files import write_pushed

RANGES = [b"abc", b"", b"defghij"]


def offsets(*values: int) -> bytes:
    return struct.pack(f">{len(values)}q", *values)


def read_cut_chunk(directory: Path) -> object:
    pushed = read_pushed(write_pushed(directory / "a.data", [([0], b"abc")]))
    os.truncate(directory / "a.data", 0)
    return pushed.read(0)


TABLE: list[Row] = [
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
]


@each_row(TABLE)
def test_what_an_error_says(row: Row, tmp_path: Path) -> None:
    row.check(tmp_path)
