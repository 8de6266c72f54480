"""One thread's part of a copy: the plan, the descriptors, and the pieces to copy in target order."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import numpy as np

from shuffle.machine.kernel import Kernel, Runs
from shuffle.merging.plan import MergePlan
from shuffle.merging.sources import SourceDescriptors
from spill_format.errors import PositionError, TruncatedError
from spill_format.layout import Int64Array

PIECE_BYTES = 128 << 20
"""The most that one system call is asked to copy: kernels refuse or mistake huge counts (coreutils, glibc PR33245, zig
#25737), and between two pieces progress is told and a cancellation noticed."""

_WRITTEN_BYTES = 1 << 20
"""The most that is written at once. ext4 allocates page cache in pieces as large as the write. Pieces of 2 MiB are what
the host of a virtual machine takes back while they are free, and took two to three times as long as 1 MiB; where none
was taken back, 4 MiB at a time saved a tenth, for some shapes."""

_BLOCK_SEGMENTS = 4096  # turned from arrays into Python numbers at once
_PROGRESS_BYTES = 4 << 20


class Piece(NamedTuple):
    """Bytes to copy at once: a segment, or a part of one."""

    source: int
    source_offset: int
    position: int
    byte_count: int


def _parts(piece: Piece) -> Iterator[Piece]:
    """A piece in parts of at most ``PIECE_BYTES``."""
    source, source_offset, position, byte_count = piece
    for done in range(0, byte_count, PIECE_BYTES):
        yield Piece(source, source_offset + done, position + done, min(byte_count - done, PIECE_BYTES))


def _behind(buffers: list[memoryview], byte_count: int) -> list[memoryview]:
    """What is left of buffers behind their first ``byte_count`` bytes."""
    for number, buffer in enumerate(buffers):
        if byte_count < len(buffer):
            return [buffer[byte_count:], *buffers[number + 1 :]]
        byte_count -= len(buffer)
    return []


def switch_off_advice(kernel: Kernel) -> str:
    """What to do about a kernel whose positions are wrong."""
    return (
        f"this kernel ({kernel.release}) miscounts; copying inside the kernel can be switched off with "
        'transfer_to="off"'
    )


def ignore_progress(_byte_count: int) -> None:
    """The progress of a copy that nobody watches."""


class Target(NamedTuple):
    """The file that is written: its descriptor, and for errors its name to be."""

    descriptor: int
    path: str


def write_all(kernel: Kernel, target: Target, buffer: memoryview, position: int) -> int:
    """Write all of a buffer at a position of the target; how many system calls it took.

    Raises:
        PositionError: the kernel claims to have written more than it was given.
        OSError: writing failed, or nothing was written; it names the target.
    """
    system_calls = 0
    written = 0
    while written < len(buffer):
        place = position + written
        piece = buffer[written : written + _WRITTEN_BYTES]
        try:
            count = kernel.pwrite(target.descriptor, [piece], place)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}: writing at offset {place}", target.path) from error
        system_calls += 1
        if count == 0:  # no file system should, but a loop that never ends is worse than an error
            raise OSError(errno.EIO, f"nothing was written at offset {place}", target.path)
        if not 0 < count <= len(piece):
            raise _miscounted(kernel, "bytes written", target.path, place, len(piece), count)
        written += count
    return system_calls


def _miscounted(kernel: Kernel, what: str, path: str, offset: int, asked: int, actual: int) -> PositionError:
    """The error for a count that ``pread`` or ``pwrite`` cannot mean; there is no other way left to copy."""
    problem = f"{what}, as {kernel.release} counts them"
    return PositionError(problem, path=path, offset=offset, expected=f"0 to {asked}", actual=actual)


class CancelledError(Exception):
    """Another thread of the same copy failed; this one gave up."""


