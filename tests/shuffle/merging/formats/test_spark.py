"""Merging in Spark's layout: which files, in which order, with which checksums; repeated, refused, deleted."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shuffle import MergeOptions, ShuffleWarning, merge
from shuffle.merging.formats import SparkFormat
from spill_format import CorruptError, MismatchError, TargetExistsError, TruncatedError
from tests.helpers.spark_files import FUNCTIONS, assert_spark_output, checksum_file, ranges_of_spark, write_spark
from tests.helpers.spills import open_files_in, random_spill

MAPS = [[b"a0", b"", b"a2" * 50], [b"", b"", b"b2"], [b"c0", b"c1", b""]]
MERGED = [b"a0c0", b"c1", b"a2" * 50 + b"b2"]


def write_maps(directory: Path, algorithm: str | None = "ADLER32", shuffle: int = 0) -> list[Path]:
    """A map output for each of ``MAPS``; in natural order of their names, but not in that of their characters."""
    directory.mkdir(exist_ok=True)
    names = [f"shuffle_{shuffle}_{number}_0.data" for number in (2, 9, 10)]
    return [write_spark(directory / name, ranges, algorithm) for name, ranges in zip(names, MAPS, strict=True)]


@pytest.mark.parametrize("algorithm", [*FUNCTIONS, None])
@pytest.mark.parametrize("method", ["copy_file_range", "gather"])
def test_partitions_are_joined_in_the_order_given_and_checksums_are_combined(
    tmp_path: Path, algorithm: str | None, method: str
) -> None:
    sources = write_maps(tmp_path / "maps", algorithm)
    report = merge(sources, tmp_path / "m.data", MergeOptions(method=method, verify=True))  # type: ignore[arg-type]

    assert_spark_output(tmp_path / "m.data", MERGED, algorithm)
    assert (report.row_count, report.byte_count, report.repeated) == (None, sum(map(len, MERGED)), False)


def test_a_directory_stands_for_the_outputs_below_it_in_the_order_of_maps(tmp_path: Path) -> None:
    for file in [path for data in write_maps(tmp_path / "flat") for path in data.parent.glob(f"{data.stem}.*")]:
        place = tmp_path / "blockmgr-1" / f"{sum(file.name.encode()) % 64:02x}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.move(file, place)
    merge([tmp_path / "blockmgr-1"], tmp_path / "m.data")

    assert_spark_output(tmp_path / "m.data", MERGED)


def test_a_data_file_finds_its_index_in_another_subdirectory(tmp_path: Path) -> None:
    (data, *_) = write_maps(tmp_path / "blockmgr-1")
    for file, place in ((data, "0c"), (data.with_suffix(".index"), "30"), (checksum_file(data), "39")):
        (tmp_path / "blockmgr-1" / place).mkdir()
        shutil.move(file, tmp_path / "blockmgr-1" / place)
    merge([tmp_path / "blockmgr-1" / "0c" / data.name], tmp_path / "m.data")

    assert_spark_output(tmp_path / "m.data", MAPS[0])


def test_files_and_directories_stand_in_the_order_given(tmp_path: Path) -> None:
    write_maps(tmp_path / "blockmgr-1")
    other = write_spark(tmp_path / "other.data", [b"1", b"2", b"3"])
    merge([tmp_path / "blockmgr-1", other], tmp_path / "behind.data")
    merge([other, tmp_path / "blockmgr-1"], tmp_path / "before.data")

    assert_spark_output(tmp_path / "behind.data", [MERGED[0] + b"1", MERGED[1] + b"2", MERGED[2] + b"3"])
    assert_spark_output(tmp_path / "before.data", [b"1" + MERGED[0], b"2" + MERGED[1], b"3" + MERGED[2]])


def test_a_file_given_besides_its_directory_is_refused(tmp_path: Path) -> None:
    (first, *_) = write_maps(tmp_path / "blockmgr-1")
    with pytest.raises(ValueError, match="also given by its name"):
        merge([first, tmp_path / "blockmgr-1"], tmp_path / "m.data")


def test_of_several_shuffles_one_must_be_chosen(tmp_path: Path) -> None:
    write_maps(tmp_path / "blockmgr-1", shuffle=3)
    write_maps(tmp_path / "blockmgr-1", shuffle=4)
    with pytest.raises(ValueError, match=r"outputs of several shuffles \(3, 4\) below"):
        merge([tmp_path / "blockmgr-1"], tmp_path / "m.data")
    with pytest.raises(ValueError, match="no outputs of shuffle 5"):
        merge([tmp_path / "blockmgr-1"], tmp_path / "m.data", file_format=SparkFormat(shuffle=5))
    merge([tmp_path / "blockmgr-1"], tmp_path / "m.data", file_format=SparkFormat(shuffle=4))

    assert_spark_output(tmp_path / "m.data", MERGED)


def test_sparks_files_and_arrow_files_do_not_mix(tmp_path: Path) -> None:
    sources = [random_spill(tmp_path / "a.spill.arrow", [1]), write_spark(tmp_path / "b.data", [b"x"])]
    with pytest.raises(ValueError, match="Spark's files and Arrow files cannot be merged"):
        merge(sources, tmp_path / "m.data")


def test_the_name_of_the_target_must_be_a_data_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends with \.data"):
        merge(write_maps(tmp_path / "maps"), tmp_path / "merged")
    assert os.listdir(tmp_path) == ["maps"]


def test_an_unknown_format_is_a_wrong_argument(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="auto, arrow or spark"):
        merge([tmp_path / "a.data"], tmp_path / "m.data", file_format="orc")  # type: ignore[arg-type]


def changes_of(path: Path) -> tuple[int, int, int, int]:
    """What writing to a file changes; reading changes the time of access alone."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class TestChecksums:
    def test_a_source_without_bytes_needs_none(self, tmp_path: Path) -> None:
        sources = [*write_maps(tmp_path / "maps"), write_spark(tmp_path / "maps" / "empty.data", [b"", b"", b""], None)]
        merge(sources, tmp_path / "m.data")

        assert_spark_output(tmp_path / "m.data", MERGED)

    @pytest.mark.parametrize("other", ["CRC32", None])
    def test_where_sources_differ_the_target_has_none_and_a_warning_says_so(
        self, tmp_path: Path, other: str | None
    ) -> None:
        sources = write_maps(tmp_path / "maps")
        checksum_file(sources[1]).unlink()
        write_spark(sources[1], MAPS[1], other)
        with pytest.warns(ShuffleWarning, match=f"the target gets no checksums: {sources[1]} has none of ADLER32"):
            merge(sources, tmp_path / "m.data")

        assert_spark_output(tmp_path / "m.data", MERGED, None)

    @pytest.mark.parametrize("algorithm", FUNCTIONS)
    def test_verifying_notices_a_source_that_is_not_what_was_written(self, tmp_path: Path, algorithm: str) -> None:
        sources = write_maps(tmp_path / "maps", algorithm)
        content = bytearray(sources[0].read_bytes())
        content[-1] ^= 1
        sources[0].write_bytes(content)
        with pytest.raises(CorruptError, match=rf"partition 2.*{algorithm} of the"), pytest.warns(ShuffleWarning):
            merge(sources, tmp_path / "m.data", MergeOptions(verify=True))

        assert os.listdir(tmp_path) == ["maps"]


