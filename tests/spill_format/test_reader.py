"""What a partitioned file gives to its reader."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from spill_format import ChecksumError, SpillFile
from tests.support import FLAT_SCHEMA, Anatomy, flat_batch, write_file, write_sample


@pytest.fixture
def path(verified_dir: Path) -> Path:
    return write_sample(verified_dir / "sample.spill.arrow")


def test_a_file_describes_itself(path: Path) -> None:
    with SpillFile(path) as spill:
        assert spill.path == str(path)
        assert spill.schema is spill.schema
        assert spill.schema == FLAT_SCHEMA
        assert spill.partition_count == 4
        assert spill.alignment == 64
        assert spill.byte_count == path.stat().st_size
        assert spill.batch_counts.tolist() == [2, 0, 1, 0]
        assert spill.layout.rows is not None
        assert spill.layout.rows.tolist() == [4, 0, 4, 0]
        assert spill.layout.row_count == 8


@pytest.mark.parametrize(
    ("partitions", "rows"),
    [
        ((0,), [0, 1, 2, 3]),
        ((1,), []),
        ((2,), [4, 5, 6, 7]),
        ((3,), []),
        ((0, 4), list(range(8))),
        ((1, 3), [4, 5, 6, 7]),
        ((2, 2), []),
        ((4, 4), []),
        ((np.int32(0), np.int64(1)), [0, 1, 2, 3]),
    ],
)
def test_partitions_are_read_alone_and_together(path: Path, partitions: tuple[int, ...], rows: list[int]) -> None:
    with SpillFile(path) as spill:
        table = spill.read(*partitions)
        assert table.schema == FLAT_SCHEMA
        assert table["n"].to_pylist() == rows
        reader = spill.batches(*partitions)
        assert reader.schema == FLAT_SCHEMA
        assert reader.read_all() == table


@pytest.mark.parametrize("partitions", [(-1,), (4,), (0, 5), (3, 2), (-1, 2)])
@pytest.mark.parametrize("method", [SpillFile.read, SpillFile.batches])
def test_partitions_that_do_not_exist_are_an_index_error(
    path: Path, method: Callable[..., object], partitions: tuple[int, ...]
) -> None:
    with SpillFile(path) as spill, pytest.raises(IndexError, match="not exist: there are 4, from 0"):
        method(spill, *partitions)


def test_a_partition_is_an_integer(path: Path) -> None:
    with SpillFile(path) as spill, pytest.raises(TypeError, match="float"):
        spill.read(1.0)  # type: ignore[arg-type]


def test_nothing_is_copied(verified_dir: Path) -> None:
    batch = pa.record_batch({"n": np.arange(1 << 20)})
    path = write_file(verified_dir / "x.arrow", {0: [batch]}, 1, schema=batch.schema)
    with SpillFile(path) as spill:
        before = pa.total_allocated_bytes()
        table = spill.read(0)
        assert pa.total_allocated_bytes() - before < 1 << 16
        assert table.nbytes == 8 << 20


def test_what_was_read_outlives_the_file(path: Path) -> None:
    spill = SpillFile(path)
    table = spill.read(0)
    spill.close()
    spill.close()
    del spill
    gc.collect()
    path.rename(path.with_name("renamed"))
    assert table["n"].to_pylist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "act", [lambda spill: spill.read(0), lambda spill: spill.batches(0).read_all(), lambda spill: spill.verify()]
)
def test_a_closed_file_is_not_read(path: Path, act: Callable[[SpillFile], object]) -> None:
    with SpillFile(path) as spill:
        pass
    with pytest.raises(ValueError, match=r"sample\.spill\.arrow: the file is closed"):
        act(spill)


def test_threads_read_one_file(verified_dir: Path) -> None:
    partitions = {partition: [flat_batch(3, 3 * partition)] for partition in range(200)}
    path = write_file(verified_dir / "x.arrow", partitions, 200)
    with SpillFile(path) as spill, ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(spill.read, range(200)))
    assert pa.concat_tables(tables)["n"].to_pylist() == list(range(600))


def test_verifying_names_the_damaged_partition_alone(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "x.arrow")
    sound = Anatomy.of(path)
    path.write_bytes(sound.patched(sound.offsets[2] + 8, b"\xee"))
    with SpillFile(path) as spill:
        for partition in (0, 1, 3):
            spill.verify_partition(partition)
        with pytest.raises(ChecksumError) as caught:
            spill.verify_partition(2)
        assert (caught.value.partition, caught.value.offset) == (2, sound.offsets[2])
        with pytest.raises(IndexError):
            spill.verify_partition(4)
        assert spill.read(0).num_rows == 4
