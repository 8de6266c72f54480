"""Where a stream goes as it arrives: into memory, into a file, or on to another process.

A sink counts the bytes it has, so that a download that broke off can go on from there. Retries are ``download.py``'s.
"""

from __future__ import annotations

import errno
import io
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol

import pyarrow as pa

from shuffle.client.exchange import Answer, Connection
from shuffle.client.sealed import SealedMessages
from spill_format.checksum import crc32c
from spill_format.errors import SpillError, TruncatedError
from spill_format.messages import (
    END_OF_STREAM,
    PREFIX_LENGTH,
    decompressed_bytes,
    metadata_length_of,
    read_batch_size,
)
from spill_format.stream import check_crc32c, check_ranges, check_values, ranges_within

_PIECE_BYTES = 1 << 20
_CACHED_BYTES = 256 << 10  # what a core's own cache holds
_SHIFT = 8  # as long as the magic before a file's first message, so that bodies are aligned as they are in the file
_NO_SPLICE = frozenset({errno.ENOSYS, errno.EINVAL})  # this system, or this file, has no splice


class SinkError(Exception):
    """A sink could not take bytes. The network is not at fault, and asking the server again would not help.

    Attributes:
        failure: the error of what the sink writes to.
    """

    def __init__(self, failure: OSError) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Sink(Protocol):
    """Takes one stream. ``begin`` and ``receive`` raise ``SinkError`` if the bytes cannot be written."""

    received: int
    """Bytes of the stream that the sink has."""

    def forget(self) -> None:
        """Forget bytes that were found damaged and have not been passed on: they will arrive again."""
        ...

    def begin(self, byte_count: int) -> None:
        """Begin again, with a stream of ``byte_count`` bytes."""
        ...

    def receive(self, answer: Answer, stop: int) -> None:
        """Take bytes up to position ``stop``, or until the connection breaks off; may raise SpillError."""
        ...

    def finish(self, recorded_crc32c: int, url: str) -> None:
        """Check the whole stream.

        Raises:
            SpillError: the stream is not the one that was sent.
        """
        ...


class RangesChecksum:
    """Computes the CRC-32C of a stream's ranges, all bytes between the schema message and the end-of-stream marker.

    Args:
        byte_count: length of the stream.
    """

    def __init__(self, byte_count: int) -> None:
        self.start: int | None = None
        """Position of the first range; None until it is known, and where the stream does not begin with a message."""
        self._stop = byte_count - len(END_OF_STREAM)
        self._position = 0
        self._prefix = b""
        self._crc32c = 0

    def update(self, piece: memoryview) -> None:
        """Take the next bytes."""
        position = self._position
        self._position += len(piece)
        if position < PREFIX_LENGTH:
            self._prefix += piece[: PREFIX_LENGTH - position]
            self.start = _metadata_length(self._prefix)
        if self.start is not None:
            ranges = piece[max(0, self.start - position) : max(0, self._stop - position)]
            self._crc32c = crc32c(ranges, self._crc32c)

    def check(self, recorded_crc32c: int, url: str) -> None:
        """Raise ChecksumError unless the computed checksum is the recorded one."""
        check_crc32c(self._crc32c, recorded_crc32c, self._stop - (self.start or 0), url)


class MemorySink:
    """Keeps a stream in one Arrow buffer; the checksum is computed while the processor's cache still has the bytes."""

    def __init__(self) -> None:
        self.received: int = 0
        self._buffer = pa.py_buffer(b"")
        self._view = memoryview(b"")
        self._checksum = RangesChecksum(0)

    def forget(self) -> None:
        """See ``Sink``."""
        self.received = 0

    @property
    def stream(self) -> memoryview:
        """The bytes that have arrived."""
        return self._view

    def decompressed_bytes(self) -> int:
        """Return the bytes that the rows of a stream that was found right take in memory, as its messages say."""
        position, total = metadata_length_of(self._view), 0
        stop = len(self._view) - len(END_OF_STREAM)
        while position < stop:
            metadata_length = metadata_length_of(self._view[position:stop])
            length = metadata_length + read_batch_size(self._view[position : position + metadata_length]).body_bytes
            total += decompressed_bytes(self._view[position : position + length], metadata_length)
            position += length
        return total

    def begin(self, byte_count: int) -> None:
        """See ``Sink``."""
        self.received = 0
        self._buffer = pa.allocate_buffer(byte_count + _SHIFT)
        self._view = memoryview(self._buffer).cast("B")[_SHIFT:]
        self._checksum = RangesChecksum(byte_count)

    def receive(self, answer: Answer, stop: int) -> None:
        """See ``Sink``."""
        while self.received < stop:
            rest = self._view[self.received : min(stop, self.received + _CACHED_BYTES)]
            count = answer.read_into(rest)
            if not count:
                return
            self._checksum.update(rest[:count])
            self.received += count

    def finish(self, recorded_crc32c: int, url: str) -> None:
        """See ``Sink``."""
        ranges_within(self._view, url)
        self._checksum.check(recorded_crc32c, url)


