"""Spills from plain values: what is written for each way to give rows, and what is refused."""

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shuffle.testing import verify_spills, write_spill
from spill_format import ChecksumError, CorruptError, NotPartitionedError, SpillFile, TargetExistsError

SCHEMA = pa.schema([("n", pa.int64()), ("s", pa.string())])
TABLE = pa.table({"n": [1, 2], "s": ["a", None]}, schema=SCHEMA)
TWO_BATCHES = pa.Table.from_batches([batch for row in (0, 1) for batch in TABLE.slice(row, 1).to_batches()])


def read(path: Path, partition: int) -> pa.Table:
    with SpillFile(path) as spill:
        return spill.read(partition)


@pytest.mark.parametrize(
    ("rows", "schema"),
    [
        pytest.param([{"n": 1, "s": "a"}, {"n": 2, "s": None}], None, id="dicts"),
        pytest.param([{"n": 1, "s": "a"}, {"n": 2}], None, id="dicts that lack a column"),
        pytest.param([{"n": 1, "s": "a"}, {"n": 2}], SCHEMA, id="dicts with a schema"),
        pytest.param([(1, "a"), (2, None)], SCHEMA, id="tuples"),
        pytest.param({"n": [1, 2], "s": ["a", None]}, None, id="columns"),
        pytest.param({"n": np.array([1, 2]), "s": pa.array(["a", None])}, None, id="columns that are arrays"),
        pytest.param({"n": pa.chunked_array([[1], [2]]), "s": ["a", None]}, SCHEMA, id="columns in chunks"),
        pytest.param(TABLE, None, id="a table"),
        pytest.param(TWO_BATCHES, SCHEMA, id="a table in chunks"),
        pytest.param(TABLE.to_batches()[0], None, id="a record batch"),
        pytest.param(TWO_BATCHES.to_batches(), None, id="record batches"),
        pytest.param([TABLE.slice(0, 1), TABLE.slice(1)], None, id="tables"),
    ],
)
def test_rows_are_given_in_many_ways(spill_dir: Path, rows: Any, schema: pa.Schema | None) -> None:
    path = write_spill({1: rows}, spill_dir / "x.spill.arrow", schema=schema)

    assert read(path, 1).equals(TABLE)
    assert read(path, 0).num_rows == 0


def test_each_record_batch_stays_one(spill_dir: Path) -> None:
    path = write_spill({0: TWO_BATCHES.to_batches(), 1: TABLE, 2: [{"n": 1}]}, spill_dir / "x.arrow")

    with SpillFile(path) as spill:
        assert spill.batch_counts.tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("partitions", "expected"),
    [
        ({0: [{"x": 1}], 1: [{"x": 2.5}]}, {"x": pa.float64()}),
        ({0: [{"x": None}], 1: [{"x": "a"}]}, {"x": pa.string()}),
        ({0: [{"x": None}]}, {"x": pa.null()}),
        ({1: [{"y": True}], 0: [{"x": b""}]}, {"x": pa.binary(), "y": pa.bool_()}),
        ({0: {"x": np.array([1], np.int16)}, 1: {"x": [7]}}, {"x": pa.int16()}),
        ({0: [{"x": [1, 2]}], 1: [{"x": []}]}, {"x": pa.list_(pa.int64())}),
        ({0: [{"x": {"a": 1}}], 1: [{"x": {"b": "c"}}]}, {"x": pa.struct({"a": pa.int64(), "b": pa.string()})}),
        ({0: [{"x": dt.date(2024, 5, 6)}]}, {"x": pa.date32()}),
        ({0: [{"n": 1}], 1: TABLE}, {"n": pa.int64(), "s": pa.string()}),
        ({0: TABLE.slice(0, 0)}, {"n": pa.int64(), "s": pa.string()}),
    ],
)
def test_the_schema_is_inferred_from_all_partitions_together(
    spill_dir: Path, partitions: dict[int, Any], expected: dict[str, pa.DataType]
) -> None:
    with SpillFile(write_spill(partitions, spill_dir / "x.arrow")) as spill:
        assert dict(zip(spill.schema.names, spill.schema.types, strict=True)) == expected


def test_dictionaries_however_deep_are_built_from_plain_values(spill_dir: Path) -> None:
    words = pa.dictionary(pa.int8(), pa.string())
    schema = pa.schema([("flat", words), ("deep", pa.list_(words))])
    rows = [{"flat": "a", "deep": ["b", None, "b"]}, {"flat": None, "deep": None}]

    table = read(write_spill({0: rows}, spill_dir / "x.arrow", schema=schema), 0)

    assert table.schema.equals(schema)
    assert table.to_pylist() == rows


def test_partition_count_compression_and_alignment_are_the_writers(spill_dir: Path) -> None:
    path = write_spill(
        {2: {"n": range(1000)}}, spill_dir / "x.arrow", partition_count=9, compression="zstd", alignment=512
    )

    with SpillFile(path) as spill:
        assert (spill.partition_count, spill.alignment) == (9, 512)
        assert spill.layout.byte_count < 8000


def test_no_rows_at_all_need_a_schema(spill_dir: Path) -> None:
    with SpillFile(write_spill({}, spill_dir / "x.arrow", schema=SCHEMA)) as spill:
        assert (spill.partition_count, spill.layout.row_count) == (1, 0)
    with pytest.raises(ValueError, match="there are no rows to infer a schema from: pass schema="):
        write_spill({0: [], 3: []}, spill_dir / "y.arrow")


