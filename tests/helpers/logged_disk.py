"""A disk that keeps a log of what is written to it: a file in memory, served to the kernel by FUSE.

A loop device over the file makes each write of a file system, and each flush, a request to this module. Run as a
module: ``python -m tests.helpers.logged_disk IMAGE LOG FILE`` serves the bytes of IMAGE as FILE until it is unmounted.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

GETATTR, OPEN, READ, WRITE, RELEASE, FSYNC, FLUSH, INIT = 3, 14, 15, 16, 18, 20, 25, 26
UNANSWERED = {2, 42}
"""What forgets an inode: the kernel waits for no answer."""
REQUEST = struct.Struct("<IIQQIIII")
"""Length, opcode, number, inode, and who asks."""
ANSWER = struct.Struct("<IiQ")
TRANSFER = struct.Struct("<QQI")
"""Of a read and of a write: file, offset, length."""
DATA_START = REQUEST.size + 40
LARGEST_WRITE = 128 << 10
REGULAR_FILE = 0o100600
ANSWERS = {
    INIT: struct.pack("<4I2H2I2H8I", 7, 31, 0, 1 << 5, 16, 12, LARGEST_WRITE, 1, 0, 0, *[0] * 8),
    OPEN: bytes(16),
    RELEASE: b"",
    FLUSH: b"",
}
"""What is always answered alike: protocol 7.31, with writes larger than a page."""
RECORD = struct.Struct("<QQ")
"""Of the log: offset and length, in front of a write's bytes; a length of 0 is a flush."""


class Write(NamedTuple):
    """Bytes that the file system wrote."""

    offset: int
    content: bytes


class Log(NamedTuple):
    """What the file system asked of its disk, in order: writes, and None for a flush."""

    requests: list[Write | None]
    begun: int
    """So many requests had been answered when the command began."""
    ended: int
    """So many when it had ended."""


def read_log(path: Path, size_begun: int, size_ended: int) -> Log:
    """Read a log that had these sizes when the command began and ended."""
    requests: list[Write | None] = []
    ends: list[int] = []
    with path.open("rb") as file:
        while header := file.read(RECORD.size):
            offset, length = RECORD.unpack(header)
            requests.append(Write(offset, file.read(length)) if length else None)
            ends.append(file.tell())
    return Log(requests, bisect_right(ends, size_begun), bisect_right(ends, size_ended))


def why_not_here() -> str | None:
    """Why this machine cannot have such a disk, or None."""
    return None if os.access("/dev/fuse", os.R_OK | os.W_OK) else "needs /dev/fuse"


@contextmanager
def logged(image: Path, log: Path) -> Iterator[Path]:
    """Serve the image as a file whose writes and flushes are logged; the image stays as it is."""
    disk = image.with_name("disk")
    disk.touch()
    with subprocess.Popen([sys.executable, "-m", "tests.helpers.logged_disk", image, log, disk]) as server:
        try:
            while not disk.stat().st_size and server.poll() is None:
                time.sleep(0.01)
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", disk], check=True)  # the loop device may keep it for a moment


def serve(image: Path, log: Path, disk: Path) -> None:
    """Answer the kernel until the file is unmounted."""
    content = bytearray(image.read_bytes())
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode={REGULAR_FILE:o},user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"logged_disk", os.fsencode(disk), b"fuse", 0, options):
        raise OSError(ctypes.get_errno(), "FUSE refuses to mount", os.fspath(disk))
    with log.open("wb", buffering=0) as records:
        while True:
            try:
                request = os.read(device, LARGEST_WRITE + 4096)
            except OSError as error:
                if error.errno == errno.ENODEV:  # unmounted
                    return
                raise
            _, opcode, number, *_ = REQUEST.unpack_from(request)
            if opcode in UNANSWERED:
                continue
            answer = _answer(opcode, request, content, records.write)
            code, body = (-errno.ENOSYS, b"") if answer is None else (0, answer)
            os.write(device, ANSWER.pack(ANSWER.size + len(body), code, number) + body)


def _answer(opcode: int, request: bytes, content: bytearray, record: Callable[[bytes], object]) -> bytes | None:
    """Do what is asked, and give the answer's body; None for what this disk does not know."""
    if opcode == GETATTR:
        times = [0] * 6
        return struct.pack(
            "<QII3Q3Q3I7I", 3600, 0, 0, 1, len(content), len(content) >> 9, *times, REGULAR_FILE, 1, 0, 0, 0, 4096, 0
        )
    if opcode == READ:
        _, offset, length = TRANSFER.unpack_from(request, REQUEST.size)
        return bytes(content[offset : offset + length])
    if opcode == WRITE:
        _, offset, length = TRANSFER.unpack_from(request, REQUEST.size)
        data = request[DATA_START:]
        content[offset : offset + length] = data
        record(RECORD.pack(offset, length) + data)
        return struct.pack("<II", length, 0)
    if opcode == FSYNC:
        record(RECORD.pack(0, 0))
        return b""
    return ANSWERS.get(opcode)


if __name__ == "__main__":
    serve(*map(Path, sys.argv[1:]))
