"""Merging into the push-based layout: whole blocks in the order of maps, duplicates dropped, each chunk's maps told."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shuffle import MergeOptions
from shuffle.merging.formats import SparkFormat
from shuffle.merging.push_merge import merge_pushed
from shuffle.merging.sources import BadSourcesError
from spill_format import TargetExistsError
from spill_format.spark.pushed import read_pushed
from spill_format.storage.identity import FileIdentity
from tests.helpers.commands import json_of
from tests.helpers.spark_files import write_spark

MAPS = {2: [b"two" * 10, b"", b"2"], 9: [b"", b"", b"nine"], 10: [b"ten", b"", b"10" * 20]}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    """Two roots; map 9 is in both, in the second one with other bytes."""
    places = {"blockmgr-1": MAPS, "blockmgr-2": {9: [b"late", b"duplicate", b""]}}
    for root, maps in places.items():
        (tmp_path / root).mkdir()
        for number, ranges in maps.items():
            write_spark(tmp_path / root / f"shuffle_4_{number}_0.data", ranges)
    return [tmp_path / root for root in places]


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_each_partition_that_is_not_empty_gets_its_blocks_in_the_order_of_maps(roots: list[Path], out: Path) -> None:
    report = merge_pushed(roots[:1], out, application="app-7")

    assert sorted(os.listdir(out)) == sorted(
        f"shuffleMerged_app-7_4_0_{partition}.{suffix}" for partition in (0, 2) for suffix in ("data", "index", "meta")
    )
    for partition in (0, 2):
        pushed = read_pushed(out / f"shuffleMerged_app-7_4_0_{partition}.data")
        assert pushed.chunk_count == 1
        assert pushed.read(0) == b"".join(ranges[partition] for ranges in MAPS.values())
        assert pushed.maps == (tuple(number for number, ranges in MAPS.items() if ranges[partition]),)
    assert (report.source_count, report.file_count, report.partition_count, report.chunk_count) == (3, 2, 3, 2)


def test_a_chunk_holds_whole_blocks_and_is_cut_when_it_is_large_enough(roots: list[Path], out: Path) -> None:
    merge_pushed(roots[:1], out, application="a", chunk_bytes=5)
    pushed = read_pushed(out / "shuffleMerged_a_4_0_2.data")

    assert pushed.maps == ((2, 9), (10,))
    assert [pushed.read(chunk) for chunk in range(2)] == [b"2nine", b"10" * 20]


def test_of_a_map_that_comes_twice_the_first_counts(roots: list[Path], out: Path, tmp_path: Path) -> None:
    report = merge_pushed(roots, out, application="a")
    once = tmp_path / "once"
    once.mkdir()
    merge_pushed(roots[:1], once, application="a")

    assert report.duplicate_maps == (9,)
    assert contents(out) == contents(once)


def test_the_same_merge_again_succeeds_and_changes_nothing(roots: list[Path], out: Path) -> None:
    merge_pushed(roots, out, application="a")
    before = {path: FileIdentity.of(path.stat()) for path in out.iterdir()}

    assert merge_pushed(roots, out, application="a").repeated_count == 2
    assert {path: FileIdentity.of(path.stat()) for path in out.iterdir()} == before


def test_a_merge_that_was_interrupted_goes_on_where_it_was(roots: list[Path], out: Path) -> None:
    merge_pushed(roots, out, application="a")
    before = contents(out)
    for suffix in ("data", "index", "meta"):
        (out / f"shuffleMerged_a_4_0_2.{suffix}").unlink()

    assert merge_pushed(roots, out, application="a").repeated_count == 1
    assert contents(out) == before


def test_another_merge_of_the_same_name_is_refused_and_can_replace(roots: list[Path], out: Path) -> None:
    merge_pushed(roots, out, application="a")
    before = contents(out)
    write_spark(roots[0] / "shuffle_4_2_0.data", [b"TWO" * 10, b"", b"2"])  # as long as before
    with pytest.raises(TargetExistsError):
        merge_pushed(roots, out, application="a")
    assert contents(out) == before

    merge_pushed(roots, out, MergeOptions(overwrite=True, verify=True), application="a")
    assert read_pushed(out / "shuffleMerged_a_4_0_0.data").read(0) == b"TWO" * 10 + b"ten"


@pytest.mark.parametrize(
    ("name", "ranges", "kind", "problem"),
    [
        ("spill-0.data", [b"x"] * 3, ValueError, "does not tell the map"),
        (f"shuffle_4_{2**32}_0.data", [b"x"] * 3, ValueError, "a bitmap holds maps up to"),
        ("shuffle_5_0_0.data", [b"x"] * 3, ValueError, "sources of one shuffle"),
        ("shuffle_4_0_0.data", [b"x"], BadSourcesError, "another number of partitions"),
    ],
)
def test_what_cannot_be_merged_is_refused_before_anything_is_written(
    roots: list[Path], out: Path, tmp_path: Path, name: str, ranges: list[bytes], kind: type[Exception], problem: str
) -> None:
    other = write_spark(tmp_path / name, ranges)
    with pytest.raises(kind, match=problem):
        merge_pushed([*roots, other], out, application="a", spark_format=SparkFormat(shuffle=None))

    assert os.listdir(out) == []


@pytest.mark.parametrize("application", ["", "../a", "a/b", "a\n"])
def test_an_application_that_is_no_part_of_a_name_is_refused(roots: list[Path], out: Path, application: str) -> None:
    with pytest.raises(ValueError, match="application is part of the names of files"):
        merge_pushed(roots, out, application=application)

    assert os.listdir(out) == []


@pytest.mark.parametrize(
    "options",
    [
        {"delete_sources": True},
        {"compact": True},
        {"compact": True, "memory_bytes": "64MiB"},
        {"mix_partitioners": True},
        {"partitions": "1-2"},
        {"skip_damaged": True},
        {"dry_run": True},
        {"limit_rate": "1MiB"},
        {"io_priority": "idle"},
        {"metrics": "merge.prom"},
    ],
)
def test_an_option_without_an_effect_is_refused(roots: list[Path], out: Path, options: dict[str, Any]) -> None:
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"a push-based merge does not know {name}: leave this option out"):
        merge_pushed(roots, out, application="a", **options)

    assert os.listdir(out) == []


def test_one_partition_alone_and_none_that_has_bytes_are_merged(out: Path, tmp_path: Path) -> None:
    one = write_spark(tmp_path / "shuffle_0_1_0.data", [b"x"])
    empty = write_spark(tmp_path / "shuffle_1_1_0.data", [b"", b""])

    assert merge_pushed([one], out, application="a").file_count == 1
    assert merge_pushed([empty], out, application="a").file_count == 0
    assert len(os.listdir(out)) == 3


def test_no_outputs_at_all_are_refused(out: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no outputs of any shuffle"):
        merge_pushed([tmp_path / "empty"], out, application="a")
    with pytest.raises(ValueError, match="sources of one shuffle"):
        merge_pushed([], out, application="a")


@pytest.mark.parametrize(
    ("is_same", "overwrite"),
    [(True, False), (False, False), (False, True)],
    ids=["the same", "different", "different, overwriting"],
)
def test_of_two_merges_at_once_no_partition_mixes_both(
    out: Path, tmp_path: Path, is_same: bool, overwrite: bool
) -> None:
    """Partitions are independent: of different merges, each has the blocks of one or of the other."""
    contents = {}
    for root in ("first", "second"):
        (tmp_path / root).mkdir()
        of = "first" if is_same else root
        contents[root] = [[f"{of} {number} {partition}".encode() for partition in range(20)] for number in range(3)]
        for number, ranges in enumerate(contents[root]):
            write_spark(tmp_path / root / f"shuffle_0_{number}_0.data", ranges)
    barrier = threading.Barrier(2)

    def run(root: str) -> bool:
        barrier.wait()
        try:
            merge_pushed([tmp_path / root], out, MergeOptions(overwrite=overwrite), application="a")
        except TargetExistsError:
            return False
        return True

    with ThreadPoolExecutor(2) as executor:
        succeeded = list(executor.map(run, contents))

    assert all(succeeded) is (is_same or overwrite)
    for partition, data in enumerate(sorted(out.glob("*.data"), key=lambda path: int(path.stem.rpartition("_")[2]))):
        pushed = read_pushed(data)
        assert pushed.maps == ((0, 1, 2),)
        assert pushed.read(0) in {b"".join(ranges[partition] for ranges in each) for each in contents.values()}


def test_the_command_does_it(roots: list[Path], tmp_path: Path) -> None:
    arguments = "blockmgr-1 blockmgr-2 --kind spark-push --app-id app-1 -o merged --json --quiet"
    report = json_of(f"shuffle-merge {arguments}", tmp_path)

    assert (report["duplicate_maps"], report["file_count"]) == ([9], 2)
    assert read_pushed(tmp_path / "merged" / "shuffleMerged_app-1_4_0_2.data").maps == ((2, 9, 10),)
