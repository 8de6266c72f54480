"""``shuffle diff``: the same, or the first difference."""

import json
from pathlib import Path

import pyarrow as pa

from shuffle.testing import write_spill
from tests.helpers.commands import error_of, run, succeeded
from tests.helpers.spills import flat_batch


def write_both(directory: Path) -> None:
    turned = pa.RecordBatch.from_pylist(flat_batch(4).to_pylist()[::-1], flat_batch(1).schema)
    write_spill({0: [flat_batch(2)], 2: [flat_batch(4)]}, directory / "a.arrow", partition_count=3)
    write_spill({0: [flat_batch(2)], 2: [turned]}, directory / "b.arrow", partition_count=3)


def test_the_same_rows_are_exit_0(tmp_path: Path) -> None:
    write_both(tmp_path)
    completed = run("shuffle diff a.arrow a.arrow", tmp_path)
    assert (completed.returncode, completed.stdout) == (0, "")
    assert completed.stderr == "a.arrow and a.arrow hold the same rows\n"
    assert succeeded("shuffle diff a.arrow b.arrow --any-order --quiet", tmp_path) == ""


def test_different_rows_are_exit_1_and_the_first_is_named(tmp_path: Path) -> None:
    write_both(tmp_path)
    completed = run("shuffle diff a.arrow b.arrow", tmp_path)
    assert (completed.returncode, completed.stderr) == (1, "")
    place = "partition 2, row 0, column n"
    assert completed.stdout == f"a.arrow and b.arrow differ: {place}: 0 in the first, 3 in the second\n"
    report = json.loads(run("shuffle diff a.arrow b.arrow --json", tmp_path).stdout)
    assert (report["same"], report["difference"]["partition"], report["difference"]["row"]) == (False, 2, 0)


def test_what_cannot_be_compared_is_exit_2(tmp_path: Path) -> None:
    write_both(tmp_path)
    assert "gone.arrow" in error_of(run("shuffle diff a.arrow gone.arrow", tmp_path))
    (tmp_path / "b.arrow").write_bytes((tmp_path / "a.arrow").read_bytes()[:-1])
    assert "shuffle repair" in error_of(run("shuffle diff a.arrow b.arrow", tmp_path))
