"""What a merge promises of its sources and of what it wrote: whatever changes or is lost meanwhile is told."""

import os
import stat
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from shuffle import MergeOptions, ShuffleWarning, merge
from shuffle.testing import Lie, Meanwhile, Real, ScriptedKernel, Step, Zero, Zeroes
from spill_format import PositionError, SpillError
from tests.helpers.spark_files import write_spark
from tests.helpers.spills import merged_ranges, ranges_of


@pytest.fixture
def spills(spills: list[Path]) -> list[Path]:
    time.sleep(0.02)  # the clock of file systems ticks
    return spills


def after(calls: int, step: Step) -> list[Step]:
    return [Real(calls=calls), step] if calls else [step]


def rewrite(path: Path) -> None:
    """Other bytes in the same file, as many as before."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def replace_alike(path: Path) -> None:
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)


each_change = pytest.mark.parametrize("change", [rewrite, append, replace_alike])


@each_change
@pytest.mark.parametrize("options", [{}, {"verify": True}, {"compact": True}])
def test_a_source_that_changed_once_it_was_open_is_told(
    spills: list[Path], target: Path, change: Callable[[Path], None], options: dict[str, bool]
) -> None:
    kernel = ScriptedKernel({"pread": after(4, Meanwhile(lambda: change(spills[0])))})
    with pytest.raises(SpillError, match=r"spill-0.*the source changed after its index was read"):
        merge(spills, target, MergeOptions(transfer_to="off", delete_sources=True, threads=1, **options), kernel=kernel)  # type: ignore[arg-type]
    assert not target.exists()
    assert all(spill.exists() for spill in spills)


@each_change
def test_a_source_that_changed_after_it_was_merged_stays(
    spills: list[Path], target: Path, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = merged_ranges(spills)
    fsync = os.fsync

    def changing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            change(spills[0])
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", changing)
    with pytest.raises(SpillError, match=r"spill-0.*published, but this source changed after it was merged"):
        merge(spills, target, delete_sources=True)
    assert ranges_of(target) == kept
    assert [spill.exists() for spill in spills] == [True, False, False]


def noted_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the calls from now on that make files durable, publish them or remove them."""
    calls = list[str]()

    def note(name: str) -> None:
        call = getattr(os, name)

        def noted(*arguments: object, **named: object) -> object:
            calls.append(name)
            return call(*arguments, **named)

        monkeypatch.setattr(os, name, noted)

    for name in ("fsync", "link", "unlink"):
        note(name)
    return calls


def test_sources_go_only_when_the_target_survives_a_power_cut(
    spills: list[Path], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = noted_calls(monkeypatch)
    merge(spills, target, delete_sources=True)
    assert calls == ["fsync", "link", "fsync", "fsync", "unlink", "unlink", "unlink"]


def test_a_repeated_merge_lets_sources_go_only_when_the_target_survives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_spark(tmp_path / "shuffle_0_0_0.data", [b"a", b"b"])
    merge([source], tmp_path / "m.data")
    calls = noted_calls(monkeypatch)
    assert merge([source], tmp_path / "m.data", delete_sources=True).repeated
    # Data, index and checksums of the target: each with its directory, and again. Then those of the source go.
    assert calls == ["fsync"] * 9 + ["unlink"] * 3


def write_count(spills: list[Path], target: Path) -> int:
    kernel = ScriptedKernel({})
    merge(spills, target, MergeOptions(transfer_to="off", threads=1), kernel=kernel)
    target.unlink()
    return kernel.call_counts["pwrite"]


def test_whichever_write_is_lost_verifying_sees_it(spills: list[Path], target: Path) -> None:
    """Header, ranges, end marker, index and footer: all that was written is read back."""
    count = write_count(spills, target)
    merge(spills, target)
    expected = target.read_bytes()
    rebuilt = 0
    for number in range(count):
        kernel = ScriptedKernel({"pwrite": after(number, Zeroes())})
        options = MergeOptions(transfer_to="off", verify=True, overwrite=True, threads=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ShuffleWarning)
            rebuilt += merge(spills, target, options, kernel=kernel).rebuilt is not None
        assert target.read_bytes() == expected
    assert rebuilt >= count - 2  # padding is of zeroes anyway


@pytest.mark.parametrize(
    ("step", "error", "said"), [(Zero(), OSError, "nothing was written"), (Lie(1), PositionError, "bytes written")]
)
def test_whichever_write_miscounts_it_is_told(
    spills: list[Path], target: Path, step: Step, error: type[Exception], said: str
) -> None:
    for number in range(write_count(spills, target)):
        kernel = ScriptedKernel({"pwrite": after(number, step)})
        with pytest.raises(error, match=said):
            merge(spills, target, MergeOptions(transfer_to="on", method="buffered", threads=1), kernel=kernel)
        assert not target.exists()
