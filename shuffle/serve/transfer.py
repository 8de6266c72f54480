"""Sending bytes of files to a connection: by ``sendfile`` from the page cache, or through a buffer.

Nothing here knows what is sent. A connection that takes nothing for too long is given up, and whatever happens to a
file meanwhile, an answer is whole and of one moment, or visibly broken off.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Protocol, cast

from shuffle.config import TransferTo
from shuffle.kernel import Kernel, SystemKernel
from shuffle.serve.representation import FileSpan, Segment
from spill_format.errors import PositionError, SpillError, TruncatedError

_PIECE_BYTES = 4 << 20
"""One call sends at most so much, so that other connections get their turn, and a cold disk holds all up no longer."""

_NOT_HERE = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})
"""sendfile is not for this file system, or not for this system."""


class Sink(Protocol):
    """What takes bytes in order: an answer whose head was sent."""

    async def write(self, data: bytes) -> None:
        """Send bytes, or queue them; waits while the queue is full."""
        ...


class Sender:
    """How the files of one server are sent.

    Args:
        transfer_to: ``"off"`` never uses sendfile; ``"on"`` never anything else on a connection without TLS.
        buffer_bytes: what a buffered send holds at a time.
        idle_seconds: how long a connection may take nothing.
        kernel: whose sendfile.
    """

    def __init__(
        self, transfer_to: TransferTo, buffer_bytes: int, idle_seconds: float, kernel: Kernel | None = None
    ) -> None:
        self._transfer_to = transfer_to
        self._buffer_bytes = buffer_bytes
        self._idle_seconds = idle_seconds
        self._kernel = kernel or SystemKernel()
        self.bytes_by_method = {"sendfile": 0, "buffered": 0}
        """Bytes of files that were sent, by how."""

    async def send(self, segments: Iterable[Segment], sink: Sink, transport: asyncio.Transport) -> None:
        """Send segments in order. What is in memory behind a file's bytes goes out only if the file is unchanged.

        Raises:
            SpillError: a file was cut or written meanwhile.
            ConnectionError, TimeoutError: the connection is gone, or takes nothing.
            OSError: a file cannot be read.
        """
        sent = None
        for segment in segments:
            if sent is not None:
                _check_unchanged(sent)
                sent = None
            if isinstance(segment, FileSpan):
                await self._send_span(segment, sink, transport)
                sent = segment
            else:
                async with asyncio.timeout(self._idle_seconds):
                    await sink.write(segment)
        if sent is not None:
            _check_unchanged(sent)

    async def _send_span(self, span: FileSpan, sink: Sink, transport: asyncio.Transport) -> None:
        position = span.start
        # TLS encrypts in this process: asyncio's knows nothing of the kernel's.
        if self._transfer_to != "off" and transport.get_extra_info("sslcontext") is None:
            position = await self._by_sendfile(span, transport)
        if position < span.end:
            await self._buffered(span, position, sink)

    async def _by_sendfile(self, span: FileSpan, transport: asyncio.Transport) -> int:
        """Where in the file it stopped: at the end, or where the kernel has no sendfile for it."""
        await _emptied(transport, self._idle_seconds)
        target = cast(socket.socket, transport.get_extra_info("socket")).fileno()
        position = span.start
        while position < span.end:
            if transport.is_closing():
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            wanted = min(span.end - position, _PIECE_BYTES)
            try:
                count = self._kernel.sendfile(target, span.file.descriptor, position, wanted)
            except BlockingIOError:
                await _writable(target, self._idle_seconds)
                continue
            except OSError as error:
                if error.errno in _NOT_HERE and self._transfer_to == "auto":
                    return position
                raise
            if not 0 < count <= wanted:
                raise _stopped(span, position, count)
            position += count
            self.bytes_by_method["sendfile"] += count
            if wanted == _PIECE_BYTES:
                await asyncio.sleep(0)
        return position

    async def _buffered(self, span: FileSpan, position: int, sink: Sink) -> None:
        while position < span.end:
            piece = os.pread(span.file.descriptor, min(span.end - position, self._buffer_bytes), position)
            if not piece:
                raise _stopped(span, position, 0)
            async with asyncio.timeout(self._idle_seconds):
                await sink.write(piece)
            position += len(piece)
            self.bytes_by_method["buffered"] += len(piece)


async def _emptied(transport: asyncio.Transport, idle_seconds: float) -> None:
    """Wait until the transport's own queue is empty: what sendfile sends must not overtake it."""
    while transport.get_write_buffer_size():
        # The queue is short, and this rare: an answer's head that a full socket did not take.
        await _writable(cast(socket.socket, transport.get_extra_info("socket")).fileno(), idle_seconds)
        await asyncio.sleep(0)
        if transport.is_closing():
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


async def _writable(descriptor: int, idle_seconds: float) -> None:
    """Wait until a socket takes bytes again.

    Raises:
        TimeoutError: it did not in time.
    """
    async with _watchable(descriptor) as copy:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            loop.remove_writer(copy)
            if not ready.done():
                ready.set_result(None)

        loop.add_writer(copy, wake)
        try:
            async with asyncio.timeout(idle_seconds):
                await ready
        finally:
            loop.remove_writer(copy)


@asynccontextmanager
async def _watchable(descriptor: int) -> AsyncIterator[int]:
    """A second descriptor of a socket: asyncio lets nobody watch one that a transport has."""
    copy = os.dup(descriptor)
    try:
        yield copy
    finally:
        os.close(copy)


def _check_unchanged(span: FileSpan) -> None:
    if not span.file.is_unchanged():
        raise SpillError("the file was written while it was being sent", path=span.file.name)


def _stopped(span: FileSpan, position: int, count: int) -> SpillError:
    if count == 0:
        return TruncatedError(
            "the file was cut while it was being sent", path=span.file.name, offset=position, expected=span.end
        )
    return PositionError("sendfile answered an impossible count", path=span.file.name, offset=position, actual=count)
