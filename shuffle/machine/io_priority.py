"""The input and output priority of the threads of this process, where the kernel has one."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SET_AND_GET = {"x86_64": (251, 252), "aarch64": (30, 31), "riscv64": (30, 31)}  # numbers of the system calls
_THREAD = 1  # IOPRIO_WHO_PROCESS: with 0, the calling thread
_CLASS_SHIFT = 13
_PRIORITIES = {"low": 2 << _CLASS_SHIFT | 7, "idle": 3 << _CLASS_SHIFT}  # best effort, its last level; idle


@contextmanager
def io_priority(priority: str | None) -> Iterator[bool]:
    """Let this thread and its child threads give way to others at the disk; yield whether the kernel agreed.

    Args:
        priority: ``"low"``, ``"idle"``, or None for no change.
    """
    numbers = _SET_AND_GET.get(platform.machine()) if sys.platform == "linux" else None
    if priority is None or numbers is None:
        yield priority is None
        return
    call = ctypes.CDLL(None, use_errno=True).syscall
    set_number, get_number = map(ctypes.c_long, numbers)
    before = call(get_number, _THREAD, 0)
    taken = call(set_number, _THREAD, 0, _PRIORITIES[priority]) == 0
    try:
        yield taken
    finally:
        call(set_number, _THREAD, 0, max(before, 0))
