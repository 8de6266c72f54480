"""What is known of real file systems."""

import os
import shutil
from pathlib import Path

import pytest

from shuffle.machine.file_systems import dirty_bytes, file_system_of, free_bytes
from tests.helpers.syncing import write_back

MIB = 1 << 20


@pytest.mark.mount
@pytest.mark.parametrize(
    ("fixture", "name", "shares_blocks"),
    [
        ("xfs_dir", "xfs", True),
        ("btrfs_dir", "btrfs", True),
        ("ext4_dir", "ext4", False),
        ("tmpfs_dir", "tmpfs", False),
    ],
)
def test_kind_and_device(fixture: str, name: str, shares_blocks: bool, request: pytest.FixtureRequest) -> None:
    directory: Path = request.getfixturevalue(fixture)
    with (directory / "file").open("wb") as file:
        system = file_system_of(file.fileno())
    assert (system.name, system.shares_blocks, system.remote) == (name, shares_blocks, False)
    assert system.block_bytes == 4096
    assert system.device == directory.stat().st_dev


def test_a_kind_that_is_not_known_is_told_by_its_number() -> None:
    with open("/proc/self/status", "rb") as file:
        system = file_system_of(file.fileno())
    assert system.name == "0x9fa0"
    assert not system.shares_blocks


def test_free_bytes_are_those_of_df(small_ext4_dir: Path) -> None:
    with (small_ext4_dir / "file").open("wb") as file:
        before = free_bytes(file.fileno())
        assert before == shutil.disk_usage(small_ext4_dir).free
        os.posix_fallocate(file.fileno(), 0, MIB)
        assert MIB <= before - free_bytes(file.fileno()) < 2 * MIB


@pytest.mark.mount
@pytest.mark.parametrize("fixture", ["xfs_dir", "btrfs_dir", "ext4_dir"])
def test_what_was_written_is_dirty_until_it_is_on_the_disk(fixture: str, request: pytest.FixtureRequest) -> None:
    directory: Path = request.getfixturevalue(fixture)
    with (directory / "a").open("wb") as first, (directory / "b").open("wb") as second:
        write_back(directory)
        assert dirty_bytes([]) == 0
        if dirty_bytes([first.fileno()]) is None:
            pytest.skip("cachestat needs Linux 6.5")
        first.write(bytes(MIB))
        first.flush()
        second.write(bytes(3 * MIB))
        second.flush()
        assert dirty_bytes([first.fileno(), second.fileno()]) == 4 * MIB
        os.fsync(second.fileno())
        assert dirty_bytes([first.fileno(), second.fileno()]) == MIB
        os.fsync(first.fileno())
        assert dirty_bytes([first.fileno()]) == 0
