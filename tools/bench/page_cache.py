"""New files of one hot buffer: the bound of all writing, and memory that is touched before something is measured."""

from __future__ import annotations

import os
from pathlib import Path

_BUFFER = os.urandom(1 << 20)


def write_new_file(path: Path, byte_count: int) -> None:
    """Write one buffer again and again, from the processor's cache into a file that must not be there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        written = 0
        while written < byte_count:
            written += os.pwrite(descriptor, _BUFFER[: byte_count - written], written)
    finally:
        os.close(descriptor)


def touch_free_memory(directory: Path, byte_count: int) -> None:
    """Write a file and delete it: its memory is what the next file is given.

    A virtual machine's host may take back memory that is free for a second or two. Whoever touches it first waits for
    it: a new file then took 1.7 s a GiB, where 0.21 s are usual, by luck of who came after whom.
    """
    path = directory / "touched"
    try:
        write_new_file(path, byte_count)
    finally:
        path.unlink(missing_ok=True)
