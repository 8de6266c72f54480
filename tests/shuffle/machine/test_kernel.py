"""The kernel of this machine, asked through the interface that copying uses."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shuffle.machine.kernel import SystemKernel

CONTENT = bytes(range(200))
KERNEL = SystemKernel()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "source").write_bytes(CONTENT)
    descriptor = os.open(tmp_path / "source", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT, 0o600)
    yield descriptor
    os.close(descriptor)


def test_copy_file_range_moves_no_position(source: int, target: int) -> None:
    assert KERNEL.copy_file_range(source, target, 50, 100, 7) == 50
    assert os.pread(target, 100, 7) == CONTENT[100:150]
    assert (KERNEL.position(source), KERNEL.position(target)) == (0, 0)


def test_sendfile_moves_the_position_of_the_target_alone(source: int, target: int) -> None:
    assert KERNEL.seek(target, 7) == 7
    assert KERNEL.sendfile(target, source, 100, 50) == 50
    assert os.pread(target, 100, 7) == CONTENT[100:150]
    assert (KERNEL.position(source), KERNEL.position(target)) == (0, 57)


def test_behind_the_end_there_is_nothing(source: int, target: int) -> None:
    buffer = memoryview(bytearray(10))
    assert KERNEL.copy_file_range(source, target, 10, len(CONTENT), 0) == 0
    assert KERNEL.sendfile(target, source, len(CONTENT), 10) == 0
    assert KERNEL.pread(source, [buffer], len(CONTENT)) == 0
    assert KERNEL.pread(source, [buffer], len(CONTENT) - 3) == 3


def test_pwrite_writes_buffers_of_every_kind_behind_each_other(target: int) -> None:
    assert KERNEL.pwrite(target, [b"ab", bytearray(b"cd"), memoryview(b"-ef-")[1:3]], 5) == 6
    assert os.pread(target, 100, 0) == b"\0\0\0\0\0abcdef"
    assert (KERNEL.size(target), KERNEL.position(target)) == (11, 0)


def test_the_release_is_that_of_uname() -> None:
    assert KERNEL.release == f"Linux {os.uname().release}"


def test_pread_fills_buffers_behind_each_other(source: int) -> None:
    first, second = memoryview(bytearray(3)), memoryview(bytearray(5))
    assert KERNEL.pread(source, [first, second], 100) == 8
    assert bytes(first) + bytes(second) == CONTENT[100:108]


def test_clone_range_shares_blocks_where_there_are_shared_blocks(xfs_dir: Path, ext4_dir: Path) -> None:
    for directory, shares in ((xfs_dir, True), (ext4_dir, False)):
        (directory / "source").write_bytes(CONTENT * 100)
        with (directory / "source").open("rb") as source, (directory / "target").open("w+b") as target:
            if not shares:
                with pytest.raises(OSError, match="not supported"):
                    KERNEL.clone_range(source.fileno(), target.fileno(), 4096, 4096, 8192)
                continue
            KERNEL.clone_range(source.fileno(), target.fileno(), 4096, 4096, 8192)
            assert target.read() == bytes(8192) + (CONTENT * 100)[4096:8192]
