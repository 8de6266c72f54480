"""Where spills lie: on another file system than the target, on several disks, full and missing ones; which stay."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shuffle import HashPartitioner, MapOptions, MapWriter, ShuffleWarning, merge
from spill_format import SpillFile
from spill_format.errors import TargetExistsError
from tests.helpers.map_outputs import MIB, SCHEMA, assert_partitioned, batches_of, rows_of, write_all


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


# --- spills that are kept ----------------------------------------------------------------------------------------

PARTITIONER = HashPartitioner(["key"], 5)
BATCHES = list(batches_of(100_000, 3000))


@pytest.mark.parametrize(("memory_bytes", "is_only_one"), [(2 * MIB, False), (64 * MIB, True)])
@pytest.mark.parametrize("places", [[], ["a"], ["a", "b"]], ids=["beside", "one", "two"])
def test_spills_alone_merge_into_what_a_run_with_a_merge_writes(
    target: Path, tmp_path: Path, memory_bytes: int, is_only_one: bool, places: list[str]
) -> None:
    directories = [tmp_path / place for place in places]
    for directory in directories:
        directory.mkdir()
    options: dict[str, Any] = {"memory_bytes": memory_bytes, "spill_directories": directories}
    report, _ = write_all(target, BATCHES, PARTITIONER, spills_only=True, **options)
    assert (report.target, report.target_bytes, report.merge) == (None, 0, None)
    spill_count = len(report.spills)
    assert spill_count == report.spill_count
    assert (spill_count == 1) is is_only_one
    assert report.row_count == 100_000
    assert report.spilled_bytes == sum(os.path.getsize(spill) for spill in report.spills)
    written = [directories[n % len(places)] if places else target.parent for n in range(spill_count)]
    assert report.spills == tuple(f"{place}/map-{n:05}.spill.arrow" for n, place in enumerate(written))
    assert set(target.parent.iterdir()) == (set() if places else set(map(Path, report.spills)))

    merge(report.spills, target)
    whole = tmp_path / "whole.arrow"
    write_all(whole, BATCHES, PARTITIONER, **options)
    assert target.read_bytes() == whole.read_bytes()
    assert_partitioned(target, BATCHES, PARTITIONER)


def test_spills_alone_of_no_rows_are_one_of_empty_partitions(target: Path) -> None:
    report, _ = write_all(target, [rows_of(0)], PARTITIONER, spills_only=True)
    (spill,) = report.spills
    with SpillFile(spill) as opened:
        opened.verify()
        assert opened.schema.equals(SCHEMA)
        assert opened.partition_count == 5
        assert opened.read(0, 5).num_rows == 0


def test_spills_alone_neither_mind_nor_touch_the_target(target: Path) -> None:
    target.write_bytes(b"mine")
    write_all(target, BATCHES[:1], PARTITIONER, spills_only=True)
    assert target.read_bytes() == b"mine"


@pytest.mark.parametrize("row_count", [0, 100, 100_000])
def test_spills_alone_are_removed_after_an_exception(target: Path, row_count: int) -> None:
    def interrupted() -> None:
        with MapWriter(target, SCHEMA, PARTITIONER, MapOptions(memory_bytes=MIB, spills_only=True)) as writer:
            for batch in batches_of(row_count, 10_000):
                writer.write(batch)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(target.parent) == []


KEEPING = [{"keep_spills": True}, {"spills_only": True}]


@pytest.mark.parametrize("options", KEEPING, ids=str)
@pytest.mark.parametrize("number", ["00000", "00007", "123456"])
def test_an_earlier_spill_is_refused_before_a_row_is_written(
    target: Path, number: str, options: dict[str, Any]
) -> None:
    earlier = target.with_name(f"map-{number}.spill.arrow")
    earlier.write_bytes(b"mine")
    with pytest.raises(TargetExistsError, match=f"map-{number}.spill.arrow: an earlier spill.*overwrite=True"):
        MapWriter(target, SCHEMA, PARTITIONER, MapOptions(**options))
    assert os.listdir(target.parent) == [earlier.name]
    assert earlier.read_bytes() == b"mine"


@pytest.mark.parametrize("options", KEEPING, ids=str)
def test_a_spill_that_appears_meanwhile_is_kept_and_refused(target: Path, options: dict[str, Any]) -> None:
    other = target.with_name("map-00002.spill.arrow")
    writer = MapWriter(target, SCHEMA, PARTITIONER, MapOptions(memory_bytes=MIB, **options))
    for batch in BATCHES:
        writer.write(batch)
    other.write_bytes(b"another task's")
    with pytest.raises(TargetExistsError, match=r"map-00002\.spill\.arrow: an earlier spill"):
        writer.close()
    assert os.listdir(target.parent) == [other.name]
    assert other.read_bytes() == b"another task's"


@pytest.mark.slow
def test_more_spills_than_may_be_open_are_merged_into_fewer(target: Path, tmp_path: Path) -> None:
    batches = [pa.record_batch([[n], [n], ["x" * MIB]], SCHEMA) for n in range(200)]
    report, _ = write_all(target, batches, PARTITIONER, memory_bytes=MIB, spills_only=True, threads=1)
    assert report.spill_count == 200
    assert report.spills == tuple(str(target.with_name(f"map-{n:05}.spill.arrow")) for n in range(73))
    merge(report.spills, tmp_path / "merged.arrow")
    assert_partitioned(tmp_path / "merged.arrow", batches, PARTITIONER)


@pytest.mark.parametrize("options", KEEPING, ids=str)
def test_earlier_spills_are_all_replaced_on_request(target: Path, options: dict[str, Any]) -> None:
    others = ["map-1.spill.arrow", "map-00000.spill.arrow.old", "amap-00000.spill.arrow", "map-x-00000.spill.arrow"]
    for name in ["map-00000.spill.arrow", "map-00007.spill.arrow", *others]:
        target.with_name(name).write_bytes(b"mine")
    report, _ = write_all(target, BATCHES[:1], PARTITIONER, overwrite=True, **options)
    assert report.spill_count == 1
    made = {"map-00000.spill.arrow"} | ({"map.arrow"} if report.target else set())
    assert set(os.listdir(target.parent)) == {*others, *made}
    assert all(target.with_name(name).read_bytes() == b"mine" for name in others)
