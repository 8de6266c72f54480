"""The known errors and quirks of copying inside the kernel: how each is handled, and which tests show it.

The rows were seen in the kernels and libraries they name, by the projects they cite.
"""

import errno
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from shuffle import MergeOptions, ShuffleWarning, merge
from shuffle.machine.kernel import SystemKernel
from shuffle.merging.copy.job import PIECE_BYTES, CopyJob, Target
from shuffle.merging.copy.ladder import METHODS, copy_span
from shuffle.merging.plan import plan_merge
from shuffle.merging.sources import SourceDescriptors
from shuffle.options import MethodName
from shuffle.testing import Always, Fail, Real, ScriptedKernel, Zeroes
from shuffle.testing.opaque import OpaqueSources, opaque_source
from spill_format import ChecksumError, PositionError
from spill_format.layout import PartitionLayout
from tests.helpers.spills import assert_merge_of

TESTS = Path(__file__).parents[1]
GIB = 1 << 30


class Quirk(NamedTuple):
    """Who has it, what is seen of it, what is done about it, and the tests of that, as file::test."""

    versions: str
    symptom: str
    handling: str
    tests: tuple[str, ...]


HERE = "faults/test_quirks.py::"
KERNELS = "faults/test_kernels.py::"
CRASH = "crash/test_merge_crash.py::"
MOUNTS = "shuffle/merging/test_merge_on_file_systems.py::"

