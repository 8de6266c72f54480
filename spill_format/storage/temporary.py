"""Temporary names, ``.{name}.{16 hexadecimal digits}.tmp``, and the locks that tell which of them are in use."""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path


def temporary_path(directory: Path, name: str) -> Path:
    """Return a new name in a directory for what will have ``name``."""
    return directory / f"{_temporary_prefix(name)}{os.urandom(8).hex()}.tmp"


def _temporary_prefix(name: str) -> str:
    # A target's name may take all 255 bytes that a name can have. Names that are alike so far share their debris, and
    # the lock tells whose is in use.
    return "." + os.fsencode(name)[:200].decode(errors="ignore") + "."


def sweep(directory: Path, name: str) -> None:
    """Remove what dead processes left in a directory of what would have had ``name``.

    Raises:
        OSError: the directory is missing, or is none; it names the directory.
    """
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
    descriptor = os.open(leftover, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(leftover)
    finally:
        os.close(descriptor)


def lock(descriptor: int) -> None:
    """Lock an open file, which tells every sweep that its name is in use; closing it, or death, gives the lock up."""
    # Where the file system has no locks a sweep gets none either, and so removes nothing.
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
