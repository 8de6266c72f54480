"""What a storage promises: files opened for reading, files published whole, and the abilities that differ.

Code that works with several storages asks for an ability, never for a kind. ``shuffle.testing.StorageConformance`` has
the laws of each promise. Storages that write to object stores have their place beside ``local.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from spill_format.storage.identity import FileIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a storage can do.

    Attributes:
        has_descriptors: open files have descriptors: they can be mapped, and the kernel can copy between them.
        shares_blocks: two files may share blocks. Whether the file system does is found when it is tried.
        publishes_atomically: a file appears under its name whole, or not at all.
        replaces_atomically: a file takes another one's name without a moment in which there is none.
        part_bytes: the least size of a part that is written at once; None where any number of bytes can be written.
    """

    has_descriptors: bool = False
    shares_blocks: bool = False
    publishes_atomically: bool = False
    replaces_atomically: bool = False
    part_bytes: int | None = None


class OpenFile(Protocol):
    """A file open for reading. Threads may read at the same time; one of them closes it."""

    @property
    def path(self) -> str:
        """The name, as it was given."""
        ...

    @property
    def byte_count(self) -> int:
        """The size when the file was opened."""
        ...

    @property
    def identity(self) -> FileIdentity | None:
        """Which file it was when it was opened; None where the storage cannot tell."""
        ...

    @property
    def descriptor(self) -> int | None:
        """The descriptor, borrowed; None in a storage without descriptors."""
        ...

    def read_at(self, offset: int, byte_count: int) -> bytes:
        """Return exactly ``byte_count`` bytes from ``offset``.

        Raises:
            TruncatedError: the file ends before them.
            ValueError: the file is closed.
            OSError: reading failed; it names the file.
        """
        ...

    def close(self) -> None:
        """Let go of the file. Does nothing the second time."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, error: object, traceback: object) -> None: ...


class WritableFile(Protocol):
    """A file being written, which has no name until it is published. One thread at a time."""

    @property
    def path(self) -> Path:
        """The name that the file will have."""
        ...

    def stream(self) -> BinaryIO:
        """Return a buffered stream that writes the file from its position on; closing the stream flushes it."""
        ...

    def publish(self) -> None:
        """Make the file appear under its name, whole, and close it.

        Raises:
            TargetExistsError: the name is taken, and replacing was not asked for.
            OSError: as the storage gives it.
        """
        ...

    def discard(self) -> None:
        """Close the file without a trace. Does nothing after publication."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, error: object, traceback: object) -> None: ...


class Storage(Protocol):
    """A place of files that can be read."""

    @property
    def abilities(self) -> Abilities:
        """What the storage can do."""
        ...

    def open(self, path: str | PathLike[str]) -> OpenFile:
        """Open a file for reading.

        Raises:
            FileNotFoundError: there is none.
            IsADirectoryError: it is a directory.
            SpillError: it is a device, pipe or socket.
            OSError: as the storage gives it.
        """
        ...


class WritableStorage(Storage, Protocol):
    """A place of files that can also be written."""

    def create(self, path: str | PathLike[str], *, overwrite: bool = False, durable: bool = False) -> WritableFile:
        """Begin a file that appears when it is published.

        Args:
            path: the name to be.
            overwrite: replace an existing file.
            durable: when ``publish`` returns, the file survives a power cut.

        Raises:
            TargetExistsError: there is a file, and ``overwrite`` is off.
            OSError: as the storage gives it.
        """
        ...
