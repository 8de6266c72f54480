"""The system calls that copying uses, behind one small interface.

Methods copy through a ``Kernel`` and nothing else, so that a test can script one that returns short, lies, or fails as
no healthy machine would. Nothing here decides anything; what an errno means is ``copy/errno_policy.py``'s business.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from shuffle.native import compiled

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from spill_format.layout import Int64Array

_FICLONERANGE = 0x4020940D  # linux/fs.h
_CLONE_RANGE = struct.Struct("=qQQQ")  # source, its offset, byte count, offset in the target

Buffer = bytes | bytearray | memoryview


class Runs(NamedTuple):
    """R runs of files, to be read into N pieces of a buffer: run r into ``[starts[r], starts[r + 1])``, one by one.

    Attributes:
        descriptors: ``int32[R]``, of the files.
        offsets: ``int64[R]``, where each run starts in its file.
        starts: ``int64[R + 1]``, not descending, from 0 to N.
        places: ``int64[N]``, where each piece starts in the buffer.
        lengths: ``int64[N]``, their bytes.
    """

    descriptors: npt.NDArray[np.int32]
    offsets: Int64Array
    starts: Int64Array
    places: Int64Array
    lengths: Int64Array


class Kernel(Protocol):
    """What copying asks of an operating system. All counts are bytes, all errors ``OSError``."""

    def copy_file_range(self, source: int, target: int, byte_count: int, source_offset: int, target_offset: int) -> int:
        """Copy between two descriptors at given offsets, moving no file position; how many bytes were copied."""
        ...

    def sendfile(self, target: int, source: int, source_offset: int, byte_count: int) -> int:
        """Copy from an offset to the target's file position, and move it; how many bytes were copied."""
        ...

    def clone_range(self, source: int, target: int, byte_count: int, source_offset: int, target_offset: int) -> None:
        """Let the target share the source's blocks; offsets and count are multiples of the file system's block."""
        ...

    def pread(self, descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        """Fill buffers, one after the other, from an offset; how many bytes were read, 0 at the end of the file."""
        ...

    def pread_runs(self, runs: Runs, buffer: memoryview) -> tuple[int, int]:
        """Read runs of several files into pieces of one buffer, until one cannot be read whole.

        Returns:
            How many runs were read whole, the first ones, and by how many calls. Who gets fewer than asked for reads
            the next one by ``pread``, which says what is wrong; a kernel that does nothing at once answers ``(0, 0)``.
        """
        ...

    def pwrite(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
        """Write buffers behind each other at an offset; how many bytes were written."""
        ...

    def seek(self, descriptor: int, offset: int) -> int:
        """Set the file position; where it is then."""
        ...

    def position(self, descriptor: int) -> int:
        """The file position."""
        ...

    def size(self, descriptor: int) -> int:
        """The file's size."""
        ...

    @property
    def release(self) -> str:
        """Name and release, for error messages."""
        ...


class SystemKernel:
    """The kernel that this process runs on. A call that it has not raises ``OSError`` with ENOSYS."""

    def copy_file_range(self, source: int, target: int, byte_count: int, source_offset: int, target_offset: int) -> int:
        """See ``Kernel``."""
        if sys.platform != "linux":
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        return os.copy_file_range(source, target, byte_count, source_offset, target_offset)

    def sendfile(self, target: int, source: int, source_offset: int, byte_count: int) -> int:
        """See ``Kernel``."""
        if sys.platform != "linux":  # elsewhere it sends to sockets only
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        return os.sendfile(target, source, source_offset, byte_count)

    def clone_range(self, source: int, target: int, byte_count: int, source_offset: int, target_offset: int) -> None:
        """See ``Kernel``."""
        if sys.platform != "linux":
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        fcntl.ioctl(target, _FICLONERANGE, _CLONE_RANGE.pack(source, source_offset, byte_count, target_offset))

    def pread(self, descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        """See ``Kernel``."""
        return os.preadv(descriptor, buffers, offset)

    def pread_runs(self, runs: Runs, buffer: memoryview) -> tuple[int, int]:
        """See ``Kernel``."""
        module = compiled("reading")
        return (0, 0) if module is None else module.read_runs(*runs, buffer)

    def pwrite(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
        """See ``Kernel``."""
        return os.pwritev(descriptor, buffers, offset)

    def seek(self, descriptor: int, offset: int) -> int:
        """See ``Kernel``."""
        return os.lseek(descriptor, offset, os.SEEK_SET)

    def position(self, descriptor: int) -> int:
        """See ``Kernel``."""
        return os.lseek(descriptor, 0, os.SEEK_CUR)

    def size(self, descriptor: int) -> int:
        """See ``Kernel``."""
        return os.fstat(descriptor).st_size

    @property
    def release(self) -> str:
        """See ``Kernel``."""
        system = os.uname()
        return f"{system.sysname} {system.release}"
