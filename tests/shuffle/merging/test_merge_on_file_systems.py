"""Merges on real file systems and across them: the same bytes everywhere, and nothing left of a disk that is full."""

import errno
import os
import re
import resource
import shutil
from pathlib import Path

import pytest

from shuffle import MergeOptions, merge
from shuffle.merging.copy.errno_policy import FALL_BACK
from shuffle.merging.copy.ladder import METHODS
from shuffle.options import MethodName
from shuffle.testing import Fail, Meanwhile, Real, ScriptedKernel, Step
from tests.helpers.spills import assert_merge_of, open_files_in, random_spill, random_spills
from tests.helpers.syncing import write_back

MIB = 1 << 20
# Some ranges are large enough to be cloned, some are not, some are empty.
ROWS = [[30_000, 0, 5, 12_000], [0, 20_000, 7, 9_000], [11_000, 3, 0, 1]]

each_method = pytest.mark.parametrize("method", [*METHODS, "auto"])


def used_bytes(directory: Path) -> int:
    write_back(directory)
    return shutil.disk_usage(directory).used


@pytest.fixture
def directory(request: pytest.FixtureRequest) -> Path:
    """The directory that a parameter names."""
    fixture: Path = request.getfixturevalue(request.param)
    return fixture


@pytest.fixture
def other_directory(request: pytest.FixtureRequest) -> Path:
    fixture: Path = request.getfixturevalue(request.param)
    return fixture


each_file_system = pytest.mark.parametrize(
    "directory", ["xfs_dir", "btrfs_dir", "ext4_dir", "tmpfs_dir"], indirect=True
)


@pytest.mark.mount
@each_file_system
@each_method
@pytest.mark.parametrize("alignment", [64, 4096])
def test_every_method_gives_the_same_bytes(directory: Path, method: MethodName, alignment: int) -> None:
    spills = random_spills(directory, *ROWS, alignment=alignment)
    merge(spills, directory / "merged.arrow", MergeOptions(method=method))
    assert_merge_of(spills, directory / "merged.arrow")


@pytest.mark.mount
@pytest.mark.parametrize(
    ("directory", "other_directory", "refused"),
    [
        ("ext4_dir", "tmpfs_dir", True),
        ("tmpfs_dir", "xfs_dir", True),
        ("xfs_dir", "btrfs_dir", True),
        ("ext4_dir", "tmp_path", False),  # of one kind, though not one file system
    ],
    indirect=["directory", "other_directory"],
)
@each_method
def test_across_file_systems_the_bytes_are_the_same(
    directory: Path, other_directory: Path, refused: bool, method: MethodName
) -> None:
    spills = random_spills(directory, *ROWS, alignment=4096)
    target = other_directory / "merged.arrow"
    report = merge(spills, target, MergeOptions(method=method, threads=1), kernel=ScriptedKernel({}))
    assert_merge_of(spills, target)
    fallbacks = {fallback.method: fallback.errno for fallback in report.fallbacks}
    if method == "copy_file_range" and refused:
        assert fallbacks == {"copy_file_range": errno.EXDEV}
    if method in {"auto", "sendfile", "gather", "buffered"}:
        assert fallbacks == {}


@pytest.mark.mount
def test_sources_on_several_file_systems(ext4_dir: Path, tmpfs_dir: Path, xfs_dir: Path) -> None:
    spills = [
        random_spill(directory / "a.spill.arrow", rows)
        for directory, rows in zip([ext4_dir, tmpfs_dir, xfs_dir], ROWS, strict=True)
    ]
    for method in METHODS:
        target = xfs_dir / f"{method}.arrow"
        merge(spills, target, MergeOptions(method=method))
        assert_merge_of(spills, target)


@pytest.mark.mount
@pytest.mark.parametrize("directory", ["xfs_dir", "btrfs_dir"], indirect=True)
def test_aligned_ranges_are_shared_and_take_no_room(directory: Path) -> None:
    spills = random_spills(directory, [200_000, 300_000], [250_000, 150_000], alignment=4096)
    before = used_bytes(directory)
    report = merge(spills, directory / "merged.arrow", MergeOptions(method="clone", threads=1))
    assert report.methods.keys() == {"clone"}
    assert used_bytes(directory) - before < MIB < report.byte_count
    assert_merge_of(spills, directory / "merged.arrow")


