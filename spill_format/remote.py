"""The earlier name of a file that is read from an object store or a remote file system."""

from __future__ import annotations

from typing import Any

from .reader import SpillFile
from .storage.remote import RemoteStorage


def RemoteSpillFile(path: str, filesystem: Any = None) -> SpillFile:  # noqa: N802 (it was a class)
    """Return ``SpillFile(path, storage=RemoteStorage(filesystem))``."""
    return SpillFile(path, storage=RemoteStorage(filesystem))
