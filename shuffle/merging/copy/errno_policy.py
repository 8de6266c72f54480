"""What an errno from copy_file_range or sendfile means: one table. Pure.

Every errno here was seen from a kernel on which reading and writing the same bytes works. Whatever is not in the table
is final: a full disk or a quota is no better with another method.
"""
# PURE

from __future__ import annotations

import errno
from typing import NamedTuple


class FallBack(NamedTuple):
    """Another method may copy what this one refused: why, and where it was seen."""

    why: str
    seen: str


FALL_BACK: dict[int, FallBack] = {
    errno.ENOSYS: FallBack("the kernel does not have this call", "copy_file_range before Linux 4.5"),
    errno.EPERM: FallBack("a sandbox forbids this call", "seccomp filters that mean ENOSYS: golang/go #40893"),
    errno.EXDEV: FallBack(
        "the two files are on different file systems", "before Linux 5.3, and from 5.19 between types"
    ),
    errno.EINVAL: FallBack(
        "the file system does not support this call", "sendfile to an append-mode target; zig #25737"
    ),
    errno.EBADF: FallBack("the target is open for appending", "copy_file_range: rust-lang/rust #82410"),
    errno.EOPNOTSUPP: FallBack("the file system does not support this call", "NFS on RHEL 7: golang/go #40731"),
    errno.EIO: FallBack("the network file system failed to copy by itself", "CIFS on RHEL 7: golang/go #42334"),
    errno.ENOTTY: FallBack("the file system does not know this call", "coreutils"),
    errno.ETXTBSY: FallBack("one of the files is in use as a swap file or program", "coreutils"),
    errno.EACCES: FallBack("the server wants a source open for writing", "CIFS, CephFS: libuv #3123"),
    errno.ENOENT: FallBack("the server wants a source open for writing", "fuse-overlayfs: libuv #3322"),
    errno.EOVERFLOW: FallBack("the range is too large for this call", "rust-lang/rust kernel_copy"),
}


def fall_back(error: OSError) -> FallBack | None:
    """Why another method may succeed where ``error`` was raised, or None where none would."""
    return FALL_BACK.get(error.errno or 0)