class FileSink:
    """Writes a stream to a file, inside the kernel (splice) unless TLS decrypts; reads the file again for its checksum.

    Args:
        descriptor: of the file, open for reading and writing; its content is replaced.
        validate: whether values are checked, too.
    """

    def __init__(self, descriptor: int, *, validate: bool = True) -> None:
        self.received: int = 0
        self._descriptor = descriptor
        self._validate = validate

    def forget(self) -> None:
        """See ``Sink``."""
        self.received = 0

    def begin(self, byte_count: int) -> None:
        """See ``Sink``."""
        self.received = 0
        with _own_failures():
            os.ftruncate(self._descriptor, 0)
        del byte_count

    def receive(self, answer: Answer, stop: int) -> None:
        """See ``Sink``."""
        if answer.connection.is_plain and hasattr(os, "splice"):
            self._write(answer.arrived(stop - self.received))  # bytes that arrived with the head
            self._splice(answer, stop)
        while self.received < stop and (piece := answer.read(min(stop - self.received, _PIECE_BYTES))):
            self._write(piece)

    def finish(self, recorded_crc32c: int, url: str) -> None:
        """See ``Sink``."""
        # The map is closed with its last reference, which may be in an error's traceback.
        content = mmap.mmap(self._descriptor, self.received, access=mmap.ACCESS_READ) if self.received else b""
        check_ranges(ranges_within(memoryview(content), url), recorded_crc32c, url)
        if self._validate:
            check_values(memoryview(content), url)

    def _write(self, piece: bytes) -> None:
        with _own_failures():
            while piece:
                written = os.pwrite(self._descriptor, piece, self.received)
                self.received += written
                piece = piece[written:]

    def _splice(self, answer: Answer, stop: int) -> None:
        """Move bytes inside the kernel until no more arrive, or until it cannot."""
        with _own_failures():
            output, input_ = os.pipe2(os.O_CLOEXEC)
        try:
            while self.received < stop:
                count = _splice_into(input_, answer.connection, min(stop - self.received, _PIECE_BYTES))
                answer.taken(count)
                if not count or not self._empty(output, count):
                    return
        finally:
            os.close(output)
            os.close(input_)

    def _empty(self, pipe: int, count: int) -> bool:
        """Move the bytes in a pipe to the file; return whether the kernel could."""
        while count:
            try:
                moved = os.splice(pipe, self._descriptor, count, offset_dst=self.received)
            except OSError as error:
                if error.errno not in _NO_SPLICE:
                    raise SinkError(error) from error
                self._write(os.read(pipe, count))  # all of them: nothing else is written to this pipe
                return False
            count -= moved
            self.received += moved
        return True


class PipeSink:
    """On to another process, message by message.

    A message is passed on once its own seal is found right, but for its body: the body follows with the next message,
    or with the end of the stream, when its checksum is found right. Readers of an Arrow stream take an end of input
    between two messages for the end of the stream. Some take an end within metadata for it, too, and some ask for no
    more of a body than the columns and bytes that they need. Until all is known to be right, readers have seen metadata
    whose body is missing, which is an error to each of them, or nothing at all.

    Args:
        pipe: what the bytes are written to.
        url: where they come from, for errors.
        validate: whether values are checked, too.
    """

    def __init__(self, pipe: IO[bytes], url: str, *, validate: bool = True) -> None:
        self.received: int = 0
        self._pipe = pipe
        self._url = url
        self._validate = validate
        self._messages = SealedMessages(0, url, validate=validate)
        self._held_back: list[bytes | memoryview] = []
        self._has_passed_on = False

    def begin(self, byte_count: int) -> None:
        """See ``Sink``.

        Raises:
            SpillError: some bytes were written already.
        """
        if self._has_passed_on:
            raise SpillError(
                "the file was replaced on the server while it was being passed on",
                path=self._url,
                advice="begin anew: what went out is no whole stream",
            )
        self.received = 0
        self._held_back = []
        self._messages = SealedMessages(byte_count, self._url, validate=self._validate)

    def forget(self) -> None:
        """See ``Sink``."""
        self.received = self._messages.position

    def receive(self, answer: Answer, stop: int) -> None:
        """See ``Sink``."""
        while self.received < stop and (piece := answer.read(min(stop - self.received, _PIECE_BYTES))):
            self.received += len(piece)
            for message in self._messages.feed(piece):
                if not self._messages.is_complete:
                    self._pass_on(message)

    def finish(self, recorded_crc32c: int, url: str) -> None:
        """See ``Sink``."""
        if not self._messages.is_complete:
            raise TruncatedError("the stream has no end-of-stream marker", path=url)
        check_crc32c(self._messages.crc32c, recorded_crc32c, self.received, url)
        with _own_failures():
            self._write_all(*self._held_back, END_OF_STREAM)
            self._pipe.flush()

    def _pass_on(self, message: bytes) -> None:
        view, metadata_length = memoryview(message), metadata_length_of(message)
        metadata, body = view[:metadata_length], view[metadata_length:]
        if not body or not read_batch_size(metadata).row_count:  # no reader would miss the body
            self._held_back.append(message)
            return
        self._has_passed_on = True
        with _own_failures():
            self._write_all(*self._held_back, metadata)
        self._held_back = [body]

    def _write_all(self, *pieces: bytes | memoryview) -> None:
        for piece in pieces:
            self._write(piece)

    def _write(self, piece: memoryview | bytes) -> None:
        written = self._pipe.write(piece)
        while isinstance(self._pipe, io.RawIOBase) and written != len(
            piece
        ):  # a raw pipe may take fewer bytes, or none
            if written is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            piece = piece[written:]
            written = self._pipe.write(piece)


@contextmanager
def _own_failures() -> Iterator[None]:
    """Raise the errors of a sink's own writes as SinkError, which no error of the network is."""
    try:
        yield
    except OSError as error:
        raise SinkError(error) from error


def _splice_into(pipe: int, connection: Connection, limit: int) -> int:
    """Return how many bytes the kernel moved from a connection: 0 if there are no more, or if it cannot."""
    connection.begin_wait()
    try:
        return os.splice(connection.socket.fileno(), pipe, limit)
    except BlockingIOError:
        raise connection.expired() from None
    except OSError as error:
        if error.errno in _NO_SPLICE:
            return 0
        raise


def _metadata_length(prefix: bytes) -> int | None:
    try:
        return metadata_length_of(prefix)
    except ValueError:
        return None
