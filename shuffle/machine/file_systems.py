"""What is known of the file systems under sources and target: kind, block size, dirty pages, free space.

Two of these need system calls that Python does not have; where they are missing the answer is that nothing is known.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

_SHARES_BLOCKS = {
    # Types as statfs(2) gives them. ext4 and tmpfs are absent: they cannot share blocks between files.
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0xCA451A4E: "bcachefs",
    0x7461636F: "ocfs2",
    0x2FC12FC1: "zfs",
}
_REMOTE = {
    0x6969: "nfs",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x00C36400: "ceph",
    0x65735546: "fuse",
    0x0BD00BD0: "lustre",
    0x01021997: "9p",
}
_OTHER = {0xEF53: "ext4", 0x01021994: "tmpfs", 0x794C7630: "overlay", 0xF2F52010: "f2fs", 0x4D44: "vfat"}
_CACHESTAT = 451  # since Linux 6.5, the same number on every architecture


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system, as far as copying is concerned.

    Attributes:
        name: its kind, or its type in hexadecimal digits.
        device: number of the device; blocks are shared within one only.
        block_bytes: what offsets and lengths of shared blocks are multiples of.
        shares_blocks: whether this kind can share blocks between files. An XFS made without reflink still says no when
            asked to.
        remote: whether a server holds the files, and can copy them without sending them here.
    """

    name: str
    device: int
    block_bytes: int
    shares_blocks: bool
    remote: bool


def file_system_of(descriptor: int) -> FileSystem:
    """The file system that an open file lies on."""
    kind = _type_of(descriptor)
    names = {**_SHARES_BLOCKS, **_REMOTE, **_OTHER}
    return FileSystem(
        name=names.get(kind, f"{kind:#x}"),
        device=os.fstat(descriptor).st_dev,
        block_bytes=os.fstatvfs(descriptor).f_frsize,
        shares_blocks=kind in _SHARES_BLOCKS,
        remote=kind in _REMOTE,
    )


def free_bytes(descriptor: int) -> int:
    """What may still be written to the file system of an open file, as ``df`` shows it: without root's reserve."""
    status = os.fstatvfs(descriptor)
    return status.f_bavail * status.f_frsize


def dirty_bytes(descriptors: Iterable[int]) -> int | None:
    """Bytes of open files that were written and are not yet on the disk; None where the kernel does not tell."""
    total = 0
    for descriptor in descriptors:
        if (dirty := _dirty_pages(descriptor)) is None:
            return None
        total += dirty * os.sysconf("SC_PAGE_SIZE")
    return total


class _CacheRange(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))  # a length of 0 means to the end


class _CacheStatistics(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted")
    )


def _dirty_pages(descriptor: int) -> int | None:
    statistics = _CacheStatistics()
    whole = _CacheRange(0, 0)
    library = _library()
    if library is None or library.syscall(
        ctypes.c_long(_CACHESTAT), descriptor, ctypes.byref(whole), ctypes.byref(statistics), 0
    ):
        return None
    return int(statistics.dirty + statistics.writeback)


def _type_of(descriptor: int) -> int:
    """``f_type`` of statfs(2), its first word; 0 where it cannot be asked for."""
    words = (ctypes.c_long * 32)()
    library = _library()
    if library is None or library.fstatfs(descriptor, ctypes.byref(words)) != 0:
        return 0
    return int(words[0]) & 0xFFFFFFFF


@cache
def _library() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