QUIRKS = (
    Quirk(
        "Linux 2.6.32",
        "sendfile does not advance the position (SPARK-3948)",
        "the position is asserted after every call; on a mismatch the target is rebuilt without the kernel",
        (
            f"{HERE}test_a_position_that_does_not_advance_is_noticed_at_once",
            f"{KERNELS}test_auto_rebuilds_with_buffered_copying_and_says_so",
            f"{CRASH}test_a_real_call_that_lies_is_caught",
        ),
    ),
    Quirk(
        "all",
        "a target opened for appending: EBADF, EINVAL (rust-lang/rust #82410)",
        "targets are not opened so; who passes one gets the next method",
        (f"{HERE}test_a_target_opened_for_appending_is_left_to_reading_and_writing",),
    ),
    Quirk(
        "before 4.5",
        "ENOSYS",
        "the next method",
        (
            f"{KERNELS}test_an_errno_of_the_table_gives_way_to_the_next_method",
            f"{CRASH}test_a_real_call_that_fails_gives_way",
        ),
    ),
    Quirk(
        "RHEL 7, 3.10",
        "EOPNOTSUPP on NFS, EIO on CIFS (golang/go #40731, #42334)",
        "the next method; an EIO that is the disk's comes again from reading, and names the file",
        (
            f"{KERNELS}test_an_errno_of_the_table_gives_way_to_the_next_method",
            f"{HERE}test_an_error_of_the_disk_is_not_hidden_by_falling_back",
        ),
    ),
    Quirk(
        "before 5.3, and from 5.19 between types",
        "EXDEV",
        "the next method; auto does not ask again between these devices",
        (
            f"{MOUNTS}test_across_file_systems_the_bytes_are_the_same",
            "shuffle/merging/copy/test_experience.py::test_only_an_answer_that_the_same_devices_give_again_is_remembered",
        ),
    ),
    Quirk(
        "5.3 to 5.18",
        "success with 0 bytes (golang/go #44272, rust-lang/rust #75446)",
        "one byte is read: if there is one, the next method goes on",
        (f"{KERNELS}test_a_kernel_that_copies_nothing_and_says_that_all_is_well_gives_way",),
    ),
    Quirk(
        "seccomp",
        "EPERM where ENOSYS is meant (golang/go #40893)",
        "the next method",
        (
            f"{KERNELS}test_an_errno_of_the_table_gives_way_to_the_next_method",
            f"{CRASH}test_a_real_call_that_fails_gives_way",
        ),
    ),
    Quirk(
        "glibc 2.41 and 2.42, FUSE",
        "results above INT_MAX or UINT_MAX are wrong (PR33245, libfuse #1331)",
        "no call is asked for more than 128 MiB",
        (
            f"{HERE}test_results_cut_to_31_bits_lose_nothing",
            "shuffle/merging/copy/test_job.py::test_the_pieces_of_every_span_tile_it_and_say_where_their_bytes_are",
        ),
    ),
    Quirk(
        "all",
        "at most 0x7ffff000 bytes a call; huge counts EOVERFLOW, EFBIG, EINVAL (zig #25737)",
        "the same; EOVERFLOW and EINVAL give way, EFBIG is final",
        (
            f"{HERE}test_no_call_is_asked_for_more_than_any_kernel_takes",
            f"{KERNELS}test_an_errno_outside_the_table_names_source_and_target",
        ),
    ),
    Quirk(
        "CIFS, CephFS, fuse-overlayfs, swap files",
        "EACCES, ENOENT, ETXTBSY (libuv #3123, #3322)",
        "the next method",
        (f"{KERNELS}test_an_errno_of_the_table_gives_way_to_the_next_method",),
    ),
    Quirk(
        "ZFS",
        "zeroed chunks without an error (openzfs #15526, #15933, #16007)",
        "verify=True rereads before publishing, and rebuilds once",
        (
            f"{HERE}test_zeroes_without_an_error_are_caught_by_verify_and_rebuilt",
            f"{HERE}test_what_is_wrong_again_after_rebuilding_is_not_published",
            f"{HERE}test_on_does_not_rebuild_but_raises",
            "shuffle/merging/test_verification.py::test_zeroes_in_place_of_bytes_are_found_with_their_partition",
        ),
    ),
    Quirk(
        "all",
        "with explicit offsets no position moves: starting again at 0 duplicates data",
        "a method answers how far it came, and the next goes on there",
        (
            "property/test_merge_laws.py::test_every_single_stopping_point_gives_the_same_bytes",
            "property/test_merge_laws.py::test_any_ladder_interrupted_anywhere_gives_the_same_bytes",
        ),
    ),
    Quirk(
        "all",
        "source cut short: 0 bytes for ever (apache/spark #25552)",
        "TruncatedError with file and offset",
        (
            f"{KERNELS}test_a_source_cut_short_meanwhile_is_told_and_not_looped_for",
            f"{KERNELS}test_a_source_cut_short_is_told_by_gathering",
        ),
    ),
    Quirk(
        "quota, RLIMIT_FSIZE, full disks",
        "a short count, then EDQUOT, EFBIG, ENOSPC",
        "final; nothing is left",
        (
            f"{KERNELS}test_an_errno_outside_the_table_names_source_and_target",
            f"{KERNELS}test_when_the_last_method_fails_the_file_concerned_is_named",
            f"{CRASH}test_a_limit_on_file_sizes_is_an_error_that_names_the_target",
            f"{MOUNTS}test_a_disk_that_fills_up_meanwhile_is_left_as_it_was",
        ),
    ),
    Quirk(
        "/dev/full",
        "EINVAL from both calls",
        "the next method, which meets ENOSPC",
        (f"{HERE}test_a_device_that_is_always_full_is_full_to_every_method",),
    ),
)


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.symptom.partition(" (")[0])
def test_each_row_has_tests_that_are_there(quirk: Quirk) -> None:
    assert quirk.tests
    for test in quirk.tests:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (TESTS / file).read_text(), test


