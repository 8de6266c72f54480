"""The mounts that tests stand on: what they offer, and that nothing of them stays behind."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from shuffle.testing.file_systems import loop_mounted, tmpfs_mounted

pytestmark = pytest.mark.mount


def loop_images() -> list[str]:
    """The files behind the loop devices that are in use."""
    return [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_mount_is_of_its_kind_and_leaves_nothing(kind: str) -> None:
    with loop_mounted(kind, 320) as mount_point:
        mounts = Path("/proc/self/mounts").read_text()
        assert f" {mount_point} {kind} " in mounts
        image = str(mount_point.parent / "image")
        assert any(image in backing for backing in loop_images())

    assert not mount_point.parent.exists()
    assert str(mount_point) not in Path("/proc/self/mounts").read_text()
    assert not any(image in backing for backing in loop_images())


def test_a_mount_ends_when_its_test_fails() -> None:
    with pytest.raises(ZeroDivisionError), loop_mounted("ext4", 8) as mount_point:
        raise ZeroDivisionError

    assert not mount_point.parent.exists()


def test_a_mount_ends_while_a_file_of_it_is_open() -> None:
    with loop_mounted("ext4", 8) as mount_point:
        descriptor = os.open(mount_point / "open", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        assert str(mount_point) not in Path("/proc/self/mounts").read_text()
        assert not mount_point.parent.exists()
    finally:
        os.close(descriptor)


def test_a_small_disk_fills_up(small_ext4_dir: Path) -> None:
    with pytest.raises(OSError, match="No space left") as raised:
        (small_ext4_dir / "large").write_bytes(bytes(8 << 20))

    assert raised.value.errno == errno.ENOSPC


def test_a_tmpfs_has_its_size() -> None:
    with tmpfs_mounted(4) as mount_point:
        assert shutil.disk_usage(mount_point).total == 4 << 20


def test_a_size_that_mkfs_would_refuse_is_told_so() -> None:
    with pytest.raises(ValueError, match="xfs needs at least 300 MiB, not 8"), loop_mounted("xfs", 8):
        pass
