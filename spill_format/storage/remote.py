"""Files on object stores and remote file systems, read by ranges. pyarrow.fs and fsspec know the stores."""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from typing import Any

import pyarrow.fs

from spill_format.closing import Closing
from spill_format.errors import TruncatedError
from spill_format.storage.protocol import Abilities
from spill_format.storage.windows import ReadAt


class RemoteStorage:
    """See ``Storage``.

    Args:
        filesystem: a ``pyarrow.fs.FileSystem`` or an fsspec file system; None takes each path for a URL that fsspec
            knows, as ``https://…`` or ``s3://…``.

    As thread-safe as the file system.
    """

    abilities: Abilities = Abilities()

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


class RemoteFile(Closing):
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
