"""Errors of what tests are helped with: which partition, which row, what was expected of it."""

from pathlib import Path

from shuffle import HashPartitioner
from shuffle.merging.copy.buffered import copy_with_buffer
from shuffle.merging.copy.job import CopyJob
from shuffle.merging.copy.ladder import CopyMethod
from shuffle.merging.copy.outcome import Outcome
from shuffle.testing import assert_layout, assert_partitioned_by, assert_same_rows, conformance, write_spill
from spill_format import TruncatedError
from tests.errors.rows import Raised, Row, each_row


def spill_in(directory: Path) -> Path:
    return write_spill({0: [{"n": 1}], 1: [{"n": 2}]}, directory / "a.arrow")


def naming_no_source(job: CopyJob, start: int, stop: int) -> Outcome:
    try:
        return copy_with_buffer(job, start, stop)
    except TruncatedError as error:
        raise TruncatedError("the source is short") from error


def check_truncation(method: CopyMethod, directory: Path) -> None:
    (check,) = [check for check in conformance(method, directory=directory) if "cut" in check.name]
    check()


TABLE: list[Row] = [
    Raised(
        AssertionError,
        "its error does not name …/source-0: the source is short",
        lambda directory: check_truncation(naming_no_source, directory),
    ),
    Raised(
        AssertionError,
        "/a.arrow has 2 partitions, not 3",
        lambda directory: assert_layout(spill_in(directory), [1, 2, 3]),
    ),
    Raised(
        AssertionError,
        "/a.arrow has 2 partitions, HashPartitioner(['n'], 3) has 3",
        lambda directory: assert_partitioned_by(spill_in(directory), HashPartitioner("n", 3)),
    ),
    Raised(
        AssertionError,
        "/a.arrow has 2 partitions, …/b.arrow has 1 partition",
        lambda directory: assert_same_rows(spill_in(directory), write_spill({0: [{"n": 1}]}, directory / "b.arrow")),
    ),
]


@each_row(TABLE)
def test_what_an_error_says(row: Row, tmp_path: Path) -> None:
    row.check(tmp_path)
