"""The alignment for ranges: what padding costs, and what real file systems can share."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from shuffle.alignment import TOLERATED_PADDING, choose_alignment, shared_block_bytes
from shuffle.testing import Fail, ScriptedKernel
from tests.spills import open_files_in, write_spill

MIB = 1 << 20


@pytest.mark.parametrize(
    ("expected_bytes", "partition_count", "block_bytes", "alignment"),
    [
        pytest.param(256 * MIB, 200, 4096, 4096, id="ranges of 1.3 MiB"),
        pytest.param(256 * MIB, 200, None, 64, id="nothing is shared"),
        pytest.param(256 * MIB, 20_000, 4096, 64, id="ranges of 13 KiB"),
        pytest.param(256 * MIB, 200, 65536, 64, id="blocks of 64 KiB cost 2.4 percent"),
        pytest.param(1024 * MIB, 200, 65536, 65536, id="and 0.6 of ranges of 5 MiB"),
        pytest.param(1024 * MIB, 200, 1 << 20, 64, id="blocks larger than any alignment"),
        pytest.param(1024 * MIB, 200, 3000, 64, id="blocks of no power of two"),
        pytest.param(1024 * MIB, 200, 32, 64, id="blocks smaller than a cache line"),
        pytest.param(0, 1, 4096, 64, id="nothing to write"),
    ],
)
def test_blocks_are_aligned_to_where_they_can_be_shared_and_padding_is_cheap(
    expected_bytes: int, partition_count: int, block_bytes: int | None, alignment: int
) -> None:
    assert choose_alignment(expected_bytes, partition_count, block_bytes) == alignment


@pytest.mark.parametrize("partition_count", [1, 50, 400])
def test_padding_of_random_lengths_stays_below_what_is_tolerated(partition_count: int) -> None:
    lengths = np.random.default_rng(0).integers(100_000, 300_000, partition_count)
    assert choose_alignment(int(lengths.sum()), partition_count, 4096) == 4096
    assert (-lengths % 4096).sum() < TOLERATED_PADDING * lengths.sum()


def test_a_spill_of_that_alignment_is_hardly_larger(tmp_path: Path) -> None:
    rows = [9_000] * 20
    plain, aligned = (write_spill(tmp_path / str(a), rows, alignment=a).stat().st_size for a in (64, 4096))
    assert choose_alignment(plain, len(rows), 4096) == 4096
    assert aligned < plain * (1 + TOLERATED_PADDING)


@pytest.mark.parametrize(
    ("fixture", "expected"), [("xfs_dir", 4096), ("btrfs_dir", 4096), ("ext4_dir", None), ("tmpfs_dir", None)]
)
def test_sharing_is_tried(fixture: str, expected: int | None, request: pytest.FixtureRequest) -> None:
    directory: Path = request.getfixturevalue(fixture)
    assert shared_block_bytes([directory]) == expected
    assert shared_block_bytes([directory, directory]) == expected
    assert os.listdir(directory) == []
    assert open_files_in(directory) == []


def test_all_directories_must_be_on_the_targets_file_system(xfs_dir: Path, btrfs_dir: Path) -> None:
    assert shared_block_bytes([xfs_dir, btrfs_dir]) is None


def test_a_file_system_that_says_no_shares_nothing(xfs_dir: Path) -> None:
    kernel = ScriptedKernel({"clone_range": [Fail(errno.EOPNOTSUPP)]})
    assert shared_block_bytes([xfs_dir], kernel) is None
    assert kernel.unplayed == {}


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        shared_block_bytes([tmp_path / "missing"])
