"""What a pending file promises where system calls fail, and where it is interrupted."""

import errno
import os
import re
import stat
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from spill_format.storage.publication import open_pending
from tests.helpers.publications import NEW, write_all

pytestmark = pytest.mark.usefixtures("kind")


@pytest.mark.parametrize(
    ("reason", "said"), [(errno.EIO, "Input/output error"), (errno.ENOENT, "temporary files vanish as soon as")]
)
def test_a_temporary_name_that_is_not_seen_is_an_error_and_leaves_nothing(
    target: Path, kind: str, monkeypatch: pytest.MonkeyPatch, reason: int, said: str
) -> None:
    def failing(path: Path, **_: object) -> os.stat_result:
        if os.fspath(path).endswith(".tmp"):
            raise OSError(reason, os.strerror(reason), path)
        return os.stat(path, follow_symlinks=False)

    monkeypatch.setattr(os, "lstat", failing)
    if kind == "named":
        with pytest.raises(OSError, match=said) as raised:
            open_pending(target)
        assert raised.value.filename == str(target.parent)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # which is why the descriptor is closed at all
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO")
@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_interrupt_at_any_instruction_leaves_nothing_or_the_target(
    target: Path, published: bool, overwrite: bool
) -> None:
    def work() -> None:
        with open_pending(target, overwrite=overwrite) as pending:
            os.write(pending.descriptor, NEW)
            if published:
                pending.publish()

    interrupted = 0
    while Interrupt(interrupted).strikes(work):
        assert set(os.listdir(target.parent)) <= ({target.name} if published else set())
        if target.exists():
            assert target.read_bytes() == NEW
            if not overwrite:
                target.unlink()
        interrupted += 1
    assert interrupted > 200


class Interrupt:
    """Raises KeyboardInterrupt at one instruction of the publication, or of the function that publishes."""

    def __init__(self, instruction: int) -> None:
        self._left = instruction

    def strikes(self, work: Callable[[], None]) -> bool:
        before = sys.gettrace()
        sys._getframe().f_trace_opcodes = True  # Python 3.12 looks, when tracing begins, whether any frame wants this
        sys.settrace(self._trace)
        try:
            work()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Callable[..., Any] | None:
        code = frame.f_code
        if "storage" not in code.co_filename and code.co_name != "work":
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and code.co_name != "__del__":
            if not self._left:
                raise KeyboardInterrupt
            self._left -= 1
        return self._trace


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_a_directory_that_goes_while_the_file_is_published(
    target: Path, monkeypatch: pytest.MonkeyPatch, what: str, overwrite: bool
) -> None:
    """The moment after the link is that of the directory's fsync."""
    fsync, aside = os.fsync, target.parent.parent / "aside"

    def meddling(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            target.parent.rename(aside)
            if what == "replaced":
                target.parent.mkdir()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", meddling)
    with pytest.raises(FileNotFoundError, match="published, but its directory was removed or replaced") as raised:
        write_all(target, durable=True, overwrite=overwrite)
    assert raised.value.filename == str(target)
    assert os.listdir(aside) == [target.name]
    target.parent.mkdir(exist_ok=True)


def test_a_target_that_is_taken_away_at_once_is_no_error(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def consuming(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            target.unlink()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", consuming)
    write_all(target, durable=True)
    assert not target.exists()


def test_an_error_of_closing_what_is_published_is_a_warning(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, synced = os.fsync, list[int]()

    def closing(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(descriptor)
        if len(synced) == 3:
            os.close(descriptor)

    monkeypatch.setattr(os, "fsync", closing)
    with pytest.warns(UserWarning, match="published, but closing it failed: Bad file descriptor"):
        write_all(target, durable=True)
    assert target.read_bytes() == NEW


def test_what_cannot_be_tidied_up_after_publication_is_a_warning(
    target: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    with monkeypatch.context() as patched, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        patched.setattr(Path, "unlink", failing)
        write_all(target)
    assert target.read_bytes() == NEW
    problems = [str(warning.message) for warning in warned]
    assert len(problems) == (kind == "named"), problems
    if kind == "named":
        assert re.fullmatch(rf"{target}: published, but .*\.tmp could not be removed: Input/output error", problems[0])
        assert warned[0].filename == write_all.__code__.co_filename
    open_pending(target, overwrite=True).discard()  # sweeps it