class TestRepeating:
    @pytest.mark.parametrize("algorithm", ["CRC32C", None])
    @pytest.mark.parametrize("verify", [False, True])
    def test_the_same_merge_again_succeeds_and_writes_nothing(
        self, tmp_path: Path, algorithm: str | None, verify: bool
    ) -> None:
        sources = write_maps(tmp_path / "maps", algorithm)
        merge(sources, tmp_path / "m.data")
        before = {path: changes_of(path) for path in tmp_path.iterdir()}
        report = merge(sources, tmp_path / "m.data", MergeOptions(verify=verify))

        assert report.repeated
        assert "merged already" in str(report)
        assert {path: changes_of(path) for path in tmp_path.iterdir()} == before

    @pytest.mark.parametrize("algorithm", ["CRC32C", None])
    def test_another_merge_does_not_pass_for_it(self, tmp_path: Path, algorithm: str | None) -> None:
        sources = write_maps(tmp_path / "maps", algorithm)
        merge(sources, tmp_path / "m.data")
        write_spark(sources[0], [b"A0", b"", b"A2" * 50], algorithm)  # as long as before
        with pytest.raises(TargetExistsError):
            merge(sources, tmp_path / "m.data")

        assert_spark_output(tmp_path / "m.data", MERGED, algorithm)

    def test_verifying_notices_that_the_target_is_not_what_was_written(self, tmp_path: Path) -> None:
        sources = write_maps(tmp_path / "maps")
        merge(sources, tmp_path / "m.data")
        (tmp_path / "m.data").write_bytes(bytes(sum(map(len, MERGED))))
        with pytest.raises(TargetExistsError):
            merge(sources, tmp_path / "m.data", MergeOptions(verify=True))

    def test_a_damaged_target_is_not_replaced_unasked(self, tmp_path: Path) -> None:
        sources = write_maps(tmp_path / "maps")
        merge(sources, tmp_path / "m.data")
        with (tmp_path / "m.data").open("ab") as file:
            file.write(b"x")
        with pytest.raises(TargetExistsError):
            merge(sources, tmp_path / "m.data")
        merge(sources, tmp_path / "m.data", MergeOptions(overwrite=True))

        assert_spark_output(tmp_path / "m.data", MERGED)

    @pytest.mark.parametrize("missing", [[".index"], [".index", ".checksum.ADLER32"]])
    def test_what_a_crash_left_unfinished_is_finished(self, tmp_path: Path, missing: list[str]) -> None:
        sources = write_maps(tmp_path / "maps")
        merge(sources, tmp_path / "m.data")
        for suffix in missing:
            (tmp_path / "m.data").with_suffix(suffix).unlink()
        report = merge(sources, tmp_path / "m.data")

        assert report.repeated
        assert_spark_output(tmp_path / "m.data", MERGED)

    def test_data_of_another_origin_are_not_finished(self, tmp_path: Path) -> None:
        sources = write_maps(tmp_path / "maps")
        (tmp_path / "m.data").write_bytes(bytes(sum(map(len, MERGED))))
        with pytest.raises(TargetExistsError):
            merge(sources, tmp_path / "m.data")

        assert not (tmp_path / "m.index").exists()

    def test_sources_that_wait_for_their_deletion_are_deleted(self, tmp_path: Path) -> None:
        sources = write_maps(tmp_path / "maps")
        merge(sources, tmp_path / "m.data")
        merge(sources, tmp_path / "m.data", MergeOptions(delete_sources=True))

        assert os.listdir(tmp_path / "maps") == []


