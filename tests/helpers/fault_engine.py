"""A fault engine: runs a command again and again in a forked process, and lets one of its system calls fail each time.

The process has a seccomp filter that asks this one about each file-related call (seccomp_unotify(2)), which answers for
the kernel, or lets the call go on. Only calls that concern the scenario's directory count. No ptrace, so a fault takes
milliseconds. Linux on x86-64.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import select
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SECONDS = 20.0
"""After so long a command hangs."""

_PATHS = {
    "open": 2,
    "stat": 4,
    "lstat": 6,
    "access": 21,
    "truncate": 76,
    "rename": 82,
    "mkdir": 83,
    "rmdir": 84,
    "link": 86,
    "unlink": 87,
    "readlink": 89,
    "chmod": 90,
    "statfs": 137,
}
_PATHS_AT = {
    "openat": 257,
    "mkdirat": 258,
    "newfstatat": 262,
    "unlinkat": 263,
    "renameat": 264,
    "linkat": 265,
    "readlinkat": 267,
    "fchmodat": 268,
    "faccessat": 269,
    "renameat2": 316,
    "statx": 332,
}
_DESCRIPTORS = {
    "read": 0,
    "write": 1,
    "close": 3,
    "fstat": 5,
    "lseek": 8,
    "ioctl": 16,
    "pread64": 17,
    "pwrite64": 18,
    "readv": 19,
    "writev": 20,
    "sendfile": 40,
    "flock": 73,
    "fsync": 74,
    "fdatasync": 75,
    "ftruncate": 77,
    "fchmod": 91,
    "fstatfs": 138,
    "getdents64": 217,
    "fadvise64": 221,
    "sync_file_range": 277,
    "fallocate": 285,
    "preadv": 295,
    "pwritev": 296,
    "copy_file_range": 326,
    "preadv2": 327,
    "pwritev2": 328,
    "mmap": 9,
}
_TWO_PATHS = ("rename", "link", "renameat", "linkat", "renameat2")
_NUMBERS = _PATHS | _PATHS_AT | _DESCRIPTORS
_NAMES = {number: name for name, number in _NUMBERS.items()}
_COUNT_ARGUMENT = {"write": 2, "pwrite64": 2, "sendfile": 3, "copy_file_range": 4, "read": 2, "pread64": 2}

_OPENING = (errno.EACCES, errno.EMFILE, errno.ENOSPC, errno.EIO, errno.EROFS, errno.ENOENT, errno.EOPNOTSUPP)
_LOOKING = (errno.EACCES, errno.EIO, errno.ENOENT, errno.ESTALE)
_NAMING = (errno.EACCES, errno.EEXIST, errno.ENOSPC, errno.EIO, errno.EXDEV, errno.EPERM, errno.ENOENT)
_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EINTR)
_COPYING = (
    errno.EINVAL,
    errno.ENOSYS,
    errno.EXDEV,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.EIO,
    errno.ENOSPC,
    errno.ENOMEM,
)
ERRNOS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("open", "openat"), _OPENING),
    **dict.fromkeys(
        ("stat", "lstat", "newfstatat", "statx", "access", "faccessat", "readlink", "readlinkat"), _LOOKING
    ),
    **dict.fromkeys(("link", "linkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat"), _NAMING),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), (errno.EACCES, errno.EBUSY, errno.EIO, errno.ENOENT)),
    **dict.fromkeys(("write", "pwrite64", "writev", "pwritev"), _WRITING),
    **dict.fromkeys(("read", "pread64", "readv", "preadv"), (errno.EIO, errno.EINTR, errno.ESTALE)),
    **dict.fromkeys(("sendfile", "copy_file_range"), _COPYING),
    **dict.fromkeys(("fsync", "fdatasync", "close"), (errno.EIO, errno.ENOSPC, errno.EINTR)),
    **dict.fromkeys(("statfs", "fstatfs"), (errno.EIO, errno.ENOSYS, errno.EACCES)),
    "fstat": (errno.EIO, errno.EOVERFLOW),
    "ioctl": (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.EIO, errno.ENOSPC, errno.ENOTTY),
    "fallocate": (errno.EOPNOTSUPP, errno.ENOSPC, errno.EFBIG, errno.EIO),
    "ftruncate": (errno.EFBIG, errno.EIO, errno.ENOSPC),
    "getdents64": (errno.EIO, errno.ENOENT),
    "lseek": (errno.EINVAL, errno.EIO),
    "mmap": (errno.ENOMEM, errno.EACCES, errno.ENODEV),
    "fadvise64": (errno.EINVAL,),
    "sync_file_range": (errno.EIO, errno.ESPIPE),
    "flock": (errno.EWOULDBLOCK, errno.ENOLCK),
    **dict.fromkeys(("chmod", "fchmod", "fchmodat"), (errno.EPERM, errno.EROFS)),
    "truncate": (errno.EIO,),
}
"""What each call may answer, from its manual page: one errno a way of being treated."""


class Fault(NamedTuple):
    """What happens at one call: an errno, a count (``zero``, ``short``, ``more`` than was asked for), or a signal."""

    call: int
    kind: str
    value: int = 0

    def __str__(self) -> str:
        if self.kind == "signal":
            return signal.Signals(self.value).name
        return errno.errorcode[self.value] if self.kind == "errno" else self.kind


@dataclass
class Outcome:
    """How a command ended that met a fault."""

    fault: Fault | None
    exit_code: int
    stderr: str
    calls: list[str] = field(default_factory=list)


def why_not_here() -> str | None:
    """Why the engine cannot run here, or None."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        return "needs Linux on x86-64"
    return None


