"""Publication: a file is written without a name, and then appears under its name whole, or not at all.

Here is all that knows how: an unnamed file linked into place or, where the file system has none, a locked temporary
name. What the file holds and when it is finished is the business of others.
"""

from __future__ import annotations

import ctypes
import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Self

from spill_format.errors import TargetExistsError
from spill_format.storage.temporary import lock, sweep, temporary_path
from spill_format.warning import warn

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
_ATTEMPTS = 16  # at a temporary file that no sweep removes at once
_O_PATH = getattr(os, "O_PATH", os.O_RDONLY)  # needs no permission to read the directory; Linux alone has it
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


class PendingFile:
    """A file being written, open for reading and writing, that has no name yet; made by ``open_pending``.

    The file owns its descriptor: ``publish`` and ``discard`` close it, and so does leaving the ``with`` block, which
    discards what was not published. ``path`` is the name that the file will have, absolute. One thread at a time.
    """

    _temporary: Path | None = None  # the name it has meanwhile; None while it has none

    def __init__(self, path: Path, destination: Path, *, overwrite: bool, durable: bool) -> None:
        self.path = path
        self._destination = destination  # what the path leads to, where a link's target is replaced
        self._overwrite = overwrite
        self._durable = durable
        self._file: io.FileIO | None = None
        self._process = os.getpid()

    @property
    def descriptor(self) -> int:
        """The descriptor, borrowed. ValueError once the file is published or discarded."""
        if self._file is None or self._file.closed:
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
        discarded. Errors that begin with "published" are the exception. What cannot be tidied up after publication is
        a warning.

        Raises:
            TargetExistsError: the name was taken meanwhile, and overwriting was not asked for.
            OSError: with errno EXDEV when the file lies in another file system than its name, so that its bytes must
                be copied; any other as the operating system gives it. "Published, but …" where the file may not
                survive a power cut although it is durable, or where its directory was removed or replaced meanwhile.
        """
        with _blaming(self.path):
            # NFS, CIFS and FUSE may report a failed write no sooner than when a descriptor of the file is closed. After
            # the link that would be too late, so a duplicate is closed before it.
            os.close(os.dup(self.descriptor))
            # Opened before the link, so that a directory that cannot be opened is no half success.
            directory = os.open(self._destination.parent, os.O_RDONLY if self._durable else _O_PATH)
            try:
                if self._durable:
                    os.fsync(self.descriptor)
                self._appear(directory)
                self._forget_temporary()
                if self._durable:
                    self._sync(directory)
                self._check_place(directory)
            finally:
                _close_read_only(directory)
        self._close()

    def discard(self) -> None:
        """Close the file without a trace. Does nothing once it is published or discarded."""
        try:
            if self._temporary is not None:
                # Before closing, since that gives up the lock by which others know that the name is in use.
                self._temporary.unlink(missing_ok=True)
                self._temporary = None
        finally:
            if self._file is not None:
                with suppress(OSError):  # nobody wants what it holds
                    self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        # System calls on a descriptor do not say which file they failed on.
        if isinstance(error, OSError) and error.filename is None and error.errno is not None:
            error.filename = str(self.path)
        self.discard()

    def __del__(self) -> None:
        # An interrupt just before the ``with`` block is entered drops the file, and its name must go with it; a child
        # of this process drops its copy, and must not. The descriptor closes and complains by itself.
        if self._temporary is not None and self._process == os.getpid():
            with suppress(OSError):
                self._temporary.unlink()

    def _open(self, home: Path) -> None:
        """Open the file in a directory, without a name if possible."""
        self._file = _open_unnamed(home)
        if self._file is not None:
            return
        for _ in range(_ATTEMPTS):
            # Noted before it exists, so that no interrupt in between makes discard forget it.
            self._temporary = temporary_path(home, self._destination.name)
            with _blaming(home):
                self._file = io.FileIO(os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), "r+")
                lock(self._file.fileno())
                # A sweep before the lock may have removed it. The name is random: while it exists it is this file's.
                if is_there(self._temporary):
                    return
            self.discard()
        problem = "temporary files vanish as soon as they are made"
        raise OSError(errno.EBUSY, problem, str(home))

    def _appear(self, directory: int) -> None:
        try:
            if self._overwrite:
                self._replace(directory)
            elif self._temporary is None:
                _link_unnamed(self.descriptor, self._destination.name, directory)
            else:
                _move_without_replacing(self._temporary, self._destination.name, directory)
        except FileExistsError as error:
            raise _target_exists(self.path) from error

    def _replace(self, directory: int) -> None:
        name = self._destination.name
        if self._temporary is None:
            with suppress(FileExistsError):
                _link_unnamed(self.descriptor, name, directory)
                return
            # A link never replaces, a rename does, and a rename needs a name. A kill between the two leaves that name,
            # for the next one who opens this target to sweep: locked before it appears, so not too early.
            lock(self.descriptor)
            self._temporary = temporary_path(self._destination.parent, name)  # before it exists, as in ``_open``
            _link_unnamed(self.descriptor, self._temporary.name, directory)
        self._take_permissions(name, directory)
        os.replace(self._temporary, name, dst_dir_fd=directory)
        self._temporary = None

    def _take_permissions(self, name: str, directory: int) -> None:
        """Give the file the permissions of the one that it replaces."""
        try:
            replaced = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISREG(replaced.st_mode):
            with suppress(OSError):  # vfat and its like have none
                os.fchmod(self.descriptor, replaced.st_mode & 0o777)

    def _forget_temporary(self) -> None:
        """Remove the second name that a link has left."""
        try:
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)
        except OSError as error:
            warn(f"{self.path}: published, but {self._temporary} could not be removed: {error.strerror}")
        self._temporary = None

    def _sync(self, directory: int) -> None:
        try:
            os.fsync(directory)
            # XFS that shut down after the link answers 0 for the directory, and the truth for the file.
            os.fsync(self.descriptor)
        except OSError as error:
            self._close()
            problem = f"published, but syncing it failed, so a power cut may undo it: {error.strerror}"
            raise OSError(error.errno, problem, str(self.path)) from error

    def _check_place(self, directory: int) -> None:
        """Check that the directory that got the file is still the one of that name."""
        try:
            same = os.path.samestat(os.stat(self._destination.parent), os.fstat(directory))
        except (FileNotFoundError, NotADirectoryError):
            same = False
        except OSError:  # nobody knows, and the file is published
            return
        if not same:
            self._close()
            problem = "published, but its directory was removed or replaced meanwhile"
            raise OSError(errno.ENOENT, problem, str(self.path))

    def _close(self) -> None:
        try:
            assert self._file is not None  # it is published
            self._file.close()
        except OSError as error:  # its data was known to be written before it was published
            warn(f"{self.path}: published, but closing it failed: {error.strerror}")


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
        target: the name to be. A symbolic link counts as existing, dangling or not.
        directory: where the bytes lie until they are published, by default the target's directory. Scratch files that
            will most likely be discarded have their place here; see ``PendingFile.publish`` for EXDEV.
        overwrite: replace an existing file, atomically. The new one takes its permissions, not its owner. Of a
            symbolic link the file that it leads to is replaced, and the link stays.
        durable: when publish returns, the file survives a power cut. Costs two fsyncs of the file and one of its
            directory.

    Raises:
        TargetExistsError: the target exists and overwrite is off, or it is a device, pipe or socket.
        IsADirectoryError: the target is a directory.
        OSError: a directory is missing or cannot be written; it names the directory.
    """
    path = Path(target).absolute()  # so that a chdir in between does not move it
    destination = Path(os.path.realpath(path)) if overwrite and path.is_symlink() else path
    home = destination.parent if directory is None else Path(directory).absolute()
    for place in {home, destination.parent}:
        sweep(place, destination.name)
    check_target(path, overwrite=overwrite)
    pending = PendingFile(path, destination, overwrite=overwrite, durable=durable)
    try:
        pending._open(home)
    except BaseException:
        pending.discard()
        raise
    return pending


