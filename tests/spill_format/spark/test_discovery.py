"""Spark's outputs are found wherever its hashing has put their files, in the order of maps, and none is left out."""

import shutil
from pathlib import Path

import pytest

from spill_format import SpillError, TruncatedError
from spill_format.spark.discovery import (
    OutputName,
    PushedName,
    find_files_of,
    find_outputs,
    find_pushed,
    find_pushed_files_of,
    is_plainly_sparks,
    parse_name,
    parse_pushed_name,
)
from spill_format.spark.outputs import OutputPaths, paths_beside, read_output
from spill_format.spark.pushed_scan import PushedPaths
from tests.helpers.spark_files import checksum_file, write_spark

PLACES_OF_PUSHED = (("0a", ".data"), ("1b", ".index"), ("2c", ".meta"))


def scatter(root: Path, name: str, places: tuple[str, str, str] = ("0c", "30", "39")) -> OutputPaths:
    """An output whose data, index and checksums lie in subdirectories of a root, or of a root each (``a/0c``)."""
    data = write_spark(root / f"{name}.data", [b"x", b"yz"])
    moved = []
    for file, place in zip((data, data.with_suffix(".index"), checksum_file(data)), places, strict=True):
        (root / place).mkdir(parents=True, exist_ok=True)
        moved.append(str(shutil.move(file, root / place / file.name)))
    return OutputPaths(*moved)


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("shuffle_3_17_0.data", OutputName(3, 17, 0)),
        ("shuffle_3_17_0.index", OutputName(3, 17, 0)),
        ("blockmgr-1/0c/shuffle_0_12345678901_0.checksum.CRC32C", OutputName(0, 12345678901, 0)),
        ("temp_shuffle_0f3", None),
        ("shuffle_3_17_0.data.2f6c", None),  # what Spark has not finished
        ("shuffleMerged_app_3_0_17.data", None),
        ("xshuffle_3_17_0.data", None),
        ("shuffle_3_017_0.data", None),  # else it would stand for the same output as 17
        ("shuffle_3_17_0.data\n", None),
        ("shuffle_3_-17_0.data", None),
        ("shuffle_3_\N{ARABIC-INDIC DIGIT ONE}_0.data", None),
        ("shuffle_3_17_0.checksum.MD5", None),
    ],
)
def test_names_tell_shuffle_and_map(name: str, parsed: OutputName | None) -> None:
    assert parse_name(name) == parsed


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("shuffleMerged_app-1_3_0_17.data", PushedName("app-1", 3, 0, 17)),
        (
            "merge_manager/0c/shuffleMerged_application_1700000000000_0001_3_2_17.meta",
            PushedName("application_1700000000000_0001", 3, 2, 17),
        ),
        ("shuffleMerged_app_3_0_17.checksum.ADLER32", None),
        ("shuffleMerged__3_0_17.data", None),
        ("shuffleMerged_3_0_17.data", None),
        ("shuffle_3_17_0.data", None),
    ],
)
def test_names_of_merged_partitions_tell_application_shuffle_merge_and_partition(
    name: str, parsed: PushedName | None
) -> None:
    assert parse_pushed_name(name) == parsed
    assert parsed is None or Path(name).stem == str(parsed)


def test_outputs_of_a_shuffle_are_found_in_the_order_of_maps_across_roots(tmp_path: Path) -> None:
    first, second = tmp_path / "blockmgr-1", tmp_path / "blockmgr-2"
    first.mkdir()
    second.mkdir()
    expected = {
        10: scatter(first, "shuffle_7_10_0"),
        9: scatter(second, "shuffle_7_9_0", ("00", "01", "02")),
        100: scatter(first, "shuffle_7_100_0", ("3f", "3f", "3f")),
    }
    scatter(first, "shuffle_8_1_0")

    found = find_outputs([first, second], 7)
    assert found == [(OutputName(7, number), expected[number]) for number in (9, 10, 100)]
    assert [name.shuffle for name, _ in find_outputs([tmp_path])] == [7, 7, 7, 8]
    assert read_output(found[0][1]).layout.lengths.tolist() == [1, 2]


def test_the_files_of_an_output_may_lie_on_three_disks(tmp_path: Path) -> None:
    places = ("d1/blockmgr-1/0c", "d2/blockmgr-2/30", "d3/blockmgr-3/39")
    paths = scatter(tmp_path, "shuffle_0_0_0", places)

    assert find_outputs([tmp_path / f"d{number}" for number in (1, 2, 3)]) == [(OutputName(0, 0), paths)]


def test_a_root_given_besides_the_directory_above_it_counts_once(tmp_path: Path) -> None:
    (tmp_path / "blockmgr-1").mkdir()
    scatter(tmp_path / "blockmgr-1", "shuffle_0_0_0")

    assert len(find_outputs([tmp_path, tmp_path / "blockmgr-1"])) == 1


