"""Merged partitions are looked into chunk by chunk, and put together by shuffle."""

import os
from pathlib import Path

import pytest

from shuffle.inspecting.pushed import PushedFiles
from tests.helpers.inspections import inspected_pushed
from tests.helpers.spark_files import write_pushed

CHUNKS = [([0, 1], b"\x82SNAPPY\x00 and more"), ([2], b""), ([3], b"ZV\x01")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pushed(tmp_path / "shuffleMerged_app_1_0_0.data", [CHUNKS[0], CHUNKS[2]])


def test_chunks_maps_and_codecs_are_told(data: Path) -> None:
    found = inspected_pushed(data)

    assert [tuple(chunk) for chunk in found.chunks] == [(0, 0, 17, (0, 1)), (1, 17, 3, (3,))]
    assert (found.byte_count, found.maps, found.codecs) == (20, frozenset({0, 1, 3}), ("lzf", "snappy"))
    assert (found.as_dict()["state"], found.problems) == ("ok", [])


def test_whole_chunks_behind_a_damaged_one_are_told(tmp_path: Path) -> None:
    found = inspected_pushed(write_pushed(tmp_path / "a.data", CHUNKS))

    assert found.scan.damaged_chunks == (1,)  # a block is never empty
    assert [chunk.number for chunk in found.chunks] == [0, 2]
    assert found.as_dict()["damaged_maps"] == [2]
    assert (found.name, found.as_dict()["partition"]) == (None, None)


def test_without_a_whole_chunk_no_data_are_read(data: Path) -> None:
    data.unlink()
    found = inspected_pushed(data)

    assert (found.chunks, found.codecs, found.byte_count) == ((), (), 0)


def test_many_chunks_need_no_look_at_each(tmp_path: Path) -> None:
    chunks = [([number], b"\x28\xb5\x2f\xfd") for number in range(1000)]
    found = inspected_pushed(write_pushed(tmp_path / "a.data", chunks))

    assert (len(found.chunks), found.codecs) == (1000, ("zstd",))


def test_partitions_are_put_together_by_application_shuffle_and_merge(data: Path) -> None:
    others = {"app_1_0_9": [([0], b"x")], "app_1_1_0": [([5], b"y")], "other_1_0_0": [([6], b"z")]}
    files = [data, *(write_pushed(data.with_name(f"shuffleMerged_{stem}.data"), of) for stem, of in others.items())]
    first, second, third = PushedFiles.shuffles([inspected_pushed(file) for file in files])

    assert (first["application"], first["shuffle"], first["merge"], first["file_count"]) == ("app", 1, 0, 2)
    assert (first["smallest_bytes"], first["largest_bytes"], first["map_count"]) == (1, 20, 3)
    assert (first["incomplete_count"], second["merge"], third["application"]) == (1, 1, "other")


def test_a_file_that_vanished_is_no_damage(data: Path) -> None:
    for suffix in (".data", ".index", ".meta"):
        os.unlink(data.with_suffix(suffix))
    with pytest.raises(FileNotFoundError):
        inspected_pushed(data)
