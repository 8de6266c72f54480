"""Kernels that misbehave: the bytes are right all the same, or the error says what is wrong and nothing is left."""

import errno
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from shuffle import MergeOptions, MergeReport, ShuffleWarning, merge
from shuffle.merging.copy.errno_policy import FALL_BACK
from shuffle.options import METHOD_NAMES, MethodName, TransferTo
from shuffle.testing import Always, Fail, Lie, Meanwhile, Real, ScriptedKernel, Short, Step, Zero, Zeroes
from spill_format import CorruptError, PositionError, SpillFile, TruncatedError
from tests.helpers.spills import assert_merge_of

IN_KERNEL: tuple[MethodName, ...] = ("copy_file_range", "sendfile")
each_in_kernel_method = pytest.mark.parametrize("method", IN_KERNEL)

Script = dict[str, list[Step]]
LATER_BYTES = 1000  # in the second of the sources' ranges, and in no multiple of anything


def merge_with(script: Script, spills: list[Path], target: Path, **options: object) -> MergeReport:
    """Merge in one thread, with no warning expected, and see that all of the script came to pass."""
    kernel = ScriptedKernel(script)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = merge(spills, target, MergeOptions(threads=1, **options), kernel=kernel)  # type: ignore[arg-type]
    assert kernel.unplayed == {}
    return report


class TestFallingBack:
    """Where a method stops, the next one goes on from that byte."""

    @pytest.mark.parametrize("later_bytes", [0, LATER_BYTES])
    @pytest.mark.parametrize("number", FALL_BACK, ids=errno.errorcode.get)
    @each_in_kernel_method
    def test_an_errno_of_the_table_gives_way_to_the_next_method(
        self, spills: list[Path], target: Path, method: MethodName, number: int, later_bytes: int
    ) -> None:
        steps: list[Step] = [Fail(number)]
        if later_bytes:
            steps.insert(0, Real(byte_count=later_bytes))
        report = merge_with({method: steps}, spills, target, method=method)
        assert_merge_of(spills, target)
        (fallback,) = report.fallbacks
        assert (fallback.method, fallback.errno) == (method, number)
        assert fallback.reason == FALL_BACK[number].why
        assert fallback.position == _first_offset(target) + later_bytes
        assert report.methods[method].byte_count == later_bytes
        assert sum(use.byte_count for use in report.methods.values()) == report.byte_count
        assert list(report.methods) == [method, METHOD_NAMES[METHOD_NAMES.index(method) + 1]]

    @pytest.mark.parametrize("transfer_to", ["auto", "on"])
    @pytest.mark.parametrize("later_bytes", [0, LATER_BYTES])
    @each_in_kernel_method
    def test_a_kernel_that_copies_nothing_and_says_that_all_is_well_gives_way(
        self, spills: list[Path], target: Path, method: MethodName, later_bytes: int, transfer_to: TransferTo
    ) -> None:
        steps: list[Step] = [Real(byte_count=later_bytes), Always(Zero())] if later_bytes else [Always(Zero())]
        report = merge_with({method: steps}, spills, target, method=method, transfer_to=transfer_to)
        assert_merge_of(spills, target)
        (fallback,) = report.fallbacks
        assert fallback.errno is None
        assert fallback.reason == "the call copied nothing and said that all is well"
        assert fallback.position == _first_offset(target) + later_bytes

    def test_the_ladder_is_climbed_down_to_its_end(self, spills: list[Path], target: Path) -> None:
        script: Script = {
            "copy_file_range": [Real(byte_count=300), Fail(errno.EXDEV)],
            "sendfile": [Real(byte_count=1200), Fail(errno.EINVAL)],
            "pread": [Short(1), Short(100)],
            "pwrite": [Short(1), Short(100)],
        }
        report = merge_with(script, spills, target, method="copy_file_range")
        assert_merge_of(spills, target)
        assert [fallback.method for fallback in report.fallbacks] == ["copy_file_range", "sendfile"]
        places = [fallback.position - _first_offset(target) for fallback in report.fallbacks]
        assert places == [300, 1500]
        with SpillFile(target) as merged:
            for fallback in report.fallbacks:
                start, end = merged.layout.offsets[fallback.partition : fallback.partition + 2]
                assert start <= fallback.position < end

    @pytest.mark.parametrize(
        ("method", "script"),
        [
            ("copy_file_range", {"copy_file_range": [Always(Short(77))]}),
            ("copy_file_range", {"copy_file_range": [Always(Short(1))]}),
            ("sendfile", {"sendfile": [Always(Short(77))]}),
            ("gather", {"pread": [Always(Short(77))], "pwrite": [Always(Short(13))]}),
            ("gather", {"pread": [Always(Short(1))]}),
            ("buffered", {"pread": [Always(Short(77))], "pwrite": [Always(Short(13))]}),
        ],
    )
    def test_short_copies_go_on_where_they_ended(
        self, spills: list[Path], target: Path, method: MethodName, script: Script
    ) -> None:
        report = merge_with(script, spills, target, method=method)
        assert_merge_of(spills, target)
        assert report.fallbacks == ()
        assert report.methods[method].byte_count == report.byte_count
        assert report.methods[method].system_calls >= report.byte_count // 77


