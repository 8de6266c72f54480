"""The earlier name of a file that is read from an object store or a remote file system."""

from __future__ import annotations

from typing import Any

from .reader import SpillFile
from .storage.remote import RemoteStorage


class RemoteSpillFile(SpillFile):
    """``SpillFile(path, storage=RemoteStorage(filesystem))``. Tables own their bytes.

    Args:
        path: as the file system names it; without a file system a URL that fsspec knows, as ``https://…`` or ``s3://…``.
        filesystem: a ``pyarrow.fs.FileSystem`` or an fsspec file system.
    """

    def __init__(self, path: str, filesystem: Any = None) -> None:
        super().__init__(path, storage=RemoteStorage(filesystem))
