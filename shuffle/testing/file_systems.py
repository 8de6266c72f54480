"""Real file systems for tests: images on loop devices and tmpfs, mounted for a while, unmounted whatever happens.

What a test skips or requires is decided by the fixtures in conftest.py; here a mount that cannot be made raises
:class:`CannotMountError`, with the reason.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# mkfs is in sbin, which the PATH of a user, or of cron, may lack.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

_MKFS: dict[str, Sequence[str]] = {
    # Reserved blocks and lazy initialisation would make the free space of a small disk change by itself.
    "ext4": ("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
    "xfs": ("mkfs.xfs", "-q", "-f"),  # with reflink, unless told otherwise: since xfsprogs 5.1
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
MINIMUM_SIZE_MIB = {"ext4": 1, "xfs": 300, "btrfs": 110}  # below, mkfs refuses


class CannotMountError(Exception):
    """A file system that this machine cannot mount; the message says why."""


def why_not_mountable(*kinds: str) -> str | None:
    """Why file systems of these kinds (all that are known, unless told) cannot be mounted here, or None."""
    if os.geteuid() != 0:
        return "mounting needs root"
    needed = ["mount", "umount", *(_MKFS[kind][0] for kind in kinds or _MKFS if kind in _MKFS)]
    missing = [command for command in needed if shutil.which(command, path=_PATH) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


@contextmanager
def loop_mounted(kind: str, size_mib: int, *mkfs_arguments: str) -> Iterator[Path]:
    """Mount a new file system of a kind (ext4, xfs, btrfs) and size, in a sparse image that is deleted afterwards.

    Yields the mount point. Files still open at the end do not keep it: it is detached, and the loop device is freed
    when the last of them is closed.

    Raises:
        CannotMountError: not root, no mkfs, or the kernel refuses.
        ValueError: the size is less than the kind can have.
    """
    if size_mib < MINIMUM_SIZE_MIB[kind]:
        raise ValueError(f"{kind} needs at least {MINIMUM_SIZE_MIB[kind]} MiB, not {size_mib}")
    if reason := why_not_mountable(kind):
        raise CannotMountError(reason)
    with tempfile.TemporaryDirectory(prefix=f"shuffle-{kind}-") as directory:
        image = Path(directory, "image")
        image.touch()
        os.truncate(image, size_mib << 20)
        _run(*_MKFS[kind], *mkfs_arguments, str(image))
        # mount sets up the loop device to free itself on unmounting, so there is no losetup to undo.
        with _mounted(Path(directory, "mount"), "-t", kind, "-o", "loop,noatime", str(image)) as mount_point:
            yield mount_point


@contextmanager
def tmpfs_mounted(size_mib: int) -> Iterator[Path]:
    """Mount a tmpfs of a size, as :func:`loop_mounted` does."""
    if reason := why_not_mountable("tmpfs"):
        raise CannotMountError(reason)
    with (
        tempfile.TemporaryDirectory(prefix="shuffle-tmpfs-") as directory,
        _mounted(Path(directory, "mount"), "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs") as mount_point,
    ):
        yield mount_point


@contextmanager
def _mounted(mount_point: Path, *mount_arguments: str) -> Iterator[Path]:
    mount_point.mkdir()
    _run("mount", *mount_arguments, str(mount_point))
    try:
        yield mount_point
    finally:
        try:
            _run("umount", str(mount_point))
        except CannotMountError:
            # Busy: a test that failed keeps a file of it open, in its traceback or in a child.
            _run("umount", "--lazy", str(mount_point))


def _run(*command: str) -> None:
    completed = subprocess.run(
        command, env={**os.environ, "PATH": _PATH, "LC_ALL": "C"}, capture_output=True, text=True, check=False
    )
    if completed.returncode != 0:
        raise CannotMountError(f"{' '.join(command)}: {(completed.stderr or completed.stdout).strip()}")