class TestFinalErrors:
    """What no other method would be spared is raised, with the file's name, and leaves nothing."""

    @pytest.mark.parametrize("later_bytes", [0, LATER_BYTES])
    @pytest.mark.parametrize(
        "number",
        [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM, errno.EROFS, errno.EISDIR],
        ids=errno.errorcode.get,
    )
    @each_in_kernel_method
    def test_an_errno_outside_the_table_names_source_and_target(
        self, spills: list[Path], target: Path, method: MethodName, number: int, later_bytes: int
    ) -> None:
        steps: list[Step] = [Real(byte_count=later_bytes), Fail(number)] if later_bytes else [Fail(number)]
        with pytest.raises(OSError, match=method) as raised:
            merge_with({method: steps}, spills, target, method=method)
        assert raised.value.errno == number
        assert raised.value.filename == str(target)
        assert os.strerror(number) in str(raised.value)
        assert any(str(spill) in str(raised.value) for spill in spills)
        assert not target.exists()

    @pytest.mark.parametrize(
        ("script", "named"),
        [
            ({"pread": [Real(), Fail(errno.EIO)]}, "spill-1.spill.arrow"),
            ({"pwrite": [Fail(errno.ENOSPC)]}, "merged.arrow"),
            ({"pwrite": [Short(5), Fail(errno.EDQUOT)]}, "merged.arrow"),
            ({"pwrite": [Real(byte_count=700), Fail(errno.EFBIG)]}, "merged.arrow"),
            ({"pwrite": [Short(5), Zero()]}, "nothing was written.*merged.arrow"),
        ],
    )
    def test_when_the_last_method_fails_the_file_concerned_is_named(
        self, spills: list[Path], target: Path, script: Script, named: str
    ) -> None:
        # The first partition's ranges come from sources 0 and 2: the second read is of source 2.
        named = named.replace("spill-1", "spill-2")
        with pytest.raises(OSError, match=named):
            merge_with(script, spills, target, transfer_to="off")
        assert not target.exists()

    def test_a_probe_that_fails_names_the_source(self, spills: list[Path], target: Path) -> None:
        script: Script = {"copy_file_range": [Zero()], "pread": [Fail(errno.EIO)]}
        with pytest.raises(OSError, match=r"Input/output error.*spill-0\.spill\.arrow"):
            merge_with(script, spills, target, method="copy_file_range")


class TestPositions:
    """A position or a count that is not what it must be."""

    LIES: tuple[tuple[MethodName, Script, str], ...] = (
        ("sendfile", {"position": [Lie(-1)]}, "the target's file position"),
        ("sendfile", {"position": [Real(calls=2), Lie(4096)]}, "the target's file position"),
        ("sendfile", {"sendfile": [Lie(8)]}, "the target's file position"),
        ("sendfile", {"sendfile": [Real(), Lie(-8)]}, "the target's file position"),
        ("sendfile", {"sendfile": [Lie(1)], "position": [Lie(1)]}, "bytes copied"),
        ("copy_file_range", {"copy_file_range": [Lie(1)]}, "bytes copied"),
        ("copy_file_range", {"copy_file_range": [Real(byte_count=LATER_BYTES), Lie(1 << 40)]}, "bytes copied"),
        ("copy_file_range", {"copy_file_range": [Lie(-(1 << 40))]}, "bytes copied"),
        ("copy_file_range", {"size": [Lie(-1)]}, "the target's size"),
        ("sendfile", {"size": [Lie(1)]}, "the target's size"),
    )
    each_lie = pytest.mark.parametrize(("method", "script", "what"), LIES)

    @each_lie
    def test_on_raises_with_everything_there_is_to_know(
        self, spills: list[Path], target: Path, method: MethodName, script: Script, what: str
    ) -> None:
        with pytest.raises(PositionError) as raised:
            merge_with(script, spills, target, method=method, transfer_to="on")
        error = raised.value
        assert what in error.problem
        assert method in error.problem
        assert error.path is not None
        assert os.fspath(error.path) == str(target)
        assert isinstance(error.expected, int)
        assert isinstance(error.actual, int)
        assert error.expected != error.actual
        message = str(error)
        assert f"Linux {os.uname().release}" in message
        assert ') miscounts; copying inside the kernel can be switched off with transfer_to="off"' in message
        if what != "the target's size":  # which is of no range in particular
            assert error.partition is not None
            assert re.search(r"of \d+ bytes from .*spill-\d\.spill\.arrow, offset \d+", error.problem)

    @each_lie
    def test_auto_rebuilds_with_buffered_copying_and_says_so(
        self, spills: list[Path], target: Path, method: MethodName, script: Script, what: str
    ) -> None:
        told: list[tuple[int, int]] = []
        with pytest.warns(ShuffleWarning, match=f"^rebuilding {target} with buffered copying: .*{what}") as warned:
            report = merge(
                spills,
                target,
                MergeOptions(method=method, threads=1),
                kernel=ScriptedKernel(script),
                progress=lambda *counts: told.append(counts),
            )
        assert warned[0].filename == __file__  # it points at the caller
        assert_merge_of(spills, target)
        assert report.rebuilt is not None
        assert what in report.rebuilt
        assert list(report.methods) == ["buffered"]
        assert told[-1] == (report.byte_count, report.byte_count)

    @pytest.mark.parametrize("script", [{"pread": [Lie(1)]}, {"pwrite": [Lie(1)]}, {"pread": [Real(), Lie(-9999999)]}])
    @pytest.mark.parametrize("transfer_to", ["auto", "on", "off"])
    def test_a_miscounted_read_or_write_is_no_success(
        self, spills: list[Path], target: Path, script: Script, transfer_to: TransferTo
    ) -> None:
        script = {method: [*steps[:-1], Always(steps[-1])] for method, steps in script.items()}  # type: ignore[arg-type]
        options = MergeOptions(method="buffered", transfer_to=transfer_to)
        said = "bytes read, as Linux" if "pread" in script else "bytes written, as Linux"
        with pytest.raises(PositionError, match=rf"{said} .* counts them: expected 0 to \d+, found"):
            merge(spills, target, options, kernel=ScriptedKernel(script))

    def test_a_target_that_is_wrong_again_after_rebuilding_is_an_error(self, spills: list[Path], target: Path) -> None:
        options = MergeOptions(method="sendfile")
        with pytest.warns(ShuffleWarning, match="rebuilding"), pytest.raises(PositionError, match="the target's size"):
            merge(spills, target, options, kernel=ScriptedKernel({"size": [Always(Lie(1))]}))

    def test_off_never_copies_inside_the_kernel(self, spills: list[Path], target: Path) -> None:
        script: Script = {
            "copy_file_range": [Always(Fail(errno.ENOTRECOVERABLE))],
            "sendfile": [Always(Fail(errno.ENOTRECOVERABLE))],
        }
        kernel = ScriptedKernel(script)
        report = merge(spills, target, MergeOptions(transfer_to="off"), kernel=kernel)
        assert set(kernel.call_counts) <= {"pread", "pwrite", "size"}
        assert list(report.methods) == ["gather"]
        assert_merge_of(spills, target)