@pytest.mark.parametrize("good_calls", [0, 3])
def test_a_position_that_does_not_advance_is_noticed_at_once(spills: list[Path], target: Path, good_calls: int) -> None:
    class Linux2632(SystemKernel):
        """Copies, and leaves the file position where it was."""

        calls = 0

        def sendfile(self, target: int, source: int, source_offset: int, byte_count: int) -> int:
            before = self.position(target)
            copied = super().sendfile(target, source, source_offset, byte_count)
            self.calls += 1
            if self.calls > good_calls:
                self.seek(target, before)
            return copied

    kernel = Linux2632()
    with pytest.raises(PositionError, match="the target's file position"):
        merge(spills, target, MergeOptions(method="sendfile", transfer_to="on", threads=1), kernel=kernel)
    assert kernel.calls == good_calls + 1
    with pytest.warns(ShuffleWarning, match="rebuilding"):
        merge(spills, target, MergeOptions(method="sendfile", transfer_to="auto", threads=1), kernel=Linux2632())
    assert_merge_of(spills, target)


@pytest.mark.parametrize(
    ("method", "number"), [("copy_file_range", errno.EBADF), ("sendfile", errno.EINVAL)], ids=["EBADF", "EINVAL"]
)
def test_a_target_opened_for_appending_is_left_to_reading_and_writing(
    tmp_path: Path, method: MethodName, number: int
) -> None:
    sources = OpaqueSources(tmp_path, [[3000, 40], [50, 6000]])
    descriptor = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        with SourceDescriptors(sources.sources, 10) as descriptors:
            job = CopyJob(SystemKernel(), sources.plan, descriptors, Target(descriptor, "target"))
            result = copy_span(job, [method, "buffered"], sources.plan.start, sources.plan.stop)
    finally:
        os.close(descriptor)
    assert [(fallback.method, fallback.errno) for fallback in result.fallbacks] == [(method, number)]
    assert sources.written() == sources.merged


@pytest.mark.parametrize("method", ["copy_file_range", "sendfile"])
def test_an_error_of_the_disk_is_not_hidden_by_falling_back(
    spills: list[Path], target: Path, method: MethodName
) -> None:
    kernel = ScriptedKernel({call: [Always(Fail(errno.EIO))] for call in ("copy_file_range", "sendfile", "pread")})
    with pytest.raises(OSError, match=r"Input/output error: reading at offset \d+.*spill-0\.spill\.arrow") as raised:
        merge(spills, target, MergeOptions(method=method, threads=1), kernel=kernel)
    assert raised.value.errno == errno.EIO


def sparse_source(directory: Path, byte_count: int) -> tuple[Path, PartitionLayout]:
    path = directory / "source"
    path.touch()
    os.truncate(path, byte_count)
    return path, PartitionLayout(np.array([0, byte_count], dtype=np.int64))


