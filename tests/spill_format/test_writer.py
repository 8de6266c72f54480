"""What the writer takes, what it refuses, and that nothing appears unless all was well."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import spill_format
from spill_format import SpillFile, SpillWriter, TargetExistsError
from spill_format.encoder import SpillEncoder
from tests.helpers.spills import FLAT_SCHEMA, flat_batch, read_everything

UNION_OF_DICTIONARIES = pa.sparse_union([pa.field("d", pa.dictionary(pa.int8(), pa.string()))])
Act = Callable[[SpillWriter], object]


def test_batches_slices_and_chunked_tables_are_written(verified_dir: Path) -> None:
    path = verified_dir / "x.arrow"
    numpy_zero: Any = np.int64(0)
    table = pa.Table.from_batches([flat_batch(2, 4), flat_batch(0), flat_batch(3, 6)])
    with SpillWriter(path, FLAT_SCHEMA, 3) as writer:
        writer.write(0, flat_batch(10).slice(1, 3))
        writer.write(numpy_zero, table)
        writer.write(2, table.slice(5))
        writer.write(2, flat_batch(1, 9))
    with SpillFile(path) as spill:
        assert spill.read(0)["n"].to_pylist() == [1, 2, 3, 4, 5, 6, 7, 8]
        assert spill.read(2)["n"].to_pylist() == [9]
        assert spill.batch_counts.tolist() == [3, 0, 1]
        assert writer.layout is not None
        assert writer.layout.offsets.tolist() == spill.layout.offsets.tolist()


def test_metadata_of_a_schema_may_differ(verified_dir: Path) -> None:
    schema = FLAT_SCHEMA.with_metadata({"of": "writer"})
    for compression in (None, "lz4"):
        path = verified_dir / f"{compression}.arrow"
        with SpillWriter(path, schema, 1, compression) as writer:
            writer.write(0, flat_batch(2).replace_schema_metadata({"of": "batch"}))
        assert read_everything(path).schema.metadata == {b"of": b"writer"}


def test_the_caller_may_reuse_the_memory_of_a_batch(verified_dir: Path) -> None:
    numbers = np.arange(3)
    batch = pa.record_batch([pa.array(numbers)], names=["n"])
    with SpillWriter(verified_dir / "x.arrow", batch.schema, 1) as writer:
        writer.write(0, batch)
        numbers[:] = -1
    assert read_everything(verified_dir / "x.arrow")["n"].to_pylist() == [0, 1, 2]


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_many_and_large_batches_pass_the_buffer(verified_dir: Path, compression: str | None) -> None:
    generator = np.random.default_rng(0)
    large = pa.record_batch({"n": generator.integers(0, 2**62, 1 << 20)})  # 8 MiB
    path = verified_dir / "x.arrow"
    with SpillWriter(path, large.schema, 2, compression) as writer:
        for start in range(3000):
            writer.write(0, large.slice(start, 1))
        writer.write(0, large)
        writer.write(1, large)
    assert read_everything(path).num_rows == 3000 + 2 * large.num_rows


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"partition_count": 0}, ValueError, "number of partitions must be from 1"),
        ({"partition_count": -1}, ValueError, "number of partitions"),
        ({"partition_count": 2**31}, ValueError, "number of partitions"),
        ({"partition_count": 1.0}, TypeError, "must be an integer, not float"),
        ({"partition_count": True}, TypeError, "must be an integer, not bool"),
        ({"compression": "gzip"}, ValueError, "one of None, 'lz4', 'zstd', not 'gzip'"),
        ({"alignment": 100}, ValueError, "power of two"),
        ({"schema": ["n"]}, TypeError, "pyarrow.Schema, not list"),
        ({"schema": pa.schema([("u", UNION_OF_DICTIONARIES)])}, TypeError, "cannot be stored"),
    ],
)
def test_wrong_arguments_leave_nothing(
    tmp_path: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        SpillWriter(tmp_path / "x.arrow", **{"schema": FLAT_SCHEMA, "partition_count": 2, **arguments})
    assert list(tmp_path.iterdir()) == []


WRONG_WRITES: list[tuple[Act, type[Exception], str]] = [
    (lambda writer: writer.write(4, flat_batch(1)), ValueError, "partition 4 does not exist: there are 4, from 0"),
    (lambda writer: writer.write(-1, flat_batch(1)), ValueError, "partition -1 does not exist"),
    (lambda writer: writer.write(1, flat_batch(1)), ValueError, "partition 1 after partition 2"),
    (lambda writer: writer.write(1, flat_batch(0)), ValueError, "partition 1 after partition 2"),
    (lambda writer: writer.write(2.0, flat_batch(1)), TypeError, "float"),  # type: ignore[arg-type]
    (lambda writer: writer.write(2, [1]), TypeError, "RecordBatch or Table, not as list"),
    (
        lambda writer: writer.write(2, flat_batch(1).select(["n"])),
        ValueError,
        "another schema than the writer: no column",
    ),
    (lambda writer: writer.write(2, pa.table({"n": pa.array([], pa.int8())})), ValueError, "another schema"),
]


@pytest.mark.parametrize(("act", "error", "message"), WRONG_WRITES)
def test_after_a_failed_write_nothing_is_published(
    tmp_path: Path, act: Act, error: type[Exception], message: str
) -> None:
    writer = SpillWriter(tmp_path / "x.arrow", FLAT_SCHEMA, 4)
    writer.write(2, flat_batch(1))
    with pytest.raises(error, match=message):
        act(writer)
    with pytest.raises(ValueError, match=f"writing failed before .{error.__name__}.*rows are missing"):
        writer.write(3, flat_batch(1))
    with pytest.raises(ValueError, match="rows are missing"):
        writer.close()
    writer.close()
    assert writer.layout is None
    assert list(tmp_path.iterdir()) == []


def test_an_exception_discards_what_was_written(tmp_path: Path) -> None:
    with pytest.raises(KeyError), SpillWriter(tmp_path / "x.arrow", FLAT_SCHEMA, 1) as writer:  # noqa: PT012
        writer.write(0, flat_batch(1))
        raise KeyError
    writer.close()
    with pytest.raises(ValueError, match="the writer is closed"):
        writer.write(0, flat_batch(1))
    assert list(tmp_path.iterdir()) == []


def test_a_closed_writer_takes_no_more_and_closes_again(verified_dir: Path) -> None:
    writer = SpillWriter(verified_dir / "x.arrow", FLAT_SCHEMA, 1)
    writer.close()
    writer.close()
    writer.discard()
    with pytest.raises(ValueError, match=r"x\.arrow: the writer is closed"):
        writer.write(0, flat_batch(1))
    assert read_everything(verified_dir / "x.arrow").num_rows == 0


def test_an_existing_file_is_kept_unless_told(verified_dir: Path) -> None:
    path = verified_dir / "x.arrow"
    SpillWriter(path, FLAT_SCHEMA, 1).close()
    with pytest.raises(TargetExistsError):
        SpillWriter(path, FLAT_SCHEMA, 2)
    with SpillWriter(path, FLAT_SCHEMA, 3, overwrite=True, durable=True):
        pass
    with SpillFile(path) as spill:
        assert spill.partition_count == 3


def test_a_finished_encoder_takes_no_more(tmp_path: Path) -> None:
    with (tmp_path / "x.arrow").open("wb") as file:
        encoder = SpillEncoder(file, FLAT_SCHEMA, 2)
        encoder.write(1, flat_batch(1))
        layout = encoder.finish()
        for act in (lambda: encoder.write(1, flat_batch(1)), encoder.finish):
            with pytest.raises(ValueError, match="the file is finished"):
                act()
    assert encoder.byte_count == (tmp_path / "x.arrow").stat().st_size
    assert layout.row_count == 1
    assert read_everything(tmp_path / "x.arrow").num_rows == 1


def test_a_full_disk_leaves_nothing_and_names_the_file(small_ext4_dir: Path) -> None:
    path = small_ext4_dir / "x.arrow"
    before = set(small_ext4_dir.iterdir())
    batch = pa.record_batch({"n": np.arange(1 << 19)})  # 4 MiB
    with pytest.raises(OSError, match=r"x\.arrow") as caught, SpillWriter(path, batch.schema, 8) as writer:  # noqa: PT012
        for partition in range(8):
            writer.write(partition, batch)
    assert caught.value.errno == errno.ENOSPC
    assert set(small_ext4_dir.iterdir()) == before


def test_a_write_that_stops_midway_is_reported(tmp_path: Path) -> None:
    """The kernel writes what a limit allows, and refuses the rest at the next call."""
    program = f"""
import resource, signal
from pathlib import Path
import numpy as np, pyarrow as pa
from spill_format import SpillWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 20, resource.RLIM_INFINITY))
batch = pa.record_batch({{"n": np.arange(1 << 20)}})
try:
    with SpillWriter({str(tmp_path / "x.arrow")!r}, batch.schema, 1) as writer:
        writer.write(0, batch)
except OSError as error:
    print(error.errno, Path(error.filename).name)
"""
    home = Path(spill_format.__file__).parents[1]
    completed = subprocess.run([sys.executable, "-c", program], cwd=home, capture_output=True, text=True, check=True)
    assert completed.stdout.split() == [str(errno.EFBIG), "x.arrow"]
    assert list(tmp_path.iterdir()) == []


def test_the_file_ends_where_writing_ended(verified_dir: Path) -> None:
    path = verified_dir / "x.arrow"
    with SpillWriter(path, FLAT_SCHEMA, 1) as writer:
        writer.write(0, flat_batch(3))
    with SpillFile(path) as spill:
        assert spill.byte_count == os.stat(path).st_size
