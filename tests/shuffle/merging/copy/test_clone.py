"""Sharing blocks on real file systems: what is shared is seen in the files' extents, and every byte is right."""

import errno
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from fcntl import ioctl
from pathlib import Path

import pytest

from shuffle import MergeOptions, merge
from shuffle.merging.copy.choice import CLONED_BYTES
from shuffle.merging.copy.clone import copy_with_clone
from shuffle.merging.copy.ladder import copy_span
from shuffle.testing.file_systems import CannotMountError, loop_mounted
from shuffle.testing.opaque import OpaqueSources
from tests.helpers.spills import assert_merge_of, random_spills
from tests.helpers.syncing import write_back

BLOCK = 4096
ROWS = [[40_000, 0, 30_000], [20_000, 50_000, 7]]

_FIEMAP = 0xC020660B  # linux/fiemap.h
_FIEMAP_SYNC = 1
_EXTENT_SHARED = 0x2000
_REQUEST = struct.Struct("=QQIIII")
_EXTENT = struct.Struct("=QQQ16xI12x")
_EXTENT_COUNT = 500


def shared_bytes(path: Path) -> int:
    """Bytes of a file's extents that another file has too."""
    request = bytearray(_REQUEST.size + _EXTENT_COUNT * _EXTENT.size)
    _REQUEST.pack_into(request, 0, 0, 2**63, _FIEMAP_SYNC, 0, _EXTENT_COUNT, 0)
    with path.open("rb") as file:
        ioctl(file.fileno(), _FIEMAP, request)
    extent_count = _REQUEST.unpack_from(request)[3]
    assert extent_count < _EXTENT_COUNT
    extents = [_EXTENT.unpack_from(request, _REQUEST.size + number * _EXTENT.size) for number in range(extent_count)]
    return sum(length for _, _, length, flags in extents if flags & _EXTENT_SHARED)


@pytest.fixture(params=["xfs_dir", "btrfs_dir"])
def sharing_dir(request: pytest.FixtureRequest) -> Path:
    directory: Path = request.getfixturevalue(request.param)
    return directory


@pytest.mark.mount
def test_aligned_ranges_are_the_same_blocks_in_source_and_target(sharing_dir: Path) -> None:
    spills = random_spills(sharing_dir, *ROWS, alignment=BLOCK)
    write_back(sharing_dir)
    target = sharing_dir / "merged.arrow"
    report = merge(spills, target, MergeOptions(transfer_to="auto"))
    assert report.fallbacks == ()
    assert report.methods.keys() == {"clone", "gather"}  # the seven rows are not worth a clone
    cloned = report.methods["clone"].byte_count
    assert cloned > 0.9 * report.byte_count
    assert cloned == shared_bytes(target)
    assert_merge_of(spills, target)


@pytest.mark.mount
def test_where_source_and_target_are_shifted_nothing_is_shared(sharing_dir: Path) -> None:
    spills = random_spills(sharing_dir, *ROWS, alignment=64)
    target = sharing_dir / "merged.arrow"
    merge(spills, target, MergeOptions(method="clone"))
    assert_merge_of(spills, target)
    # By chance one source in sixty-four is aligned like the target.
    assert shared_bytes(target) < 0.5 * target.stat().st_size


@pytest.mark.mount
@pytest.mark.parametrize("first_offset", [0, 100, BLOCK, BLOCK + 512])
def test_whole_blocks_are_shared_and_ragged_edges_copied(sharing_dir: Path, first_offset: int) -> None:
    sources = OpaqueSources(sharing_dir, [[3 * CLONED_BYTES + 77]], first_offset)
    start, stop = sources.plan.start, sources.plan.stop
    first_block, last_block = -(-start // BLOCK) * BLOCK, stop // BLOCK * BLOCK
    with sources.job() as job:
        copy_span(job, ["gather", "buffered"], start, first_block)
        outcome = copy_with_clone(job, first_block, last_block)
        copy_span(job, ["gather", "buffered"], last_block, stop)
    assert (outcome.position, outcome.obstacle) == (last_block, None)
    assert sources.written() == sources.merged
    assert shared_bytes(sharing_dir / "target") == last_block - first_block


@pytest.mark.mount
def test_a_range_that_is_no_whole_block_is_refused_and_left_to_the_next_method(sharing_dir: Path) -> None:
    sources = OpaqueSources(sharing_dir, [[10 * BLOCK]])
    with sources.job() as job:
        outcome = copy_with_clone(job, 0, 5 * BLOCK + 1)
        assert outcome.position == 0
        assert outcome.obstacle is not None
        assert outcome.obstacle.errno == errno.EINVAL
        result = copy_span(job, ["clone", "gather", "buffered"], 100, sources.plan.stop)
        copy_span(job, ["clone", "buffered"], 0, 100)
    assert [fallback.method for fallback in result.fallbacks] == ["clone"]
    assert sources.written() == sources.merged


@pytest.mark.mount
@pytest.mark.parametrize("fixture", ["ext4_dir", "tmpfs_dir"])
def test_a_file_system_that_cannot_share_refuses_and_the_next_method_copies(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    directory: Path = request.getfixturevalue(fixture)
    spills = random_spills(directory, *ROWS, alignment=BLOCK)
    report = merge(spills, directory / "merged.arrow", MergeOptions(method="clone", threads=1))
    assert report.methods["clone"].byte_count == 0
    assert {(fallback.method, fallback.errno) for fallback in report.fallbacks} == {("clone", errno.EOPNOTSUPP)}
    assert_merge_of(spills, directory / "merged.arrow")


@pytest.fixture
def unsharing_xfs_dir() -> Iterator[Path]:
    """On an XFS that was made without reflink."""
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(loop_mounted("xfs", 300, "-m", "reflink=0"))
        except CannotMountError as error:
            pytest.skip(str(error))
        yield directory


@pytest.mark.mount
def test_what_auto_was_refused_it_does_not_ask_for_again(unsharing_xfs_dir: Path) -> None:
    spills = random_spills(unsharing_xfs_dir, *ROWS, alignment=BLOCK)
    write_back(unsharing_xfs_dir)
    first, second = (
        merge(spills, unsharing_xfs_dir / name, MergeOptions(transfer_to="auto", threads=1)) for name in ("1", "2")
    )
    assert [fallback.errno for fallback in first.fallbacks] == [errno.EOPNOTSUPP] * len(first.fallbacks) != []
    assert second.fallbacks == ()
    assert second.methods.keys() == {"gather"}
    for name in ("1", "2"):
        assert_merge_of(spills, unsharing_xfs_dir / name)


@pytest.mark.mount
@pytest.mark.parametrize(
    ("written_back", "durable", "method"), [(True, False, "clone"), (False, False, "gather"), (False, True, "clone")]
)
def test_auto_shares_blocks_of_sources_that_are_on_the_disk_or_shall_be(
    sharing_dir: Path, written_back: bool, durable: bool, method: str
) -> None:
    write_back(sharing_dir)
    spills = random_spills(sharing_dir, *ROWS, alignment=BLOCK)
    if written_back:
        write_back(sharing_dir)
    target = sharing_dir / "merged.arrow"
    report = merge(spills, target, MergeOptions(transfer_to="auto", durable=durable))
    assert max(report.methods, key=lambda name: report.methods[name].byte_count) == method
    assert (shared_bytes(target) > 0) == (method == "clone")
    assert_merge_of(spills, target)
