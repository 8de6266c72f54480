"""Publication: a file is written without a name, and then appears under its name whole, or not at all.

Here is all that knows how: an unnamed file linked into place or, where the file system has none, a locked temporary
name. What the file holds and when it is finished is the business of others.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Self

from spill_format.errors import TargetExistsError

# What opening with O_TMPFILE answers where there are no unnamed files.
_NO_UNNAMED_FILES = frozenset(
    {
        errno.EOPNOTSUPP,  # the file system: NFS, FUSE, vfat, overlayfs before Linux 6.1
        errno.EISDIR,  # Linux before 3.11 does not know the flag and sees a directory opened for writing
        errno.ENOENT,  # the same; if it is the directory that is missing, creating a named file there says so
        errno.EINVAL,  # kernels and sandboxes that refuse flags that they do not know
    }
)

# What link(2) answers where a file cannot have two names: vfat and exFAT say EPERM.
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})

_STREAM_BYTES = 1 << 20  # fewer, larger writes
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


class PendingFile:
    """A file being written, open for reading and writing, that has no name yet; made by ``open_pending``.

    It owns its descriptor: ``publish`` and ``discard`` close it, and so does leaving the ``with`` block, which discards
    what was not published. ``path`` is the name that it will have, absolute. One thread at a time.
    """

    def __init__(self, file: io.FileIO, path: Path, temporary: Path | None, *, overwrite: bool, durable: bool) -> None:
        self.path = path
        self._file = file
        self._temporary = temporary  # the name it has meanwhile; None while it has none
        self._overwrite = overwrite
        self._durable = durable

    @property
    def descriptor(self) -> int:
        """The descriptor, borrowed. ValueError once the file is published or discarded."""
        if self._file.closed:
            raise ValueError(f"{self.path}: already published or discarded")
        return self._file.fileno()

    def fileno(self) -> int:
        """Return ``descriptor``, for functions that take any open file."""
        return self.descriptor

    def stream(self) -> BinaryIO:
        """See ``WritableFile``."""
        return open(self.descriptor, "wb", _STREAM_BYTES, closefd=False)

    def publish(self) -> None:
        """Make the file appear under its name, whole, and close it.

        After an error the name is as it was and the file still pending: its bytes can be read, and it must be
        discarded. The one exception is an error of syncing the directory, which says that the file was published.

        Raises:
            TargetExistsError: the name was taken meanwhile, and overwriting was not asked for.
            OSError: with errno EXDEV when the file lies in another file system than its name, so that its bytes must
                be copied; any other as the operating system gives it.
        """
        with _blaming(self.path):
            # NFS, CIFS and FUSE may report a failed write no sooner than when a descriptor of the file is closed. After
            # the link that would be too late, so a duplicate is closed before it.
            os.close(os.dup(self.descriptor))
            if not self._durable:
                self._appear()
                return
            # Opened before the link, so that a directory that cannot be opened is no half success.
            directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(self.descriptor)
                self._appear()
                self._sync(directory)
            finally:
                os.close(directory)

    def discard(self) -> None:
        """Close the file without a trace. Does nothing once it is published or discarded."""
        try:
            if self._temporary is not None:
                # Before closing, since that gives up the lock by which others know that the name is in use.
                self._temporary.unlink(missing_ok=True)
                self._temporary = None
        finally:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _appear(self) -> None:
        try:
            if self._overwrite:
                self._replace()
            elif self._temporary is None:
                _link_unnamed(self.descriptor, self.path)
            else:
                _move_without_replacing(self._temporary, self.path)
        except FileExistsError as error:
            raise _target_exists(self.path) from error
        self.discard()  # what is left of it: a second name perhaps, and the descriptor

    def _replace(self) -> None:
        if self._temporary is None:
            with suppress(FileExistsError):
                _link_unnamed(self.descriptor, self.path)
                return
            # A link never replaces, a rename does, and a rename needs a name. A kill between the two leaves that name,
            # for the next one who opens this target to sweep: locked before it appears, so not too early.
            _lock(self.descriptor)
            # Noted before it exists, so that no interrupt in between makes discard forget it.
            self._temporary = _temporary_path(self.path.parent, self.path.name)
            _link_unnamed(self.descriptor, self._temporary)
        os.replace(self._temporary, self.path)
        self._temporary = None

    def _sync(self, directory: int) -> None:
        try:
            os.fsync(directory)
        except OSError as error:
            problem = f"published, but syncing its directory failed, so a power cut may undo it: {error.strerror}"
            raise OSError(error.errno, problem, str(self.path)) from error


def open_pending(
    target: str | PathLike[str],
    *,
    directory: str | PathLike[str] | None = None,
    overwrite: bool = False,
    durable: bool = False,
) -> PendingFile:
    """Open a file that will appear as ``target`` when it is published, with the permissions that open() would give it.

    A process that dies before that leaves nothing behind. There are two exceptions: where the file system has no
    unnamed files, and for an instant while an existing target is replaced, the file has the name
    ``.{target's name}.{16 hexadecimal digits}.tmp``; one that a dead process left is removed when the same target is
    next opened. It is recognised by its lock being free, which NFS mounted with local locks cannot tell across hosts.

    Args:
        target: the name to be. A symbolic link counts as existing, dangling or not; replacing replaces the link itself.
        directory: where the bytes lie until they are published, by default the target's directory. Scratch files that
            will most likely be discarded have their place here; see ``PendingFile.publish`` for EXDEV.
        overwrite: replace an existing file, atomically. The new one does not inherit its owner or permissions.
        durable: when publish returns, the file survives a power cut. Costs an fsync of the file and of its directory.

    Raises:
        TargetExistsError: the target exists and overwrite is off, or it is a device, pipe or socket.
        IsADirectoryError: the target is a directory.
        OSError: a directory is missing or cannot be written; it names the directory.
    """
    path = Path(target).absolute()  # so that a chdir in between does not move it
    home = path.parent if directory is None else Path(directory).absolute()
    _refuse_existing(path, overwrite)
    for place in {home, path.parent}:
        _sweep(place, path.name)
    temporary = None
    file = _open_unnamed(home)
    if file is None:
        file, temporary = _open_named(home, path.name)
    return PendingFile(file, path, temporary, overwrite=overwrite, durable=durable)


def _refuse_existing(path: Path, overwrite: bool) -> None:
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not overwrite:
        raise _target_exists(path)
    if path.exists() and not path.is_file():
        # Writing to /dev/stdout or /dev/null is what was meant; replacing it would break the machine.
        raise TargetExistsError(
            "a device, pipe or socket, which is never replaced", path=path, advice="choose another name"
        )


def _target_exists(path: Path) -> TargetExistsError:
    return TargetExistsError(
        "the target already exists",
        path=path,
        advice="choose another name, or replace it with overwrite=True",
    )


def _open_unnamed(directory: Path) -> io.FileIO | None:
    flag = getattr(os, "O_TMPFILE", None)  # Linux alone has it
    if flag is None or not os.path.isdir("/proc/self/fd"):  # without /proc such a file could never get a name
        return None
    try:
        return io.FileIO(os.open(directory, os.O_RDWR | flag, 0o666), "r+")
    except OSError as error:
        if error.errno in _NO_UNNAMED_FILES:
            return None
        raise


def _open_named(directory: Path, name: str) -> tuple[io.FileIO, Path]:
    while True:
        temporary = _temporary_path(directory, name)
        with _blaming(directory):
            file = io.FileIO(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), "r+")
        _lock(file.fileno())
        # A sweep before the lock may have removed it. The name is random, so as long as it exists it is this file's.
        if os.path.lexists(temporary):
            return file, temporary
        file.close()


def _link_unnamed(fd: int, name: Path) -> None:
    # linkat() with AT_SYMLINK_FOLLOW is what names such a file, and os.link() calls it only when given a directory's
    # descriptor; from the plain path "/proc/self/fd/N" it calls link(), which fails with EXDEV.
    descriptors = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.link(str(fd), name, src_dir_fd=descriptors, follow_symlinks=True)
    finally:
        os.close(descriptors)


def _move_without_replacing(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
        return  # the temporary name goes when the file is closed
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc before 2.28 and macOS: none
    names = _AT_FDCWD, os.fsencode(temporary), _AT_FDCWD, os.fsencode(path)
    if renameat2 is not None and renameat2(*names, _RENAME_NOREPLACE) == 0:
        return
    reason = ctypes.get_errno() if renameat2 is not None else errno.ENOSYS
    if reason in (errno.ENOSYS, errno.EINVAL):  # EINVAL: the file system does not know the flag
        problem = (
            "the file system has neither hard links nor a rename that never replaces; overwriting alone would work"
        )
        raise OSError(errno.ENOTSUP, problem, str(path))
    raise OSError(reason, os.strerror(reason), str(path))


def _temporary_path(directory: Path, name: str) -> Path:
    return directory / f"{_temporary_prefix(name)}{os.urandom(8).hex()}.tmp"


def _temporary_prefix(name: str) -> str:
    # A target's name may take all 255 bytes that a name can have. Names that are alike so far share their debris, and
    # the lock tells whose is in use.
    return "." + os.fsencode(name)[:200].decode(errors="ignore") + "."


def _sweep(directory: Path, name: str) -> None:
    try:
        names = os.listdir(directory)
    except PermissionError:
        return  # a directory may be open to writing and not to listing
    debris = re.compile(re.escape(_temporary_prefix(name)) + r"[0-9a-f]{16}\.tmp")
    for leftover in filter(debris.fullmatch, names):
        # Whatever the error, it is not ours to remove: in use (EWOULDBLOCK), another user's, gone by now.
        with suppress(OSError):
            _remove_if_abandoned(directory / leftover)


def _remove_if_abandoned(leftover: Path) -> None:
    # NFS gives an exclusive lock only to a descriptor open for writing.
    fd = os.open(leftover, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(leftover)
    finally:
        os.close(fd)


def _lock(fd: int) -> None:
    # Where the file system has no locks a sweep gets none either, and so removes nothing.
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX)


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Let an OSError name what the user knows, never a temporary name or the number of a descriptor."""
    try:
        yield
    except OSError as error:
        if error.filename == str(path):
            raise  # may say more than its errno does
        raise OSError(error.errno, error.strerror, str(path)) from error