INT8 = pa.schema([("n", pa.int8())])
REFUSED: dict[str, tuple[dict[Any, Any], pa.Schema | None, type[Exception], str]] = {
    "no type": (
        {0: [{"n": 1}, {"n": "a"}]},
        None,
        ValueError,
        r"column 'n': no type holds all its values \(.*\); pass",
    ),
    "another type": (
        {2: [{"n": 1}, {"n": "a"}]},
        INT8,
        ValueError,
        r"partition 2, row 1, column 'n': 'a' is no int8 \(",
    ),
    "too large": ({0: {"n": [1, 300]}}, INT8, ValueError, r"partition 0, row 1, column 'n': 300 is no int8 \("),
    "another column": ({0: [{"n": 1}, {"m": 2}]}, INT8, ValueError, "partition 0, row 1: the schema has no column 'm'"),
    "another column of columns": ({0: {"m": [2]}}, INT8, ValueError, "partition 0: the schema has no column 'm'"),
    "lengths": ({0: {"a": [1], "b": []}}, None, ValueError, "partition 0: columns of different lengths: a 1, b 0"),
    "tuples of no schema": ({0: [(1,)]}, None, ValueError, "partition 0: rows that are tuples need a schema"),
    "long tuple": ({1: [(1,), (1, 2)]}, INT8, ValueError, r"partition 1, row 1: 2 values for the columns n: \(1, 2\)"),
    "another table": ({0: TABLE}, INT8, ValueError, "partition 0 has rows of another schema: a further column s"),
    "a number": ({0: 5}, None, TypeError, "partition 0: rows are a table, a dict of columns or a list, not 5"),
    "a string": ({0: "abc"}, None, TypeError, "partition 0: rows are .*, not 'abc'"),
    "numbers": ({0: [5]}, None, TypeError, "partition 0, row 0: a row is a dict or a tuple, not 5"),
    "mixed": ({0: [{"n": 1}, (1,)]}, INT8, TypeError, "partition 0, row 1: rows are all dicts or all tuples"),
    "names": ({"n": [1]}, None, TypeError, r"by the number of their partition, \{0: rows\}, not by 'n'"),
    "negative": ({-1: [{"n": 1}]}, None, ValueError, "partitions are numbered from 0, not -1"),
    "too few partitions": ({1: [{"n": 1}]}, None, ValueError, "partition 1 does not exist: there are 1, from 0"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_are_no_rows_is_refused_with_its_place_and_leaves_nothing(
    tmp_path: Path, case: tuple[dict[Any, Any], pa.Schema | None, type[Exception], str]
) -> None:
    partitions, schema, kind, message = case
    partition_count = 1 if partitions.keys() == {1} and "does not exist" in message else None
    with pytest.raises(kind, match=message):
        write_spill(partitions, tmp_path / "x.arrow", schema=schema, partition_count=partition_count)

    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_replaced(spill_dir: Path) -> None:
    path = write_spill({0: TABLE}, spill_dir / "x.arrow")

    with pytest.raises(TargetExistsError):
        write_spill({0: TABLE}, path)


def test_without_a_path_each_file_is_a_new_one() -> None:
    first, second = write_spill({0: TABLE}), write_spill({0: TABLE})

    assert first != second
    assert read(first, 0).equals(read(second, 0))
    assert first.name.endswith(".spill.arrow")


def test_files_without_a_path_end_with_their_process_and_not_with_its_child() -> None:
    script = (
        "import os, sys\n"
        "from shuffle.testing import write_spill\n"
        "path = write_spill({0: [{'n': 1}]})\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    sys.exit()\n"
        "os.waitpid(child, 0)\n"
        "print(path.exists(), path)\n"
    )
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    existed, path = completed.stdout.split()
    assert existed == "True"
    assert not Path(path).parent.exists()


def test_verifying_finds_every_partitioned_file_below(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    written = [write_spill({0: TABLE}, tmp_path / name) for name in ("a.spill.arrow", "deep/b.arrow")]
    (tmp_path / "c.txt").write_bytes(b"no Arrow file")
    with pa.ipc.new_file(tmp_path / "plain.arrow", SCHEMA) as writer:
        writer.write(TABLE)

    assert verify_spills(tmp_path) == written


def test_verifying_names_the_damaged_file(tmp_path: Path) -> None:
    path = write_spill({0: TABLE}, tmp_path / "a.arrow")
    with SpillFile(path) as spill:
        end = int(spill.layout.offsets[-1])
    with path.open("r+b") as file:
        file.seek(end - 1)
        file.write(b"\xff")

    with pytest.raises(ChecksumError, match=r"a\.arrow, partition 0"):
        verify_spills(tmp_path)


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda path: path.write_bytes(b"not Arrow"), CorruptError),
        (lambda path: pa.ipc.new_file(path, SCHEMA).close(), NotPartitionedError),
    ],
)
def test_a_file_that_is_named_as_a_spill_must_be_one(tmp_path: Path, write: Any, error: type[Exception]) -> None:
    write(tmp_path / "a.spill.arrow")

    with pytest.raises(error):
        verify_spills(tmp_path)


def test_a_directory_that_is_not_there_is_not_verified(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        verify_spills(tmp_path / "missing")
