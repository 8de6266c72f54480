"""What is fuzzed: each target takes bytes as a stranger could send them, and does with them what users do.

A documented error is an answer. Anything else is a finding: another exception, a crash, a call that does not end,
memory without bounds, and a broken promise, as a file that verifies and cannot be merged.
"""

from __future__ import annotations

import functools
import io
import re
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from shuffle import PartitionClient, inspect, merge, repair, verify
from shuffle.merging.push_merge import merge_pushed
from shuffle.wire import CHECKSUM_HEADER
from spill_format import SpillError, SpillFile
from spill_format.checksum import crc32c
from spill_format.messages import END_OF_STREAM, metadata_length_of

DOCUMENTED = (SpillError, ValueError, OSError)
"""The errors that bytes may lead to."""

MEMORY_BYTES = 500 << 20
"""What one input may take."""

_SECTIONS = struct.Struct(">HH")


class ExcessiveMemoryError(Exception):
    """An input of a few bytes made the process grow by more than ``MEMORY_BYTES``."""


def answered(stream: bytes) -> bytes:
    """A stream as a server sends it, with a length and a checksum that fit."""
    start = 0
    with suppress(ValueError):
        start = metadata_length_of(stream)
    checksum = crc32c(stream[start : max(start, len(stream) - len(END_OF_STREAM))])
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(stream)}\r\n{CHECKSUM_HEADER}: {checksum:08x}\r\n\r\n"
    return head.encode() + stream


def run(name: str, data: bytes) -> None:
    """Run a target; raise what is a finding."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, at what is used now
    before = _peak_bytes()
    with TemporaryDirectory() as directory:
        TARGETS[name](data, Path(directory))
    grown_bytes = _peak_bytes() - before
    if grown_bytes > MEMORY_BYTES:
        raise ExcessiveMemoryError(f"{name}: {grown_bytes} bytes of memory for an input of {len(data)}")


def _read(data: bytes, directory: Path) -> None:
    path = _written(directory / "a.spill.arrow", data)
    with suppress(*DOCUMENTED):
        inspect(path).as_dict()
    with suppress(*DOCUMENTED), SpillFile(path, check="values") as spill:
        spill.read(0, spill.partition_count)
    with suppress(*DOCUMENTED), SpillFile(path, mapped=False) as spill:
        for part in spill.slices(0, 2):
            spill.read_slice(part)
        spill.verify()


def _merge(data: bytes, directory: Path) -> None:
    path = _written(directory / "a.spill.arrow", data)
    is_sound = verify(path, threads=1).is_sound
    for compact in (False, True):
        target = directory / f"merged-{compact}.arrow"
        try:
            merge([path, path], target, compact=compact)
        except DOCUMENTED:
            assert not is_sound, "a file that verifies is merged"
        else:
            assert not is_sound or verify(target, threads=1).is_sound, "a merge of sound files is sound"


def _repair(data: bytes, directory: Path) -> None:
    path, target = _written(directory / "a.spill.arrow", data), directory / "repaired.spill.arrow"
    with suppress(*DOCUMENTED):
        repair(path, target)
        assert verify(target, threads=1).is_sound, "a repaired file is sound"


def _spark(data: bytes, directory: Path) -> None:
    index, checksums, content = _sections(data)
    path = _written(directory / "shuffle_0_1_0.data", content)
    _written(path.with_suffix(".index"), index)
    _written(path.with_suffix(".checksum.ADLER32"), checksums)
    with suppress(*DOCUMENTED):
        inspect(path).as_dict()
    is_sound = verify(path, threads=1).is_sound
    target = directory / "shuffle_0_2_0.data"
    try:
        merge([path, path], target)
    except DOCUMENTED:
        assert not is_sound, "an output that verifies is merged"
    else:
        assert not is_sound or verify(target, threads=1).is_sound, "a merge of sound outputs is sound"
    with suppress(*DOCUMENTED):
        merge_pushed([path], directory, application="a")


def _pushed(data: bytes, directory: Path) -> None:
    index, meta, content = _sections(data)
    path = _written(directory / "shuffleMerged_a_0_0_1.data", content)
    _written(path.with_suffix(".index"), index)
    _written(path.with_suffix(".meta"), meta)
    (directory / "repaired").mkdir()
    target = directory / "repaired" / path.name
    with suppress(*DOCUMENTED):
        inspect(path).as_dict()
    verify(path, threads=1)
    with suppress(*DOCUMENTED):
        repair(path, target)
        assert verify(target, threads=1).is_sound, "a repaired partition is sound"


def _stream(data: bytes, directory: Path) -> None:
    _answer(answered(data), directory)


def _answer(data: bytes, directory: Path) -> None:
    """All that a server sends."""
    server = _Server.only()
    server.answer = data
    with PartitionClient(attempts=1, timeout_seconds=1, deadline_seconds=2) as client:
        for act in (
            lambda: client.read(server.url, 0),
            lambda: client.save(server.url, 0, None, directory / "saved.arrows"),
            lambda: client.pipe(server.url, 0, None, io.BytesIO()),
        ):
            with suppress(*DOCUMENTED, MemoryError):  # a length that does not fit into memory
                act()


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "read": _read,
    "merge": _merge,
    "repair": _repair,
    "spark": _spark,
    "pushed": _pushed,
    "stream": _stream,
    "answer": _answer,
}


CORPUS = Path(__file__).parent / "corpus"


def corpus_of(name: str) -> Path:
    """Where a target's inputs are; targets that take the same kind of bytes share theirs."""
    return CORPUS / ("file" if name in {"read", "merge", "repair"} else name)


class _Server:
    """Gives every client the same bytes, whatever it asks for, and hangs up."""

    def __init__(self) -> None:
        self.answer = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/a.arrow"
        threading.Thread(target=self._run, daemon=True).start()

    @classmethod
    @functools.cache
    def only(cls) -> _Server:
        """The one of this process."""
        return cls()

    def _run(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with suppress(OSError), connection:
                request = b""
                while not request.endswith(b"\r\n\r\n") and (piece := connection.recv(1 << 16)):
                    request += piece
                connection.sendall(self.answer)
                # Reset once all was sent: thousands of connections that linger would use up the ports.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _peak_bytes() -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _sections(data: bytes) -> tuple[bytes, bytes, bytes]:
    first, second = _SECTIONS.unpack_from(data.ljust(_SECTIONS.size, b"\0"))
    middle = _SECTIONS.size + first
    return data[_SECTIONS.size : middle], data[middle : middle + second], data[middle + second :]