@dataclass(slots=True)
class CopyJob:
    """What a method needs to copy a span of the target. Belongs to one thread.

    Attributes:
        kernel: the only way to move bytes.
        plan: what to copy.
        descriptors: of the sources.
        target: where to; its descriptor has a file position of this thread's own.
        progress: told how many further bytes are copied, every few MiB.
        cancelled: set when another thread has failed.
        threads: that copy beside each other, this one included; they share what memory there is for buffers.
    """

    kernel: Kernel
    plan: MergePlan
    descriptors: SourceDescriptors
    target: Target
    progress: Callable[[int], None] = field(default=ignore_progress)
    cancelled: threading.Event = field(default_factory=threading.Event)
    threads: int = 1
    _buffers: dict[str, memoryview] = field(default_factory=dict)

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """The pieces that tile the target's bytes ``[start, stop)``, in order.

        Asking for the next piece says that the last one is copied.
        """
        told = start
        for piece in self._pieces(start, stop):
            if piece.position - told >= _PROGRESS_BYTES:
                self.tell(piece.position - told)
                told = piece.position
            yield piece
        self.tell(stop - told)

    def _pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """The segments in ``[start, stop)``, cut to that span and to ``PIECE_BYTES``."""
        if start == stop:
            return
        plan = self.plan
        start_segment = int(np.searchsorted(plan.positions, start, side="right")) - 1
        stop_segment = int(np.searchsorted(plan.positions, stop, side="left"))
        for block_start in range(start_segment, stop_segment, _BLOCK_SEGMENTS):
            block = slice(block_start, min(block_start + _BLOCK_SEGMENTS, stop_segment))
            borders = plan.positions[block.start : block.stop + 1].clip(start, stop)
            positions, lengths = borders[:-1], np.diff(borders)
            source_offsets = plan.source_offsets[block] + (positions - plan.positions[block])
            # Whole columns to numbers to tuples: 100,000 segments in 30 ms, where a loop body for each took 60.
            columns = plan.sources[block], source_offsets, positions, lengths
            pieces = map(Piece._make, zip(*(column.tolist() for column in columns), strict=True))
            if lengths.max() <= PIECE_BYTES:
                yield from pieces
            else:
                yield from chain.from_iterable(map(_parts, pieces))

    def buffer(self, use: str, byte_count: int) -> memoryview:
        """A buffer for one use, the same at every call: fresh memory would cost a page fault for every 4 KiB."""
        buffer = self._buffers.get(use)
        if buffer is None or len(buffer) < byte_count:
            buffer = self._buffers[use] = memoryview(bytearray(byte_count))
        return buffer[:byte_count]

    def read(self, source: int, buffer: memoryview, offset: int) -> int:
        """Read from a source; how many bytes, 0 at its end.

        Raises:
            PositionError: the kernel claims to have read more than there was room for.
            OSError: reading failed; it names the source.
        """
        return self._read(source, [buffer], offset)

    def read_scattered(self, source: int, buffers: list[memoryview], offset: int) -> int:
        """Fill buffers, one after the other, from an offset of a source; how many system calls it took.

        Raises:
            TruncatedError: the source ends before they are full.
            PositionError, OSError: as for ``read``.
        """
        wanted = sum(map(len, buffers))
        system_calls = 0
        while wanted:
            count = self._read(source, buffers, offset)
            system_calls += 1
            if count == 0:
                raise self.truncated(source, offset, wanted)
            offset += count
            wanted -= count
            if wanted:
                buffers = _behind(buffers, count)
        return system_calls

    def read_runs(
        self,
        sources: list[int],
        offsets: Int64Array,
        starts: Int64Array,
        places: Int64Array,
        lengths: Int64Array,
        buffer: memoryview,
    ) -> tuple[int, int]:
        """See ``Kernel.pread_runs``; run r is of source ``sources[r]``. ``(0, 0)`` where they may not all be open."""
        descriptors = self.descriptors.descriptors(sources)
        if descriptors is None:
            return 0, 0
        runs = Runs(np.array(descriptors, dtype=np.int32), offsets, starts, places, lengths)
        return self.kernel.pread_runs(runs, buffer)

    def write(self, buffer: memoryview, position: int) -> int:
        """Write to the target; see ``write_all``."""
        return write_all(self.kernel, self.target, buffer, position)

    def _read(self, source: int, buffers: list[memoryview], offset: int) -> int:
        try:
            count = self.kernel.pread(self.descriptors.descriptor(source), buffers, offset)
        except OSError as error:
            problem = f"{error.strerror}: reading at offset {offset}"
            raise OSError(error.errno, problem, self.descriptors.path(source)) from error
        asked = sum(map(len, buffers))
        if not 0 <= count <= asked:
            raise _miscounted(self.kernel, "bytes read", self.descriptors.path(source), offset, asked, count)
        return count

    def tell(self, byte_count: int) -> None:
        """Report progress, and give up where another thread has failed."""
        if self.cancelled.is_set():
            raise CancelledError
        self.progress(byte_count)

    def truncated(self, source: int, offset: int, byte_count: int) -> TruncatedError:
        """The error for a source that ends before the ``byte_count`` bytes that its index promises at ``offset``."""
        size = self.kernel.size(self.descriptors.descriptor(source))
        return TruncatedError(
            "the source was cut short after its index was read",
            path=self.descriptors.path(source),
            offset=offset,
            expected=f"{byte_count} bytes",
            actual=max(size - offset, 0),
            advice="merge again when nobody writes to it",
        )

    def misplaced(self, method: str, piece: Piece, what: str, expected: int, actual: int) -> PositionError:
        """The error for a position or count that is not what it must be after ``method`` copied ``piece``."""
        return PositionError(
            f"after {method} of {piece.byte_count} bytes from {self.descriptors.path(piece.source)}, "
            f"offset {piece.source_offset}: {what}",
            path=self.target.path,
            partition=self.plan.partition_at(piece.position),
            offset=piece.position,
            expected=expected,
            actual=actual,
            advice=switch_off_advice(self.kernel),
        )

    def failed(self, method: str, piece: Piece, error: OSError) -> OSError:
        """``error`` with file and place."""
        place = f"{method} from {self.descriptors.path(piece.source)}, offset {piece.source_offset}, to"
        return OSError(error.errno, f"{error.strerror}: {place}", self.target.path)
