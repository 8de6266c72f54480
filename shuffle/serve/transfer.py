"""Sending bytes of files to a connection: by ``sendfile`` from the page cache, or through a buffer.

This module does not know what the bytes mean. Even if a file changes while it is sent, an answer is either whole and
from one moment, or it is visibly broken off.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from shuffle.machine.kernel import SystemKernel
from shuffle.options import TransferTo
from shuffle.serve.outlet import Outlet, SocketOutlet
from shuffle.serve.representation import FileSpan, Segment
from shuffle.serve.turns import STINT_BYTES, Stint
from spill_format.errors import PositionError, SpillError, TruncatedError

_NOT_HERE = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})
"""Errors that say that this file system, or this operating system, has no sendfile."""


class Sender:
    """How the files of one server are sent.

    Args:
        transfer_to: ``"off"`` never uses sendfile; ``"on"`` uses nothing else on a connection without TLS.
        buffer_bytes: bytes that a buffered send reads at a time.
    """

    def __init__(self, transfer_to: TransferTo, buffer_bytes: int) -> None:
        self._transfer_to = transfer_to
        self._buffer_bytes = buffer_bytes
        self._kernel = SystemKernel()
        self.bytes_by_method: dict[str, int] = {"sendfile": 0, "buffered": 0}
        """Bytes of files that were sent, for each method."""

    async def send(self, segments: Iterable[Segment], outlet: Outlet) -> None:
        """Send segments in order. The segment after a file's bytes is sent only if the file has not changed.

        The next segment is asked for once a segment is sent. A segment's file must stay open until then.

        Raises:
            SpillError: a file was cut or written while it was sent.
            ConnectionError, TimeoutError: the connection is lost, or the client takes nothing.
            OSError: a file cannot be read.
        """
        stint = Stint()
        for segment in segments:
            if isinstance(segment, FileSpan):
                await self._send_span(segment, outlet, stint)
                if not segment.file.is_unchanged():
                    raise SpillError("the file was written while it was being sent", path=segment.file.name)
            else:
                await outlet.write(segment)
            if stint.is_over():
                await stint.rest()

    async def _send_span(self, span: FileSpan, outlet: Outlet, stint: Stint) -> None:
        position = span.start
        # asyncio encrypts TLS in this process, so the bytes must pass through it.
        if self._transfer_to != "off" and isinstance(outlet, SocketOutlet):
            position = await self._by_sendfile(span, outlet, stint)
        if position < span.stop:
            await self._buffered(span, position, outlet, stint)

    async def _by_sendfile(self, span: FileSpan, outlet: SocketOutlet, stint: Stint) -> int:
        """Send by sendfile; return the position reached, short of the stop if the kernel has no sendfile."""
        position = span.start
        while position < span.stop:
            wanted = min(span.stop - position, STINT_BYTES)  # a cold disk then delays other answers no longer
            try:
                count = self._kernel.sendfile(outlet.descriptor(), span.file.descriptor, position, wanted)
            except BlockingIOError:
                await outlet.writable()
                stint.begin()
                continue
            except OSError as error:
                if error.errno in _NOT_HERE and self._transfer_to == "auto":
                    return position
                raise
            if not 0 < count <= wanted:
                raise _stopped(span, position, count)
            position += count
            self.bytes_by_method["sendfile"] += count
            outlet.sent += count
            if stint.is_over(count):
                await stint.rest()
        return position

    async def _buffered(self, span: FileSpan, position: int, outlet: Outlet, stint: Stint) -> None:
        while position < span.stop:
            piece = os.pread(span.file.descriptor, min(span.stop - position, self._buffer_bytes), position)
            if not piece:
                raise _stopped(span, position, 0)
            await outlet.write(piece)
            position += len(piece)
            self.bytes_by_method["buffered"] += len(piece)
            if stint.is_over(len(piece)):
                await stint.rest()


def _stopped(span: FileSpan, position: int, count: int) -> SpillError:
    if count == 0:
        return TruncatedError(
            "the file was cut while it was being sent", path=span.file.name, offset=position, expected=span.stop
        )
    return PositionError("sendfile answered an impossible count", path=span.file.name, offset=position, actual=count)
