"""Errors of what tests are helped with: which partition, which row, what was expected of it."""

from pathlib import Path

import pyarrow as pa

from shuffle import HashPartitioner
from shuffle.merging.copy.buffered import copy_with_buffer
from shuffle.merging.copy.job import CopyJob
from shuffle.merging.copy.ladder import CopyMethod
from shuffle.merging.copy.outcome import Outcome
from shuffle.testing import assert_layout, assert_partitioned_by, assert_same_rows, conformance, write_spill
from spill_format import TruncatedError
from tests.errors.rows import Provoked, Raised, Table, each_row, elsewhere

ASSERTIONS = "tests/shuffle/testing/test_assertions.py"
CHECKS = "tests/shuffle/testing/test_copy_checks.py"
SPILLS = "tests/shuffle/testing/test_spills.py"


def spill_in(directory: Path) -> Path:
    return write_spill({0: [{"n": 1}], 1: [{"n": 2}]}, directory / "a.arrow")


def naming_no_source(job: CopyJob, start: int, end: int) -> Outcome:
    try:
        return copy_with_buffer(job, start, end)
    except TruncatedError as error:
        raise TruncatedError("the source is short") from error


def check_truncation(method: CopyMethod, directory: Path) -> None:
    (check,) = [check for check in conformance(method, directory=directory) if "cut" in check.name]
    check()


TABLE: Table = {
    "shuffle/testing/__init__.py": [
        *elsewhere(
            "tests/shuffle/testing/test_names.py::test_a_name_that_is_not_there_is_told", "module … has no attribute …"
        ),
    ],
    "shuffle/testing/assertions.py": [
        *elsewhere(
            f"{ASSERTIONS}::test_turns_leave_no_trace",
            "… places rows by their turn, which a file does not record",
        ),
        *elsewhere(
            f"{ASSERTIONS}::test_the_first_misplaced_row_is_shown",
            "…: row … of partition … belongs to partition … by …\n  …\n  misplaced in this partition: … of …",
        ),
        Raised(
            AssertionError,
            "PATH/a.arrow has 2 partitions, not 3",
            lambda directory: assert_layout(spill_in(directory), [1, 2, 3]),
        ),
        Raised(
            AssertionError,
            "PATH/a.arrow has 2 partitions, HashPartitioner(['n'], 3) has 3",
            lambda directory: assert_partitioned_by(spill_in(directory), HashPartitioner("n", 3)),
        ),
        Raised(
            AssertionError,
            "PATH/a.arrow has 2 partitions, PATH/b.arrow has 1 partition",
            lambda directory: assert_same_rows(
                spill_in(directory), write_spill({0: [{"n": 1}]}, directory / "b.arrow")
            ),
        ),
        Raised(
            AssertionError,
            "PATH/a.arrow and the second differ first in partition 1, row 0 of PATH/a.arrow\n  {'n': 2}\n"
            "  once in PATH/a.arrow, not at all in the second",
            lambda directory: assert_same_rows(spill_in(directory), {0: [{"n": 1}], 1: [{"n": 3}]}, any_order=True),
        ),
        *elsewhere(
            f"{ASSERTIONS}::test_the_first_row_lost_or_added_is_shown",
            "…; the first … is in …\n  …\n  … in the inputs, … in the outputs",
            "… has another schema than …: …",
        ),
    ],
    "shuffle/testing/contents.py": [
        *elsewhere(
            f"{ASSERTIONS}::test_what_is_neither_file_nor_rows_is_refused",
            "… is neither a path nor a table nor {partition: rows}, but …",
        ),
    ],
    "shuffle/testing/copy_attempts.py": [
        *elsewhere(
            f"{CHECKS}::test_every_check_catches_something",
            "it does not end: … was called again after … system calls",
            "it raised …",
            "it answered … instead of an Outcome",
            "it says that it came to …, outside of the span",
            "it says that it is done, and that it came to … only",
            "the target's byte … is …, not …",
            "it wrote byte … of the target, outside of the span",
            "…, span […, …): …",
        ),
    ],
    "shuffle/testing/copy_checks.py": [
        Raised(
            AssertionError,
            "source 0 is cut to 0 bytes, span […): its error does not name …/source-0: the source is short",
            lambda directory: check_truncation(naming_no_source, directory),
        ),
        *elsewhere(
            f"{CHECKS}::test_every_check_catches_something",
            "it copied past the job's kernel: no test can make that fail",
            "it says that it is done",
            "its stop says errno …, not …",
            "its stop gives no reason",
            "it must raise OSError with errno …, not …",
            "its error names no file: …",
            "a call that copies nothing must make it stop, not …",
            "it does not ask for the file position after every sendfile",
            "the progress that it told adds up to … bytes: use job.pieces or job.tell",
            "it says that it took … system calls, not …",
            "it left descriptors open: …",
            "it must raise …, not …",
        ),
        *elsewhere(
            f"{CHECKS}::test_a_method_that_copies_nothing_here_is_not_conformant_for_that",
            "it stopped at … where it should copy all: …; does the file system (directory=…, alignment=…) "
            "support the method?",
        ),
    ],
    "shuffle/testing/file_systems.py": [
        *elsewhere(
            "tests/test_file_systems.py::test_a_size_that_mkfs_would_refuse_is_told_so", "… needs at least … MiB, not …"
        ),
    ],
    "shuffle/testing/rows.py": [
        Raised(
            ValueError,
            "partition 2, row 1, column 'n': 'a' is no int8 (…)",
            lambda directory: write_spill(
                {2: [{"n": 1}, {"n": "a"}]}, directory / "a.arrow", schema=pa.schema([("n", pa.int8())])
            ),
        ),
        *elsewhere(
            f"{SPILLS}::test_what_are_no_rows_is_refused_with_its_place_and_leaves_nothing",
            "partition … has rows of another schema: …",
            "rows are given by the number of their partition, {0: rows}, not by …",
            "partitions are numbered from 0, not …",
            "partition …: rows are a table, a dict of columns or a list, not …",
            "partition …, row …: a row is a dict or a tuple, not …",
            "partition …, row …: rows are all dicts or all tuples",
            "partition …, row …: the schema has no column …",
            "partition …: rows that are tuples need a schema",
            "partition …, row …: … values for the columns …: …",
            "partition …: columns of different lengths: …",
            "partition …: the schema has no column …",
            "column …: no type holds all its values (…); pass schema=…",
        ),
        *elsewhere(
            f"{SPILLS}::test_no_rows_at_all_need_a_schema",
            "there are no rows to infer a schema from: pass schema=…",
        ),
        *elsewhere(
            "tests/shuffle/testing/test_strategies.py::test_what_is_worth_testing_comes_up", "partition …, column …: …"
        ),
    ],
    "shuffle/testing/scripted_kernel.py": [
        *elsewhere(
            "tests/shuffle/testing/test_scripted_kernel.py::test_a_script_without_meaning_is_refused",
            "no system call …: there are …",
            "…: steps behind … would never be reached",
            "…: … is no call at all",
            "… moves no bytes: … means nothing there",
        ),
    ],
    "shuffle/testing/strategies.py": [
        *elsewhere(
            "tests/shuffle/testing/test_strategies.py::test_what_has_no_values_is_told",
            "there is no strategy for values of …",
        ),
    ],
}


@each_row(TABLE)
def test_what_an_error_says(row: Provoked, tmp_path: Path) -> None:
    row.check(tmp_path)