@pytest.mark.mount
@pytest.mark.parametrize("calls_before", [0, 1])
@pytest.mark.parametrize("number", FALL_BACK, ids=errno.errorcode.get)
def test_a_clone_that_is_refused_gives_way_from_there(xfs_dir: Path, number: int, calls_before: int) -> None:
    spills = random_spills(xfs_dir, [40_000, 30_000], [20_000, 50_000], alignment=4096)
    before: list[Step] = [Real()] * calls_before
    kernel = ScriptedKernel({"clone_range": [*before, Fail(number)]})
    report = merge(spills, xfs_dir / "merged.arrow", MergeOptions(method="clone", threads=1), kernel=kernel)
    assert kernel.unplayed == {}
    assert report.fallbacks[0].errno == number
    assert (report.methods["clone"].byte_count > 0) == bool(calls_before)
    assert_merge_of(spills, xfs_dir / "merged.arrow")


@pytest.mark.mount
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_clone_that_fails_for_good_names_source_and_target(xfs_dir: Path, number: int) -> None:
    spills = random_spills(xfs_dir, [40_000, 30_000], [20_000, 50_000], alignment=4096)
    kernel = ScriptedKernel({"clone_range": [Real(), Fail(number)]})
    with pytest.raises(OSError, match=r"clone from .*\.spill\.arrow, offset \d+, to: '.*merged\.arrow'") as raised:
        merge(spills, xfs_dir / "merged.arrow", MergeOptions(method="clone", threads=1), kernel=kernel)
    assert raised.value.errno == number
    assert not (xfs_dir / "merged.arrow").exists()


class TestFullDisk:
    """On a disk of 8 MiB."""

    @each_method
    def test_too_little_room_is_told_with_both_figures_before_anything_is_copied(
        self, tmp_path: Path, small_ext4_dir: Path, method: MethodName
    ) -> None:
        spills = random_spills(tmp_path, [300_000], [300_000])
        kernel = ScriptedKernel({})
        before = used_bytes(small_ext4_dir)
        error = failed_merge(spills, small_ext4_dir / "merged.arrow", method, kernel)
        assert re.search(r"\d{7,} bytes will be written, \d{7} are free", str(error))
        assert kernel.call_counts.total() == 0
        assert used_bytes(small_ext4_dir) == before

    @each_method
    def test_a_disk_that_fills_up_meanwhile_is_left_as_it_was(
        self, tmp_path: Path, small_ext4_dir: Path, method: MethodName
    ) -> None:
        spills = random_spills(tmp_path, [90_000], [90_000])
        neighbour = small_ext4_dir / "neighbour"
        neighbour.touch()
        before = used_bytes(small_ext4_dir)

        def fill() -> None:
            os.truncate(neighbour, 0)
            with neighbour.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(small_ext4_dir).free - MIB)

        calls = ("copy_file_range", "sendfile", "clone_range", "pread")
        kernel = ScriptedKernel({call: [Meanwhile(fill)] for call in calls})
        error = failed_merge(spills, small_ext4_dir / "merged.arrow", method, kernel)
        assert "are free" not in str(error)  # not found out before
        assert neighbour.stat().st_size > 3 * MIB
        neighbour.unlink()
        neighbour.touch()
        assert used_bytes(small_ext4_dir) == before


def failed_merge(spills: list[Path], target: Path, method: MethodName, kernel: ScriptedKernel) -> OSError:
    """The error of a merge for which there is no space; nothing of the target is left."""
    with pytest.raises(OSError, match="No space left on device") as raised:
        merge(spills, target, MergeOptions(method=method, threads=1), kernel=kernel)
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(target)
    assert not target.exists()
    assert open_files_in(target.parent) == []
    return raised.value


@pytest.mark.mount
def test_looking_around_needs_one_descriptor_at_a_time(xfs_dir: Path) -> None:
    spills = random_spills(xfs_dir, *[[1, 2]] * 60)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 10, limits[1]))
    try:
        merge(spills, xfs_dir / "merged.arrow", MergeOptions(threads=1))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert_merge_of(spills, xfs_dir / "merged.arrow")