def test_an_output_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"blockmgr-{number}").mkdir()
        scatter(tmp_path / f"blockmgr-{number}", "shuffle_0_0_0")

    with pytest.raises(SpillError, match="the same output is also in"):
        find_outputs([tmp_path])


@pytest.mark.parametrize(("part", "kind"), [("data", TruncatedError), ("index", SpillError)])
def test_an_output_of_which_a_part_is_missing_is_found_and_refused(
    tmp_path: Path, part: str, kind: type[SpillError]
) -> None:
    paths = scatter(tmp_path, "shuffle_0_0_0")
    Path(getattr(paths, part)).unlink()
    ((name, found),) = find_outputs([tmp_path])

    assert name == OutputName(0, 0)
    with pytest.raises(kind):
        read_output(found)


def test_files_scattered_in_a_root_are_found_by_the_data_file(tmp_path: Path) -> None:
    paths = scatter(tmp_path, "shuffle_0_1_0")
    scatter(tmp_path, "shuffle_0_11_0")

    assert find_files_of(paths.data) == paths
    assert find_files_of(str(tmp_path / "0c" / "other.data")) is None
    assert find_files_of(str(tmp_path / "shuffle_0_1_0.data")) is None  # the directory is none of 00 to ff


@pytest.mark.parametrize(
    ("directory", "answer"),
    [("blockmgr-1", True), ("above", True), ("flat", True), ("empty", False), ("spills", False)],
)
def test_what_is_plainly_sparks(tmp_path: Path, directory: str, answer: bool) -> None:
    for name in ("blockmgr-1", "above/blockmgr-1", "flat", "empty", "spills"):
        (tmp_path / name).mkdir(parents=True)
    write_spark(tmp_path / "flat" / "shuffle_0_0_0.data", [b""])
    (tmp_path / "spills" / "a.spill.arrow").touch()

    assert is_plainly_sparks(tmp_path / directory) is answer


def test_an_unknown_algorithm_is_no_reason_to_refuse(tmp_path: Path) -> None:
    data = write_spark(tmp_path / "shuffle_0_0_0.data", [b"x"], "CRC32C")
    checksum_file(data, "BLAKE3").touch()
    checksum_file(data).with_suffix(".AAA").touch()

    assert find_outputs([tmp_path]) == [(OutputName(0, 0), paths_beside(data))]
    assert paths_beside(data).checksum == str(checksum_file(data, "CRC32C"))


def test_files_of_other_outputs_are_not_taken_for_those_of_one(tmp_path: Path) -> None:
    paths = scatter(tmp_path, "shuffle_0_1_1")
    Path(paths.index).unlink()
    scatter(tmp_path, "shuffle_0_1_10", ("00", "00", "00"))  # comes first in order, and begins alike
    (tmp_path / "05").touch()  # has a subdirectory's name, and is none

    found = find_files_of(paths.data)
    assert found is not None
    assert found.index == str(tmp_path / "0c" / "shuffle_0_1_1.index")


def test_outputs_behind_links_are_found_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "disk" / "blockmgr-1").mkdir(parents=True)
    scatter(tmp_path / "disk" / "blockmgr-1", "shuffle_0_1_0")
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "blockmgr-1").symlink_to(tmp_path / "disk" / "blockmgr-1")
    (tmp_path / "disk" / "blockmgr-1" / "round").symlink_to(tmp_path / "local")
    ((name, paths),) = find_outputs([tmp_path / "local"])

    assert name == OutputName(0, 1)
    assert read_output(paths).layout.lengths.tolist() == [1, 2]


def test_merged_partitions_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    home = tmp_path / "merge_manager"
    expected = []
    for number, merge, partition in [(3, 0, 2), (3, 0, 10), (3, 1, 0)]:
        stem = f"shuffleMerged_app_1_{number}_{merge}_{partition}"
        paths = PushedPaths(*(str(home / place / (stem + suffix)) for place, suffix in PLACES_OF_PUSHED))
        for path in (paths.data, paths.index, paths.meta):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).touch()
        expected.append((PushedName("app_1", number, merge, partition), paths))
    scatter(home, "shuffle_0_1_0")

    assert find_pushed([tmp_path]) == expected
    assert find_pushed_files_of(expected[0][1].data) == expected[0][1]
    assert is_plainly_sparks(home)
    assert is_plainly_sparks(home / "0a")
    assert find_files_of(expected[0][1].data) is None


def test_of_a_merged_partition_also_a_part_is_found(tmp_path: Path) -> None:
    meta = tmp_path / "shuffleMerged_a_0_0_0.meta"
    meta.touch()

    ((_, paths),) = find_pushed([tmp_path])
    assert paths == PushedPaths(str(meta.with_suffix(".data")), str(meta.with_suffix(".index")), str(meta))
