"""The scripted kernel does what its script says, and otherwise what the machine does."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shuffle.testing import Always, Fail, Lie, Meanwhile, Real, ScriptedKernel, Short, Step, Zero, Zeroes

CONTENT = bytes(range(1, 101))


class Files:
    """A source with CONTENT and an empty target, and one way to call each system call that moves bytes."""

    def __init__(self, directory: Path) -> None:
        (directory / "source").write_bytes(CONTENT)
        self.source = os.open(directory / "source", os.O_RDONLY)
        self.target = os.open(directory / "target", os.O_RDWR | os.O_CREAT, 0o600)

    def move(self, kernel: ScriptedKernel, method: str, byte_count: int, offset: int = 0) -> int:
        """Move bytes from an offset of the source to the same offset of the target."""
        match method:
            case "copy_file_range":
                return kernel.copy_file_range(self.source, self.target, byte_count, offset, offset)
            case "sendfile":
                kernel.seek(self.target, offset)
                return kernel.sendfile(self.target, self.source, offset, byte_count)
            case "pread":
                buffer = memoryview(bytearray(byte_count))
                count = kernel.pread(self.source, [buffer], offset)
                os.pwrite(self.target, buffer, offset)
                return count
            case _:
                half = byte_count // 2
                pieces = [CONTENT[offset : offset + half], CONTENT[offset + half : offset + byte_count]]
                return kernel.pwrite(self.target, pieces, offset)

    def written(self) -> bytes:
        return os.pread(self.target, 1000, 0).rstrip(b"\0")


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    files = Files(tmp_path)
    yield files
    os.close(files.source)
    os.close(files.target)


each_transfer = pytest.mark.parametrize("method", ["copy_file_range", "sendfile", "pread", "pwrite"])


@each_transfer
@pytest.mark.parametrize(
    ("steps", "counts", "written"),
    [
        ([], [60], CONTENT[:60]),
        ([Short(10)], [10], CONTENT[:10]),
        ([Short(90)], [60], CONTENT[:60]),
        ([Zero()], [0], b""),
        ([Zero(), Zero()], [0, 0, 60], CONTENT[:60]),
        ([Lie(7)], [67], CONTENT[:60]),
        ([Lie(-61)], [-1], CONTENT[:60]),
        ([Zeroes()], [60], b""),
        ([Real(), Short(10)], [60, 10, 60], CONTENT[:60]),
        ([Real(calls=2), Short(10)], [60, 60, 10, 60], CONTENT[:60]),
        ([Real(byte_count=70), Zero()], [60, 10, 0, 60], CONTENT[:60]),
        ([Real(byte_count=60), Zero()], [60, 0, 60], CONTENT[:60]),
        ([Always(Zero())], [0, 0, 0], b""),
        ([Short(1), Always(Short(2))], [1, 2, 2], CONTENT[:2]),
    ],
)
def test_a_transfer_follows_its_script(
    files: Files, method: str, steps: list[Step], counts: list[int], written: bytes
) -> None:
    kernel = ScriptedKernel({method: steps})
    assert [files.move(kernel, method, 60) for _ in counts] == counts
    assert files.written() == written
    assert kernel.unplayed == {}
    assert kernel.call_counts[method] == len(counts)


@each_transfer
def test_a_failure_moves_nothing_and_is_an_oserror(files: Files, method: str) -> None:
    kernel = ScriptedKernel({method: [Fail(errno.EXDEV)]})
    with pytest.raises(OSError, match="cross-device") as raised:
        files.move(kernel, method, 60)
    assert raised.value.errno == errno.EXDEV
    assert files.written().strip(b"\0") == b""
    assert files.move(kernel, method, 60) == 60


@pytest.mark.parametrize(("method", "truth"), [("seek", 5), ("position", 5), ("size", 0)])
def test_an_answer_can_lie(files: Files, method: str, truth: int) -> None:
    kernel = ScriptedKernel({method: [Lie(-3), Real()]})
    os.lseek(files.target, 5, os.SEEK_SET)
    questions: dict[str, Callable[[], int]] = {
        "seek": lambda: kernel.seek(files.target, 5),
        "position": lambda: kernel.position(files.target),
        "size": lambda: kernel.size(files.target),
    }
    ask = questions[method]
    assert [ask(), ask()] == [truth - 3, truth]


def test_something_can_happen_in_between(files: Files) -> None:
    kernel = ScriptedKernel({"pread": [Real(), Meanwhile(lambda: os.ftruncate(files.target, 50))]})
    files.move(kernel, "pwrite", 100)
    buffer = memoryview(bytearray(100))
    assert [kernel.pread(files.target, [buffer], 0) for _ in range(3)] == [100, 50, 50]


def test_steps_that_were_not_reached_are_told() -> None:
    script: dict[str, list[Step]] = {"sendfile": [Real(), Zero()], "size": [Always(Lie(1))], "seek": []}
    assert ScriptedKernel(script).unplayed == {"sendfile": [Real(), Zero()], "size": [Always(Lie(1))]}


def test_scripted_kernels_can_be_stacked(files: Files) -> None:
    kernel = ScriptedKernel({"pread": [Short(30)]}, ScriptedKernel({"pread": [Short(20)]}))
    assert [files.move(kernel, "pread", 60) for _ in range(2)] == [20, 60]
    assert kernel.release == ScriptedKernel({}).release


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ({"read": []}, "no system call 'read': there are .*copy_file_range, position, pread"),
        ({"pread": [Always(Zero()), Zero()]}, "behind Always.* would never be reached"),
        ({"pread": [Real(calls=0)]}, "no call at all"),
        ({"pread": [Real(byte_count=0)]}, "no call at all"),
        ({"position": [Zero()]}, "position moves no bytes"),
        ({"size": [Always(Short(1))]}, "size moves no bytes"),
        ({"seek": [Real(byte_count=9)]}, "seek moves no bytes"),
    ],
)
def test_a_script_without_meaning_is_refused(script: dict[str, list[Step]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScriptedKernel(script)
