"""What holds for every kind of file: the laws of ``Kind``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shuffle import inspect, repair, verify
from shuffle.inspecting.kinds import KINDS, find, raw
from tests.helpers.commands import files_below
from tests.helpers.spark_files import write_pushed, write_spark
from tests.helpers.spills import random_spill

MAKERS: dict[str, Callable[[Path], Path]] = {
    "arrow": lambda directory: random_spill(directory / "a.arrow", [3, 0, 2]),
    "spark": lambda directory: write_spark(directory / "shuffle_1_2_0.data", [b"abc", b"", b"de"]),
    "spark-push": lambda directory: write_pushed(
        directory / "shuffleMerged_a_1_0_4.data", [([0], b"abc"), ([1], b"d")]
    ),
}


@pytest.fixture(params=KINDS, ids=lambda kind: kind.format)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A sound file of each kind."""
    (tmp_path / "files").mkdir()
    return MAKERS[request.param.format](tmp_path / "files")


def test_a_file_is_found_by_its_name_and_in_its_directory(path: Path) -> None:
    (by_name,), (in_directory,) = find(path), find(path.parent)

    assert (by_name.path, in_directory.path) == (str(path), str(path))
    assert by_name.format == in_directory.format


def test_a_sound_file_is_ok_and_its_results_are_json(path: Path) -> None:
    for result in (inspect(path), verify(path), verify(path, fast=True)):
        (file,) = json.loads(json.dumps(result.as_dict()))["files"]

        assert (result.state, file["state"], file["path"]) == ("ok", "ok", str(path))
        assert str(path) in str(result)


def test_a_cut_file_is_damaged_and_stays_as_it_is(path: Path) -> None:
    os.truncate(path, os.path.getsize(path) - 1)
    before = files_below(path.parent)

    for result in (inspect(path), verify(path), verify(path, fast=True)):
        assert result.state == "damaged"
        assert "problem" in result.as_dict()["files"][0]
    assert files_below(path.parent) == before


def test_raw_parts_are_the_whole(path: Path) -> None:
    (file,) = find(path)
    option = "chunks" if file.format == "spark-push" else "partitions"
    parts = [b"".join(raw(path, **{option: [(number, number + 1)]})) for number in range(2)]

    assert b"".join(raw(path, **{option: [(0, 2)]})) == b"".join(parts)
    assert b"".join(raw(path)) in path.read_bytes()
    with pytest.raises(ValueError, match=r"has no (partition|chunk) 9"):
        b"".join(raw(path, **{option: [(9, None)]}))


def test_what_is_repaired_is_sound(path: Path, tmp_path: Path) -> None:
    (file,) = find(path)
    if file.is_repairable:
        target = tmp_path / f"new{path.suffix}"
        assert repair(path, target).is_complete
        assert verify(target).is_sound
        assert b"".join(raw(target)) == b"".join(raw(path))