class Engine:
    """Runs a function in forked processes, in a directory whose calls count."""

    def __init__(self, run: Callable[[], int], directory: Path) -> None:
        self._run = run
        self._directory = str(directory)
        self._libc = ctypes.CDLL(None, use_errno=True)

    def outcome(self, fault: Fault | None) -> Outcome:
        """Run with one fault, or none."""
        shared = mmap.mmap(-1, 4096)
        with open(os.memfd_create("stderr"), "r+b") as stderr:
            process = os.fork()
            if process == 0:
                self._be_the_command(shared, stderr.fileno())
            watched = _Watched(self._libc, process, shared, self._directory, fault)
            code = watched.supervise()
            stderr.seek(0)
            return Outcome(fault, code, stderr.read().decode(errors="replace"), watched.calls)

    def _be_the_command(self, shared: mmap.mmap, stderr: int) -> None:
        code = 99
        try:
            os.dup2(stderr, 2)
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            os.chdir(self._directory)
            struct.pack_into("i", shared, 0, self._filter())
            code = self._run()
        finally:
            os._exit(code)

    def _filter(self) -> int:
        """Install the filter; its descriptor."""
        numbers = sorted(_NUMBERS.values())
        asked = [struct.pack("HBBI", 0x15, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
        allow, ask = struct.pack("HBBI", 6, 0, 0, 0x7FFF0000), struct.pack("HBBI", 6, 0, 0, 0x7FC00000)
        program = struct.pack("HBBI", 0x20, 0, 0, 0) + b"".join(asked) + allow + ask
        code = ctypes.create_string_buffer(program)
        header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
        self._libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        descriptor: int = self._libc.syscall(317, 1, 8, header)  # seccomp, SECCOMP_FILTER_FLAG_NEW_LISTENER
        return descriptor if descriptor > 0 else -ctypes.get_errno()


class _Watched:
    """A process whose calls are asked about."""

    def __init__(self, libc: ctypes.CDLL, process: int, shared: mmap.mmap, directory: str, fault: Fault | None) -> None:
        self._libc, self._process, self._directory, self._fault = libc, process, directory, fault
        self._pidfd = os.pidfd_open(process)
        self.calls: list[str] = []
        deadline = time.monotonic() + SECONDS
        while (descriptor := struct.unpack_from("i", shared, 0)[0]) == 0 and time.monotonic() < deadline:
            time.sleep(0.0002)
        if descriptor <= 0:
            raise OSError(-descriptor, "no seccomp filter")
        self._listener = libc.syscall(438, self._pidfd, descriptor, 0)  # pidfd_getfd
        self._memory = os.open(f"/proc/{process}/mem", os.O_RDWR)

    def supervise(self) -> int:
        """Answer until the process ends; its exit code, or minus a signal's number."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._pidfd, select.POLLIN)
        deadline = time.monotonic() + SECONDS
        while True:
            ready = dict(poll.poll(1000))
            if ready.get(self._listener, 0) & select.POLLIN:
                with suppress(FileNotFoundError):  # the process was killed meanwhile
                    self._answer()
            elif self._pidfd in ready:
                break
            elif self._listener in ready:  # hung up: no call comes any more, but freeing memory takes a while
                poll.unregister(self._listener)
            if time.monotonic() > deadline:
                os.kill(self._process, signal.SIGKILL)
                self.calls.append("hangs")
                deadline += SECONDS
        _, status = os.waitpid(self._process, 0)
        for descriptor in (self._listener, self._pidfd, self._memory):
            os.close(descriptor)
        return os.waitstatus_to_exitcode(status)

    def _answer(self) -> None:
        request = bytearray(80)
        fcntl.ioctl(self._listener, 0xC0502100, request)  # SECCOMP_IOCTL_NOTIF_RECV
        (identity,) = struct.unpack_from("Q", request, 0)
        (number,) = struct.unpack_from("i", request, 16)
        arguments = struct.unpack_from("6Q", request, 32)
        name = _NAMES[number]
        answer: int | None = None
        if self._concerns(name, arguments):
            self.calls.append(name)
            if self._fault is not None and self._fault.call == len(self.calls) - 1:
                answer = self._faulty(name, arguments, self._fault)
        result, error, flags = (0, 0, 1) if answer is None else (max(answer, 0), min(answer, 0), 0)
        reply = bytearray(struct.pack("QqiI", identity, result, error, flags))
        fcntl.ioctl(self._listener, 0xC0182101, reply)  # SECCOMP_IOCTL_NOTIF_SEND

    def _concerns(self, name: str, arguments: tuple[int, ...]) -> bool:
        if name in _DESCRIPTORS:
            descriptors = {"mmap": arguments[4:5], "sendfile": arguments[:2], "copy_file_range": arguments[:3:2]}
            return any(self._is_inside(self._path_of(fd)) for fd in descriptors.get(name, arguments[:1]))
        at = name in _PATHS_AT
        places = [(arguments[0], arguments[1])] if at else [(-100, arguments[0])]
        if name in _TWO_PATHS:
            places.append((arguments[2], arguments[3]) if at else (-100, arguments[1]))
        for directory, pointer in places:
            path = self._text(pointer) if pointer else ""
            if not path.startswith("/"):
                beside = self._path_of(directory) if directory & 0x80000000 == 0 else self._directory
                path = os.path.join(beside, path) if path else beside
            if self._is_inside(path):
                return True
        return False

    def _is_inside(self, path: str) -> bool:
        return path.startswith(self._directory)

    def _path_of(self, descriptor: int) -> str:
        with suppress(OSError):
            return os.readlink(f"/proc/{self._process}/fd/{ctypes.c_int(descriptor).value}")
        return ""

    def _text(self, address: int) -> str:
        with suppress(OSError):
            # Not past the page: what follows may not be there.
            content = os.pread(self._memory, 4096 - address % 4096, address)
            if b"\0" not in content:
                content += os.pread(self._memory, 4096, address + len(content))
            return os.fsdecode(content.split(b"\0")[0])
        return ""

    def _faulty(self, name: str, arguments: tuple[int, ...], fault: Fault) -> int | None:
        if fault.kind == "errno":
            return -fault.value
        if fault.kind == "signal":
            os.kill(self._process, fault.value)
            return None
        count = arguments[_COUNT_ARGUMENT[name]]
        if fault.kind == "short":
            return self._do_half(name, arguments, count)
        return {"zero": 0, "more": count + 8}[fault.kind]

    def _do_half(self, name: str, arguments: tuple[int, ...], count: int) -> int | None:
        """Do half of what a call asks for; only calls whose offset is an argument, or a file's own position."""
        half = count // 2
        if half == 0 or name not in ("pwrite64", "write", "pread64", "sendfile"):
            return None
        target = self._libc.syscall(438, self._pidfd, ctypes.c_int(arguments[0]).value, 0)
        try:
            if name == "sendfile":
                return self._send_half(target, arguments, half)
            if name == "pread64":
                return os.pwrite(self._memory, os.pread(target, half, arguments[3]), arguments[1])
            content = os.pread(self._memory, half, arguments[1])
            return os.write(target, content) if name == "write" else os.pwrite(target, content, arguments[3])
        finally:
            os.close(target)

    def _send_half(self, target: int, arguments: tuple[int, ...], half: int) -> int:
        source = self._libc.syscall(438, self._pidfd, ctypes.c_int(arguments[1]).value, 0)
        (offset,) = struct.unpack("q", os.pread(self._memory, 8, arguments[2])) if arguments[2] else (None,)
        moved = os.sendfile(target, source, offset, half)
        if offset is not None:
            os.pwrite(self._memory, struct.pack("q", offset + moved), arguments[2])
        os.close(source)
        return moved


def faults_of(calls: list[str]) -> Iterator[Fault]:
    """Every fault of every call: its errnos, counts that are short or lies, and signals."""
    for number, name in enumerate(calls):
        for value in ERRNOS.get(name, ()):
            yield Fault(number, "errno", value)
        if name in _COUNT_ARGUMENT:
            yield Fault(number, "zero")
            yield Fault(number, "short")
        if name in ("write", "pwrite64", "sendfile", "copy_file_range"):
            yield Fault(number, "more")
        for value in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            yield Fault(number, "signal", value)
