"""The alignment for ranges: what padding costs, and what real file systems can share."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shuffle import MapOptions, MapWriter, RoundRobinPartitioner
from shuffle.mapping.alignment import TOLERATED_PADDING, choose_alignment, shared_block_bytes
from shuffle.testing import Fail, ScriptedKernel
from spill_format import SpillFile
from tests.helpers.commands import error_of, run, succeeded
from tests.helpers.spills import open_files_in, random_spill

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
    plain, aligned = (random_spill(tmp_path / str(a), rows, alignment=a).stat().st_size for a in (64, 4096))
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


def test_where_it_cannot_be_tried_nothing_is_shared(xfs_dir: Path, small_ext4_dir: Path) -> None:
    assert shared_block_bytes([xfs_dir / "missing"]) is None
    with (small_ext4_dir / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(small_ext4_dir).free)
    assert shared_block_bytes([small_ext4_dir]) is None


class TestMapWriter:
    SCHEMA = pa.schema([("key", pa.int64())])

    def written(self, directory: Path, row_count: int, partition_count: int, **options: Any) -> int:
        """The alignment of a map output, and of its spills if there are any."""
        target = directory / "map.arrow"
        map_options = MapOptions(memory_bytes=MIB, **options)
        with MapWriter(target, self.SCHEMA, RoundRobinPartitioner(partition_count), map_options) as mapper:
            for start in range(0, row_count, 10_000):
                mapper.write(pa.table({"key": np.arange(start, min(start + 10_000, row_count))}))
        alignments = set()
        for path in directory.rglob("*.arrow"):
            with SpillFile(path) as spill:
                spill.verify()
                alignments.add(spill.alignment)
        (alignment,) = alignments
        return alignment

    @pytest.mark.parametrize(
        ("row_count", "partition_count", "expected"),
        [
            pytest.param(60_000, 2, 4096, id="large ranges, in memory"),
            pytest.param(500_000, 2, 4096, id="large ranges, spilled"),
            pytest.param(60_000, 200, 64, id="small ranges"),
            pytest.param(0, 2, 64, id="no rows"),
        ],
    )
    def test_auto_aligns_large_ranges_to_blocks_that_can_be_shared(
        self, xfs_dir: Path, ext4_dir: Path, row_count: int, partition_count: int, expected: int
    ) -> None:
        assert self.written(xfs_dir, row_count, partition_count, keep_spills=row_count > 100_000) == expected
        assert self.written(ext4_dir, row_count, partition_count) == 64

    def test_spills_elsewhere_share_nothing_with_the_target(self, xfs_dir: Path, btrfs_dir: Path) -> None:
        assert self.written(xfs_dir, 500_000, 2, spill_directories=[btrfs_dir]) == 64

    def test_what_was_asked_for_is_taken_anywhere(self, xfs_dir: Path, ext4_dir: Path) -> None:
        assert self.written(xfs_dir, 60_000, 2, alignment=8) == 8
        assert self.written(ext4_dir, 60_000, 2, alignment=4096) == 4096


def test_the_command_takes_auto_and_sizes(xfs_dir: Path) -> None:
    pq.write_table(pa.table({"key": np.arange(100_000)}), xfs_dir / "rows.parquet")
    for option, expected in [("", 4096), ("--alignment auto", 4096), ("--alignment 1KiB", 1024)]:
        succeeded(f"shuffle partition rows.parquet --by key --partitions 2 --overwrite -o map.arrow {option}", xfs_dir)
        with SpillFile(xfs_dir / "map.arrow") as output:
            assert output.alignment == expected
    refused = run("shuffle partition rows.parquet --by key --partitions 2 -o other.arrow --alignment some", xfs_dir)
    assert "'some' is not a size" in error_of(refused)