def make_durable(path: str | PathLike[str]) -> None:
    """Let a published file survive a power cut, as if it had been published as durable.

    Raises:
        OSError: the file or its directory cannot be opened or synced; it names the file.
    """
    path = Path(path).absolute()
    with _blaming(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                for each in (descriptor, directory, descriptor):  # as PendingFile does
                    os.fsync(each)
            finally:
                os.close(directory)
        finally:
            os.close(descriptor)


def is_there(path: str | PathLike[str]) -> bool:
    """Return whether a name is taken, by whatever; unlike ``os.path.lexists`` raise OSError where nobody can tell."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def check_target(path: Path, *, overwrite: bool) -> None:
    """Check that a file may appear under a name; raise as ``open_pending`` does."""
    if not is_there(path):
        return
    try:
        status = os.stat(path)
    except FileNotFoundError:  # a dangling link
        mode = stat.S_IFREG
    else:
        mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not overwrite:
        raise _target_exists(path)
    if not stat.S_ISREG(mode):
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


def _link_unnamed(descriptor: int, name: str, directory: int) -> None:
    # linkat() with AT_SYMLINK_FOLLOW is what names such a file, and os.link() calls it only when given a directory's
    # descriptor; from the plain path "/proc/self/fd/N" it calls link(), which fails with EXDEV.
    descriptors = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.link(str(descriptor), name, src_dir_fd=descriptors, dst_dir_fd=directory, follow_symlinks=True)
    finally:
        _close_read_only(descriptors)


def _close_read_only(directory: int) -> None:
    # Nothing can be lost with it, so an error must not make a publication fail that has happened.
    with suppress(OSError):
        os.close(directory)


def _move_without_replacing(temporary: Path, name: str, directory: int) -> None:
    try:
        os.link(temporary, name, dst_dir_fd=directory)
        return  # the temporary name is removed next
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc before 2.28 and macOS: none
    names = _AT_FDCWD, os.fsencode(temporary), directory, os.fsencode(name)
    if renameat2 is not None and renameat2(*names, _RENAME_NOREPLACE) == 0:
        return
    reason = ctypes.get_errno() if renameat2 is not None else errno.ENOSYS
    if reason in (errno.ENOSYS, errno.EINVAL):  # EINVAL: the file system does not know the flag
        problem = (
            "the file system has neither hard links nor a rename that never replaces; overwriting alone would work"
        )
        raise OSError(errno.ENOTSUP, problem)
    raise OSError(reason, os.strerror(reason))


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Let an OSError name what the user knows, never a temporary name or the number of a descriptor."""
    try:
        yield
    except TargetExistsError:
        raise
    except OSError as error:
        if error.filename == str(path):
            raise  # may say more than its errno does
        raise OSError(error.errno, error.strerror, str(path)) from error
