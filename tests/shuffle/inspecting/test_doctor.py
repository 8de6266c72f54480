"""What is found out about real directories; and that nothing is left in them."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import shuffle.inspecting.doctor as doctor_module
from shuffle.inspecting.doctor import RANGE_BYTES, doctor
from shuffle.options import METHOD_NAMES
from tests.helpers.spills import open_files_in


@pytest.fixture(autouse=True)
def small_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "SAMPLE_BYTES", 4 << 20)
    monkeypatch.setattr(doctor_module, "_ROUNDS", 1)


@pytest.fixture
def directory(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The directory that a parameter names; nothing may be left in it."""
    fixture: Path = request.getfixturevalue(request.param)
    yield fixture
    assert os.listdir(fixture) == []
    assert open_files_in(fixture) == []


@pytest.mark.mount
@pytest.mark.parametrize(
    ("directory", "file_system", "clones", "chosen"),
    [
        ("ext4_dir", "ext4", False, {"gather"}),
        ("tmpfs_dir", "tmpfs", False, {"gather"}),
        ("xfs_dir", "xfs", True, {"gather", "clone"}),
        ("btrfs_dir", "btrfs", True, {"gather", "clone"}),
    ],
    indirect=["directory"],
)
def test_what_a_file_system_can_do_is_tried(directory: Path, file_system: str, clones: bool, chosen: set[str]) -> None:
    told = 0

    def count(more: int) -> None:
        nonlocal told
        told += more

    diagnosis = doctor(directory, progress=count)
    assert told == len(METHOD_NAMES) * len(RANGE_BYTES)
    assert diagnosis.directory == str(directory)
    assert diagnosis.kernel == f"Linux {os.uname().release}"
    assert (diagnosis.file_system, diagnosis.block_bytes) == (file_system, 4096)
    assert diagnosis.unnamed_files.works
    works = {method: trial.works for method, trial in diagnosis.methods.items()}
    assert works == {"clone": clones, "copy_file_range": True, "sendfile": True}
    if not clones:
        assert diagnosis.methods["clone"].answer.startswith(f"{errno.errorcode[errno.EOPNOTSUPP]}: ")
    usable = set(METHOD_NAMES) - (set() if clones else {"clone"})
    assert {(rate.method, rate.range_bytes) for rate in diagnosis.rates} == {
        (method, range_bytes) for method in usable for range_bytes in RANGE_BYTES
    }
    assert all(rate.mib_per_second > 0 for rate in diagnosis.rates)
    assert {choice.clean_sources for choice in diagnosis.choices} == chosen
    assert {choice.fresh_sources for choice in diagnosis.choices} == {"gather"}
    assert [choice.range_bytes for choice in diagnosis.choices] == list(RANGE_BYTES)
    assert {choice.fastest for choice in diagnosis.choices} <= usable


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        doctor(tmp_path / "missing")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file"):
        doctor(tmp_path / "file")


def test_a_disk_without_room_is_told_and_left_as_it_was(small_ext4_dir: Path) -> None:
    with pytest.raises(OSError, match=rf"No space left on device: '{re.escape(str(small_ext4_dir))}/shuffle-doctor'"):
        doctor(small_ext4_dir)
    assert sorted(os.listdir(small_ext4_dir)) in ([], ["lost+found"])