class TestSourcesThatChange:
    """What happens to a source between the check and the end of the copy."""

    @pytest.mark.parametrize(
        ("method", "call"), [("copy_file_range", "copy_file_range"), ("sendfile", "sendfile"), ("buffered", "pread")]
    )
    @pytest.mark.parametrize("size", [0, 1500])
    def test_a_source_cut_short_meanwhile_is_told_and_not_looped_for(
        self, spills: list[Path], target: Path, method: MethodName, call: str, size: int
    ) -> None:
        # The fourth range copied is of source 0, which is open already: its identity is not looked at again.
        script: Script = {call: [Real(calls=4), Meanwhile(lambda: os.truncate(spills[0], size))]}
        with pytest.raises(TruncatedError, match=r"spill-0.*offset \d+: the source was cut short after its index"):
            merge_with(script, spills, target, method=method)

    @pytest.mark.parametrize("size", [0, 300])
    def test_a_source_cut_short_is_told_by_gathering(self, spills: list[Path], target: Path, size: int) -> None:
        script: Script = {"pread": [Meanwhile(lambda: os.truncate(spills[0], size))]}
        with pytest.raises(TruncatedError, match=r"spill-0.*offset \d+: the source was cut short after its index"):
            merge_with(script, spills, target, method="gather")

    @pytest.mark.parametrize("change", [Path.unlink, lambda path: path.rename(path.with_suffix(".moved"))])
    def test_a_source_removed_once_it_is_open_is_copied_all_the_same(
        self, spills: list[Path], target: Path, tmp_path: Path, change: Callable[[Path], object]
    ) -> None:
        kept = [tmp_path / spill.name for spill in spills]
        for spill, copy in zip(spills, kept, strict=True):
            os.link(spill, copy)
        merge_with({"sendfile": [Real(), Meanwhile(lambda: change(spills[0]))]}, spills, target, method="sendfile")
        assert_merge_of(kept, target)

    def test_a_source_removed_before_it_is_open_is_named(self, spills: list[Path], target: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"spill-1\.spill\.arrow"):
            merge_with({"sendfile": [Meanwhile(spills[1].unlink)]}, spills, target, method="sendfile")


def test_zeroes_in_place_of_data_are_seen_by_verifying(spills: list[Path], target: Path) -> None:
    merge_with({"copy_file_range": [Real(), Zeroes()]}, spills, target, method="copy_file_range")
    with SpillFile(target) as merged, pytest.raises(CorruptError, match=r"merged\.arrow, partition 0"):
        merged.verify()


def _first_offset(target: Path) -> int:
    with SpillFile(target) as merged:
        return int(merged.layout.offsets[0])
