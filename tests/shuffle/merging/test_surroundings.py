"""What a merge finds around it, on real file systems."""

import errno
from pathlib import Path

import pytest

from shuffle.machine.file_systems import dirty_bytes
from shuffle.merging.copy.choice import Surroundings
from shuffle.merging.copy.experience import Experience
from shuffle.merging.formats.arrow import ARROW
from shuffle.merging.sources import Source, SourceSearch
from shuffle.merging.surroundings import look_around
from tests.helpers.spills import open_files_in, random_spills
from tests.helpers.syncing import write_back

ROWS = [[3000, 4000], [0, 2000], [1, 1]]


def surroundings(sources: list[Source], directory: Path, experience: Experience | None = None) -> Surroundings:
    with (directory / "target").open("wb") as target:
        return look_around(sources, target.fileno(), experience or Experience())


def sources_in(directory: Path, *, written_back: bool = True) -> list[Source]:
    write_back(directory)
    spills = random_spills(directory, *ROWS)
    if written_back:
        write_back(directory)
    return [ARROW.open_source(spill) for spill in spills]


@pytest.mark.mount
@pytest.mark.parametrize(
    ("fixture", "shares_blocks"), [("xfs_dir", True), ("btrfs_dir", True), ("ext4_dir", False), ("tmpfs_dir", False)]
)
def test_on_one_file_system(fixture: str, shares_blocks: bool, request: pytest.FixtureRequest) -> None:
    directory: Path = request.getfixturevalue(fixture)
    assert surroundings(sources_in(directory), directory) == Surroundings(shares_blocks=shares_blocks, block_bytes=4096)
    assert open_files_in(directory) == []


@pytest.mark.mount
def test_between_two_file_systems_nothing_is_shared(xfs_dir: Path, btrfs_dir: Path) -> None:
    sources = sources_in(xfs_dir)
    assert surroundings(sources, btrfs_dir) == Surroundings()
    assert surroundings([*sources, *sources_in(btrfs_dir)], xfs_dir) == Surroundings()


@pytest.mark.mount
@pytest.mark.parametrize("written_back", [True, False])
def test_sources_that_were_just_written_are_dirty_until_they_are_on_the_disk(xfs_dir: Path, written_back: bool) -> None:
    with (xfs_dir / "probe").open("wb") as probe:
        if dirty_bytes([probe.fileno()]) is None:
            pytest.skip("cachestat needs Linux 6.5")
    sources = sources_in(xfs_dir, written_back=written_back)
    assert surroundings(sources, xfs_dir).sources_dirty == (not written_back)


@pytest.mark.mount
def test_a_little_that_is_dirty_does_not_count(xfs_dir: Path) -> None:
    with open(sources_in(xfs_dir)[2].path, "r+b") as smallest:
        smallest.write(b"A")  # as it begins anyway
        smallest.flush()
        assert dirty_bytes([smallest.fileno()]) in {4096, None}
        sources = ARROW.open_sources([xfs_dir], SourceSearch())
        assert not surroundings(sources, xfs_dir).sources_dirty


@pytest.mark.mount
def test_what_the_kernel_refused_before_between_these_devices(xfs_dir: Path, ext4_dir: Path) -> None:
    experience = Experience()
    experience.learn("copy_file_range", xfs_dir.stat().st_dev, ext4_dir.stat().st_dev, errno.EXDEV)
    sources = sources_in(xfs_dir)
    assert surroundings(sources, ext4_dir, experience).refused == {"copy_file_range"}
    assert surroundings(sources, xfs_dir, experience).refused == frozenset()


def test_sources_of_no_bytes_are_on_no_device(tmp_path: Path) -> None:
    (spill,) = random_spills(tmp_path, [0, 0])
    assert not surroundings([ARROW.open_source(spill)], tmp_path).shares_blocks
