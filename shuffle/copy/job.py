"""One thread's part of a copy: the plan, the descriptors, and the pieces to copy in target order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from shuffle.kernel import Kernel
from shuffle.plan import MergePlan
from shuffle.sources import SourceDescriptors
from spill_format.errors import PositionError, TruncatedError

PIECE_BYTES = 128 << 20
"""The most that one system call is asked to copy: kernels refuse or mistake huge counts (coreutils, glibc PR33245, zig
#25737), and between two pieces progress is told and a cancellation noticed."""

_BLOCK_SEGMENTS = 4096  # turned from arrays into Python numbers at once
_PROGRESS_BYTES = 4 << 20


class Piece(NamedTuple):
    """Bytes to copy at once: a segment, or a part of one."""

    source: int
    source_offset: int
    position: int
    byte_count: int


def switch_off_advice(kernel: Kernel) -> str:
    """What to do about a kernel whose positions are wrong."""
    return (
        f"this kernel ({kernel.release}) miscounts; copying inside the kernel can be switched off with "
        '--transfer-to off or transfer_to="off"'
    )


def ignore_progress(_byte_count: int) -> None:
    """The progress of a copy that nobody watches."""


class Target(NamedTuple):
    """The file that is written: its descriptor, and for errors its name to be."""

    descriptor: int
    path: str


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
    """

    kernel: Kernel
    plan: MergePlan
    descriptors: SourceDescriptors
    target: Target
    progress: Callable[[int], None] = field(default=ignore_progress)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """The pieces that tile the target's bytes ``[start, end)``, in order.

        Asking for the next piece says that the last one is copied.
        """
        told = start
        for source, source_offset, position, byte_count in self._segments(start, end):
            copied = 0
            while copied < byte_count:
                piece_bytes = min(byte_count - copied, PIECE_BYTES)
                yield Piece(source, source_offset + copied, position + copied, piece_bytes)
                copied += piece_bytes
                if position + copied - told >= _PROGRESS_BYTES:
                    self.tell(position + copied - told)
                    told = position + copied
        self.tell(end - told)

    def _segments(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Source, source offset, position and bytes of the segments in ``[start, end)``, cut to that span."""
        plan = self.plan
        first = int(np.searchsorted(plan.positions, start, side="right")) - 1
        last = int(np.searchsorted(plan.positions, end, side="left"))
        for block_start in range(first, last, _BLOCK_SEGMENTS):
            block = slice(block_start, min(block_start + _BLOCK_SEGMENTS, last))
            positions = plan.positions[block.start : block.stop + 1].clip(start, end)
            source_offsets = plan.source_offsets[block] + (positions[:-1] - plan.positions[block])
            columns = plan.sources[block], source_offsets, positions[:-1], np.diff(positions)
            yield from zip(*(column.tolist() for column in columns), strict=True)

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
