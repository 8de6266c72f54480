"""Where a stream goes as it arrives: into memory, into a file, or on to another process.

A sink knows how much it has, so that a broken download goes on from there. It does not know of retries.
"""

from __future__ import annotations

import mmap
import os
from typing import IO, Protocol

import pyarrow as pa

from shuffle.client.exchange import Answer
from spill_format.checksum import crc32c
from spill_format.errors import SpillError, TruncatedError
from spill_format.framing import END_OF_STREAM, PREFIX_LENGTH, metadata_length_of
from spill_format.stream import check_crc32c, check_ranges, ranges_within

_PIECE_BYTES = 1 << 20
_SHIFT = 8  # in a file magic precedes what a stream begins with: bodies are aligned there, and with this also here


class Sink(Protocol):
    """What takes one stream."""

    received: int
    """Bytes that it has."""
    can_restart: bool
    """Whether what it has can be replaced."""

    def begin(self, byte_count: int) -> None:
        """Begin anew, with a stream of so many bytes."""
        ...

    def receive(self, answer: Answer, end: int) -> None:
        """Take bytes up to ``end``, or to where the connection breaks off."""
        ...

    def finish(self, recorded_crc32c: int, url: str) -> None:
        """Check the whole.

        Raises:
            SpillError: it is not what was sent.
        """
        ...


class MemorySink:
    """Into one buffer of Arrow's."""

    can_restart = True

    def __init__(self) -> None:
        self.received = 0
        self._buffer = pa.py_buffer(b"")
        self._view = memoryview(b"")

    @property
    def stream(self) -> memoryview:
        """What has arrived."""
        return self._view

    def begin(self, byte_count: int) -> None:
        """See ``Sink``."""
        self.received = 0
        self._buffer = pa.allocate_buffer(byte_count + _SHIFT)
        self._view = memoryview(self._buffer).cast("B")[_SHIFT:]

    def receive(self, answer: Answer, end: int) -> None:
        """See ``Sink``."""
        while self.received < end and (count := answer.read_into(self._view[self.received : end])):
            self.received += count

    def finish(self, recorded_crc32c: int, url: str) -> None:
        """See ``Sink``."""
        check_ranges(ranges_within(self._view, url), recorded_crc32c, url)


class FileSink:
    """Into a file, spliced inside the kernel unless TLS has to decrypt; its checksum is computed from the file.

    Args:
        descriptor: open for reading and writing, its content replaced.
    """

    can_restart = True

    def __init__(self, descriptor: int) -> None:
        self.received = 0
        self.spliced = 0
        """Bytes that never were in this process."""
        self._descriptor = descriptor

    def begin(self, byte_count: int) -> None:
        """See ``Sink``."""
        self.received = 0
        os.ftruncate(self._descriptor, 0)
        del byte_count

    def receive(self, answer: Answer, end: int) -> None:
        """See ``Sink``."""
        if answer.connection.is_plain and hasattr(os, "splice"):
            self._write(answer.arrived(end - self.received))  # along with the head
            self._splice(answer, end)
            return
        while self.received < end and (piece := answer.read(min(end - self.received, _PIECE_BYTES))):
            self._write(piece)

    def finish(self, recorded_crc32c: int, url: str) -> None:
        """See ``Sink``."""
        # Unmapped with the last reference: what an error's traceback refers to cannot be closed before.
        content = mmap.mmap(self._descriptor, self.received, access=mmap.ACCESS_READ)
        check_ranges(ranges_within(memoryview(content), url), recorded_crc32c, url)

    def _write(self, piece: bytes) -> None:
        written = 0
        while written < len(piece):
            written += os.pwrite(self._descriptor, piece[written:], self.received + written)
        self.received += len(piece)

    def _splice(self, answer: Answer, end: int) -> None:
        output, input_ = os.pipe2(os.O_CLOEXEC)
        connection = answer.connection
        try:
            while self.received < end:
                try:
                    count = os.splice(connection.socket.fileno(), input_, min(end - self.received, _PIECE_BYTES))
                except BlockingIOError:
                    raise TimeoutError(f"nothing arrived for {connection.timeout_seconds:g} s") from None
                if count == 0:
                    return
                answer.taken(count)
                while count:
                    moved = os.splice(output, self._descriptor, count, offset_dst=self.received)
                    count -= moved
                    self.received += moved
                    self.spliced += moved
        finally:
            os.close(output)
            os.close(input_)


class PipeSink:
    """On to another process, as it arrives. The end-of-stream marker goes out when the checksum was found right, so
    that nobody takes a damaged stream for a whole one.

    Args:
        pipe: what the bytes are written to.
    """

    can_restart = False

    def __init__(self, pipe: IO[bytes]) -> None:
        self.received = 0
        self._pipe = pipe
        self._byte_count: int | None = None
        self._prefix = b""
        self._ranges_start = 0
        self._crc32c = 0
        self._tail = b""

    def begin(self, byte_count: int) -> None:
        """See ``Sink``.

        Raises:
            SpillError: some bytes are out already, and cannot be called back.
        """
        if self.received:
            raise SpillError(
                "the file was replaced on the server while it was being passed on",
                advice="begin anew: what went out is no whole stream",
            )
        self._byte_count = byte_count

    def receive(self, answer: Answer, end: int) -> None:
        """See ``Sink``."""
        while self.received < end and (piece := answer.read(min(end - self.received, _PIECE_BYTES))):
            self._take(piece, end)

    def finish(self, recorded_crc32c: int, url: str) -> None:
        """See ``Sink``."""
        if self._tail != END_OF_STREAM or not self._ranges_start:
            raise TruncatedError("the stream has no end-of-stream marker", path=url)
        check_crc32c(self._crc32c, recorded_crc32c, self.received - self._ranges_start - len(END_OF_STREAM), url)
        self._pipe.write(self._tail)
        self._pipe.flush()

    def _take(self, piece: bytes, end: int) -> None:
        position = self.received
        self.received += len(piece)
        if len(self._prefix) < PREFIX_LENGTH:
            self._prefix += piece[: PREFIX_LENGTH - len(self._prefix)]
            if len(self._prefix) == PREFIX_LENGTH:
                self._ranges_start = _metadata_length(self._prefix)
        ranges_end = end - len(END_OF_STREAM)
        passed_on = memoryview(piece)[: max(0, ranges_end - position)]
        self._crc32c = crc32c(passed_on[max(0, self._ranges_start - position) :], self._crc32c)
        self._tail += piece[len(passed_on) :]
        self._pipe.write(passed_on)


def _metadata_length(prefix: bytes) -> int:
    try:
        return metadata_length_of(prefix)
    except ValueError:
        return 0  # said when it is finished