class RecordingKernel(SystemKernel):
    """Claims to have copied what it was asked to, less the bits that libfuse and glibc lost, and notes how much."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.reached = 0

    def copy_file_range(self, *arguments: int) -> int:
        _source, _target, byte_count, _source_offset, _target_offset = arguments
        self.asked.append(byte_count)
        return byte_count & 0x7FFFFFFF

    def sendfile(self, *arguments: int) -> int:
        _target, _source, _source_offset, byte_count = arguments
        self.reached += self.copy_file_range(-1, -1, byte_count, 0, 0)
        return byte_count & 0x7FFFFFFF

    def seek(self, *arguments: int) -> int:
        _descriptor, self.reached = arguments
        return self.reached

    def position(self, *_descriptor: int) -> int:
        return self.reached


@pytest.mark.parametrize("method", ["copy_file_range", "sendfile"])
@pytest.mark.parametrize("byte_count", [2 * GIB, 4 * GIB + 1, 9 * GIB])
def test_no_call_is_asked_for_more_than_any_kernel_takes(tmp_path: Path, method: MethodName, byte_count: int) -> None:
    path, layout = sparse_source(tmp_path, byte_count)
    kernel = RecordingKernel()
    with SourceDescriptors([opaque_source(path, layout)], 1) as descriptors:
        job = CopyJob(kernel, plan_merge([layout]), descriptors, Target(-1, "target"))
        outcome = METHODS[method](job, 0, byte_count)
    assert (outcome.position, outcome.obstacle) == (byte_count, None)
    assert sum(kernel.asked) == byte_count
    assert max(kernel.asked) <= PIECE_BYTES < 0x7FFFF000


@pytest.mark.mount
def test_results_cut_to_31_bits_lose_nothing(xfs_dir: Path) -> None:
    class Cut(SystemKernel):
        """Really copies (here: shares), and loses the upper bits of the answer."""

        def copy_file_range(
            self, source: int, target: int, byte_count: int, source_offset: int, target_offset: int
        ) -> int:
            return super().copy_file_range(source, target, byte_count, source_offset, target_offset) & 0x7FFFFFFF

    path, layout = sparse_source(xfs_dir, 5 * GIB)
    marks = [0, GIB, 2 * GIB - 4096, 2 * GIB, 4 * GIB, 5 * GIB - 4096]
    with path.open("r+b") as file:
        for mark in marks:
            os.pwrite(file.fileno(), b"at %d." % mark, mark)
    with (xfs_dir / "target").open("w+b") as target, SourceDescriptors([opaque_source(path, layout)], 1) as descriptors:
        job = CopyJob(Cut(), plan_merge([layout]), descriptors, Target(target.fileno(), "target"))
        result = copy_span(job, ["copy_file_range", "buffered"], 0, 5 * GIB)
        assert result.fallbacks == []
        for mark in marks:
            expected = b"at %d." % mark
            assert os.pread(target.fileno(), len(expected), mark) == expected


@pytest.mark.parametrize(
    ("method", "call"),
    [("copy_file_range", "copy_file_range"), ("sendfile", "sendfile"), ("gather", "pread"), ("gather", "pwrite")],
)
def test_zeroes_without_an_error_are_caught_by_verify_and_rebuilt(
    spills: list[Path], target: Path, method: MethodName, call: str
) -> None:
    options = MergeOptions(method=method, verify=True, threads=1)
    kernel = ScriptedKernel({call: [Zeroes()]})
    with pytest.warns(ShuffleWarning, match="rebuilding .* with buffered copying: .*(partition 0|around the ranges)"):
        report = merge(spills, target, options, kernel=kernel)
    assert kernel.unplayed == {}
    assert report.rebuilt is not None
    assert report.verified
    assert_merge_of(spills, target)


def test_what_is_wrong_again_after_rebuilding_is_not_published(spills: list[Path], target: Path) -> None:
    kernel = ScriptedKernel({"pwrite": [Always(Zeroes())]})
    options = MergeOptions(method="gather", verify=True, threads=1)
    with pytest.warns(ShuffleWarning, match="rebuilding"), pytest.raises(ChecksumError, match=r"merged\.arrow"):
        merge(spills, target, options, kernel=kernel)
    assert not target.exists()


def test_on_does_not_rebuild_but_raises(spills: list[Path], target: Path) -> None:
    kernel = ScriptedKernel({"copy_file_range": [Real(), Zeroes()]})
    options = MergeOptions(method="copy_file_range", transfer_to="on", verify=True, threads=1)
    said = r"merged\.arrow, partition \d.*; `shuffle verify` of the sources tells which of them is damaged"
    with pytest.raises(ChecksumError, match=said):  # and no warning, which is an error
        merge(spills, target, options, kernel=kernel)
    assert not target.exists()


@pytest.mark.parametrize("method", [method for method in METHODS if method != "clone"])
def test_a_device_that_is_always_full_is_full_to_every_method(tmp_path: Path, method: MethodName) -> None:
    sources = OpaqueSources(tmp_path, [[3000, 40], [50, 6000]])
    descriptor = os.open("/dev/full", os.O_RDWR)
    try:
        with SourceDescriptors(sources.sources, 10) as descriptors:
            job = CopyJob(SystemKernel(), sources.plan, descriptors, Target(descriptor, "/dev/full"))
            with pytest.raises(OSError, match=r"No space left on device.*/dev/full"):
                copy_span(job, list(dict.fromkeys([method, "buffered"])), sources.plan.start, sources.plan.stop)
    finally:
        os.close(descriptor)
