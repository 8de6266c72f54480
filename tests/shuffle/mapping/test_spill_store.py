"""Where spills lie: on another file system than the target, on several disks, full ones, missing ones."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from shuffle import HashPartitioner, MapOptions, MapWriter, ShuffleWarning
from tests.map_outputs import MIB, SCHEMA, assert_partitioned, batches_of, rows_of, write_all


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the target goes; a test leaves nothing else there."""
    directory = tmp_path / "outputs"
    directory.mkdir()
    return directory / "map.arrow"


@pytest.mark.parametrize("only_one", [False, True])
def test_spills_on_another_file_system_are_copied(target: Path, tmpfs_dir: Path, only_one: bool) -> None:
    batches = [pa.record_batch([[1], [0], ["x" * (3 * MIB)]], SCHEMA)] if only_one else list(batches_of(200_000, 9000))
    partitioner = HashPartitioner(["key"], 5)
    report, _ = write_all(target, batches, partitioner, memory_bytes=2 * MIB, spill_directories=[tmpfs_dir])
    assert_partitioned(target, batches, partitioner)
    assert (report.spill_count == 1) is only_one
    assert report.merge is not None
    assert os.listdir(tmpfs_dir) == []


@pytest.mark.parametrize("keep_spills", [False, True])
def test_a_full_disk_is_left_while_another_has_room(
    target: Path, tmp_path: Path, small_ext4_dir: Path, keep_spills: bool
) -> None:
    roomy = tmp_path / "roomy"
    roomy.mkdir()
    batches = list(batches_of(600_000, 20_000))
    partitioner = HashPartitioner(["key"], 5)
    with pytest.warns(ShuffleWarning, match=f"no further spills in {small_ext4_dir}: .*No space left"):
        report, _ = write_all(
            target,
            batches,
            partitioner,
            memory_bytes=4 * MIB,
            spill_directories=[small_ext4_dir, roomy],
            keep_spills=keep_spills,
        )
    assert_partitioned(target, batches, partitioner)
    assert report.spill_count > 4
    if keep_spills:
        assert {Path(spill).parent for spill in report.spills} == {small_ext4_dir, roomy}


@pytest.mark.parametrize("keep_spills", [False, True])
def test_a_full_disk_without_another_is_an_error_that_leaves_nothing(
    target: Path, small_ext4_dir: Path, keep_spills: bool
) -> None:
    options = MapOptions(memory_bytes=4 * MIB, spill_directories=[small_ext4_dir], keep_spills=keep_spills)
    before = sorted(os.listdir(small_ext4_dir))

    def fill() -> None:
        with MapWriter(target, SCHEMA, HashPartitioner(["key"], 5), options) as writer:
            for batch in batches_of(600_000, 20_000):
                writer.write(batch)

    with pytest.raises(OSError, match="No space left on device"):
        fill()
    assert os.listdir(target.parent) == []
    assert sorted(os.listdir(small_ext4_dir)) == before


def test_a_missing_directory_is_left_with_a_warning_or_is_an_error(target: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(FileNotFoundError, match="missing"):
        MapWriter(target, SCHEMA, HashPartitioner(["key"], 4), MapOptions(spill_directories=[missing]))
    assert os.listdir(target.parent) == []
    with pytest.warns(ShuffleWarning, match=f"no further spills in {missing}: No such file"):
        write_all(target, [rows_of(10)], HashPartitioner(["key"], 4), spill_directories=[missing, tmp_path])
    assert_partitioned(target, [rows_of(10)], HashPartitioner(["key"], 4))