def test_sources_are_deleted_with_all_that_belongs_to_them(tmp_path: Path) -> None:
    sources = write_maps(tmp_path / "maps")
    sources.append(write_spark(tmp_path / "maps" / "empty.data", [b"", b"", b""]))
    merge(sources, tmp_path / "m.data", MergeOptions(delete_sources=True))

    assert os.listdir(tmp_path / "maps") == []
    assert_spark_output(tmp_path / "m.data", MERGED)


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (lambda data: data.write_bytes(data.read_bytes()[:-1]), TruncatedError),
        (lambda data: data.with_suffix(".index").unlink(), CorruptError),
        (lambda data: write_spark(data, [b"one", b"two"]), MismatchError),
    ],
    ids=["data cut short", "no index", "other partition count"],
)
def test_a_source_that_is_not_sound_stops_the_merge_before_anything_is_written(
    tmp_path: Path, damage: Callable[[Path], object], kind: type[Exception]
) -> None:
    sources = write_maps(tmp_path / "maps")
    damage(sources[2])
    with pytest.raises(kind, match="shuffle_0_10_0"):
        merge(sources, tmp_path / "m.data", MergeOptions(delete_sources=True))

    assert os.listdir(tmp_path) == ["maps"]
    assert all(path.exists() for path in sources)
    assert open_files_in(tmp_path) == []


def test_merging_merges_is_merging_all(tmp_path: Path) -> None:
    sources = write_maps(tmp_path / "maps")
    merge(sources[:2], tmp_path / "first.data")
    merge([tmp_path / "first.data", sources[2]], tmp_path / "m.data")

    assert ranges_of_spark(tmp_path / "m.data") == MERGED
