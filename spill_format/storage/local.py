"""Files of this system: opened without ever waiting for anything, read by offset. ``publication.py`` writes them."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from os import PathLike

from spill_format.closing import Closing
from spill_format.errors import SpillError, TruncatedError, naming
from spill_format.storage.identity import FileIdentity
from spill_format.storage.protocol import Abilities
from spill_format.storage.publication import PendingFile, open_pending

_MEDIUM_ERRORS = {errno.EIO, errno.ENODATA, errno.EBADMSG, errno.EREMOTEIO, getattr(errno, "EUCLEAN", 117)}
_SECTOR_BYTES = 4096  # what a page cache reads at least
_MAXIMUM_PIECE_BYTES = 1 << 30  # Linux reads at most 2 GiB less a page at once; some systems refuse to


class LocalStorage:
    """See ``WritableStorage``."""

    abilities: Abilities = Abilities(
        has_descriptors=True, shares_blocks=True, publishes_atomically=True, replaces_atomically=True
    )

    def open(self, path: str | PathLike[str]) -> LocalFile:
        """See ``Storage``."""
        with naming(path):
            return LocalFile(open_regular(path), os.fsdecode(path))

    def create(self, path: str | PathLike[str], *, overwrite: bool = False, durable: bool = False) -> PendingFile:
        """See ``WritableStorage``."""
        return open_pending(path, overwrite=overwrite, durable=durable)


class LocalFile(Closing):
    """See ``OpenFile``. The file owns its descriptor."""

    def __init__(self, descriptor: int, path: str) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        with naming(path):
            self.identity: FileIdentity = FileIdentity.of(os.fstat(descriptor))

    @property
    def byte_count(self) -> int:
        """See ``OpenFile``."""
        return self.identity.byte_count

    @property
    def descriptor(self) -> int:
        """See ``OpenFile``. ValueError once the file is closed."""
        if self._descriptor is None:
            raise ValueError(f"{self.path}: the file is closed")
        return self._descriptor

    def read_at(self, offset: int, byte_count: int) -> bytes:
        """See ``OpenFile``."""
        return read_exactly(self.descriptor, offset, byte_count, self.path)

    def close(self) -> None:
        """See ``OpenFile``."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):  # of a file that was only read nothing can be lost
                os.close(descriptor)


LOCAL = LocalStorage()


def open_regular(path: str | PathLike[str]) -> int:
    """Open a file that somebody named, for reading; return its descriptor, which the caller closes.

    Opening a pipe would wait for its writer, and opening some devices for the device: this never waits.

    Raises:
        IsADirectoryError: the path is a directory.
        SpillError: the path is a device, pipe or socket.
        OSError: the file cannot be opened; it names the path.
    """
    path = os.fsdecode(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:  # what opening a socket answers
            raise _not_a_file(path) from error
        raise
    try:
        with naming(path):
            check_regular(os.fstat(descriptor), path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_regular(status: os.stat_result, path: str) -> None:
    """Check that a status is that of a file with bytes.

    Raises:
        IsADirectoryError, SpillError: as for ``open_regular``.
    """
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise _not_a_file(path)


def _not_a_file(path: str) -> SpillError:
    return SpillError("a device, pipe or socket, not a file", path=path)


def is_medium_error(error: OSError) -> bool:
    """Whether bytes cannot be read because the medium has lost them, and not for another reason."""
    return error.errno in _MEDIUM_ERRORS


def read_around_faults(descriptor: int, offset: int, byte_count: int, path: str) -> bytes:
    """As ``read_exactly``, with zeros in the place of what the medium has lost, for readers that check each byte."""
    try:
        return read_exactly(descriptor, offset, byte_count, path)
    except OSError as error:
        if not is_medium_error(error):
            raise
        if byte_count <= _SECTOR_BYTES and offset // _SECTOR_BYTES == (offset + byte_count - 1) // _SECTOR_BYTES:
            return bytes(byte_count)
    middle = (offset + byte_count // 2) // _SECTOR_BYTES * _SECTOR_BYTES
    first = (middle if middle > offset else (offset // _SECTOR_BYTES + 1) * _SECTOR_BYTES) - offset
    return read_around_faults(descriptor, offset, first, path) + read_around_faults(
        descriptor, offset + first, byte_count - first, path
    )


def read_exactly(descriptor: int, offset: int, byte_count: int, path: str) -> bytes:
    """Return ``byte_count`` bytes of an open file from ``offset``; its file position is neither used nor moved.

    Raises:
        TruncatedError: the file ends before them.
        OSError: reading failed; it names the file.
    """
    pieces = []
    read = 0
    while read < byte_count:
        try:
            piece = os.pread(descriptor, min(byte_count - read, _MAXIMUM_PIECE_BYTES), offset + read)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error
        if not piece:
            raise TruncatedError(
                "the file ends too early", path=path, offset=offset, expected=f"{byte_count} bytes", actual=read
            )
        pieces.append(piece)
        read += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
