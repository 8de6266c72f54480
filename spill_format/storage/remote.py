"""Files on object stores and remote file systems, read by ranges. pyarrow.fs and fsspec know the stores."""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from types import TracebackType
from typing import Any, Self

import pyarrow.fs

from spill_format.errors import TruncatedError
from spill_format.storage.protocol import Abilities

ReadAt = Callable[[int, int], bytes]
"""Returns ``byte_count`` bytes from ``offset``, in this order, or raises."""

_HEAD_BYTES = 8 << 10  # magic and schema message of most files
_TAIL_BYTES = 64 << 10  # footer and index of some 500 partitions of a batch each
_MARGIN_BYTES = 64 << 10  # what is read before bytes asked for: an index section is read from its end on


class RemoteStorage:
    """See ``Storage``.

    Args:
        filesystem: a ``pyarrow.fs.FileSystem`` or an fsspec file system; None takes each path for a URL that fsspec
            knows, as ``https://…`` or ``s3://…``.

    As thread-safe as the file system.
    """

    abilities = Abilities()

    def __init__(self, filesystem: Any = None) -> None:
        self._filesystem = filesystem

    def open(self, path: str | PathLike[str]) -> RemoteFile:
        """See ``Storage``. Asks for the size; range reads follow as they are asked for."""
        filesystem, name = self._filesystem, os.fsdecode(path)
        if filesystem is None:
            import fsspec  # an extra

            filesystem, name = fsspec.core.url_to_fs(name)
        if isinstance(filesystem, pyarrow.fs.FileSystem):
            file = filesystem.open_input_file(name)
            return RemoteFile(
                name, file.size(), lambda offset, byte_count: file.read_at(byte_count, offset), file.close
            )

        def read(offset: int, byte_count: int) -> bytes:
            return bytes(filesystem.cat_file(name, start=offset, end=offset + byte_count))

        return RemoteFile(name, int(filesystem.info(name)["size"]), read, lambda: None)


class RemoteFile:
    """See ``OpenFile``."""

    identity = None
    descriptor = None

    def __init__(self, path: str, byte_count: int, read: ReadAt, close: Callable[[], None]) -> None:
        self.path = path
        self.byte_count = byte_count
        self._read: ReadAt | None = read
        self._close = close

    def read_at(self, offset: int, byte_count: int) -> bytes:
        """See ``OpenFile``: one range read."""
        if self._read is None:
            raise ValueError(f"{self.path}: the file is closed")
        wanted = max(min(byte_count, self.byte_count - offset), 0)  # servers answer 416 beyond the end
        content = self._read(offset, wanted) if wanted else b""
        if len(content) != byte_count:
            problem = (
                "the file ends too early"
                if len(content) == wanted
                else "the file system answered a range read with another number of bytes"
            )
            raise TruncatedError(
                problem, path=self.path, offset=offset, expected=f"{byte_count} bytes", actual=len(content)
            )
        return content

    def close(self) -> None:
        """See ``OpenFile``."""
        if self._read is not None:
            self._read = None
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class ReadWindows:
    """Answers small reads of a file out of larger ones: its start, its end, and what lies just before its footer."""

    def __init__(self, read: ReadAt, byte_count: int) -> None:
        self._read = read
        self._byte_count = byte_count
        self._windows: list[tuple[int, bytes]] = []

    def __call__(self, offset: int, byte_count: int) -> bytes:
        """Return bytes of the file, as ``OpenFile.read_at`` does."""
        end = offset + byte_count
        for start, content in self._windows:
            if start <= offset and end <= start + len(content):
                return content[offset - start : end - start]
        if not self._windows:  # the end first: of a small file it is all
            self._keep(max(0, self._byte_count - _TAIL_BYTES), self._byte_count)
        elif offset < _HEAD_BYTES:
            self._keep(0, min(max(end, _HEAD_BYTES), self._byte_count))
        else:
            self._keep(max(0, offset - _MARGIN_BYTES), min(end, self._byte_count))
        return self(offset, byte_count)

    def _keep(self, start: int, end: int) -> None:
        self._windows.append((start, self._read(start, end - start)))
