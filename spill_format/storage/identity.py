"""Which file it is: what tells a file from another one that has its name later, and from itself rewritten. PURE."""
# PURE

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    import os


class FileIdentity(NamedTuple):
    """A file at one moment; a rewrite in place changes it, even one of the same size."""

    device: int
    inode: int
    byte_count: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the identity in an answer of stat or fstat."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def __str__(self) -> str:
        """The identity in words, for errors."""
        seconds, nanoseconds = divmod(self.modified_ns, 10**9)
        return (
            f"device {self.device}, inode {self.inode}, {self.byte_count} bytes, "
            f"modified at {seconds}.{nanoseconds:09d}"
        )
