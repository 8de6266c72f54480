"""Gathering: a window of the target is assembled in a buffer and written at once.

The bytes that one source has in a window lie next to each other in that source, since both are in partition order. So a
window takes one read a source, whatever the number of ranges, scattered over the buffer to where they belong; and one
write. Ranges too small for a Python number each are read next to each other and permuted by Arrow's ``take``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from shuffle.merging.copy.job import CopyJob
from shuffle.merging.copy.outcome import Outcome
from shuffle.merging.plan import MergePlan
from spill_format.layout import Int64Array

if TYPE_CHECKING:
    import pyarrow as pa

SMALLEST_WINDOW_BYTES = 2 << 20  # stays in the cache between reading and writing; 1 and 8 MiB measured slower
LARGEST_WINDOW_BYTES = 8 << 20
BUFFERS_BYTES = 24 << 20
"""Of all threads that gather beside each other: windows are smaller where there are many."""

_BYTES_PER_SOURCE = 64 << 10  # of a window; less, and reading is system calls
_PERMUTED_BYTES = 2048  # of a window's average segment; below it ``take`` is faster than a Python number a segment
_PERMUTED_SEGMENTS = 100_000  # of a plan; below it importing pyarrow takes longer than it saves
_BUFFERS = 3  # a window, the same bytes as they were read, and what ``take`` returns
_MANY_SEGMENTS = 1 << 16  # the most that a window has; numbers about a segment take some 100 bytes
_FEW_SEGMENTS = 8  # of a window; below it sorting them costs more than reading each by itself
_IOV_MAX = 1024


class Window(NamedTuple):
    """Consecutive segments of a plan, cut to a window of the target: arrays of N, and the window's size."""

    sources: npt.NDArray[np.int32]
    source_offsets: Int64Array
    places: Int64Array
    """Where each segment starts in the window."""
    lengths: Int64Array
    byte_count: int


class SourceRuns(NamedTuple):
    """R runs: segments of one source that lie next to each other in it, numbers ``[starts[r], starts[r + 1])`` of a
    window in ``order``."""

    order: Int64Array
    sources: npt.NDArray[np.int32]
    source_offsets: Int64Array
    starts: Int64Array


def copy_with_gather(job: CopyJob, start: int, stop: int) -> Outcome:
    """Copy the target's bytes ``[start, stop)``.

    Raises:
        TruncatedError: a source ends before its bytes do.
        OSError: reading or writing failed; it names the file.
    """
    system_calls = 0
    for window in assembled_windows(job, start, stop):
        system_calls += window.system_calls + job.write(window.content, window.position)
        job.tell(len(window.content))
        del window  # with its bytes, before others are made
    return Outcome(stop, system_calls)


class AssembledWindow(NamedTuple):
    """A window of the target as it must be: where it starts, its bytes, and the system calls that read them.

    The bytes are in a buffer that the next window overwrites.
    """

    position: int
    content: memoryview
    system_calls: int


def assembled_windows(job: CopyJob, start: int, stop: int) -> Iterator[AssembledWindow]:
    """The windows that tile the target's bytes ``[start, stop)``, in order.

    Raises:
        TruncatedError, OSError: as ``copy_with_gather`` does while reading.
    """
    if start == stop:
        return
    window_bytes = min(_window_bytes(job), stop - start)
    assembler = _Assembler(job, window_bytes)
    position = start
    while position < stop:
        window = _window(job.plan, position, min(position + window_bytes, stop))
        if len(window.sources) <= _FEW_SEGMENTS:
            content, calls = assembler.read_one_by_one(window)
        elif _is_worth_permuting(window, job.plan):
            content, calls = assembler.permuted(window)
        else:
            content, calls = assembler.scattered(window)
        assembled = AssembledWindow(position, content[: window.byte_count], calls)
        del content
        yield assembled
        del assembled
        position += window.byte_count


class _Assembler:
    """Fills windows; owns their buffers.

    The sources are read to and fro: where not all may be open at a time, those that the last window left open come
    first in the next.
    """

    def __init__(self, job: CopyJob, window_bytes: int) -> None:
        self._job = job
        self._window = job.buffer("window", window_bytes)
        self._backwards = False

    def read_one_by_one(self, window: Window) -> tuple[memoryview, int]:
        """A window's bytes and the system calls they took: one a segment."""
        calls = 0
        columns = window.sources, window.source_offsets, window.places, window.lengths
        for source, offset, place, length in zip(*(column.tolist() for column in columns), strict=True):
            calls += self._job.read_scattered(source, [self._window[place : place + length]], offset)
        return self._window, calls

    def scattered(self, window: Window) -> tuple[memoryview, int]:
        """A window's bytes and the system calls they took: one a source, for up to 1,024 segments."""
        runs = _runs(window)
        calls = self._read(runs, runs.starts, window.places[runs.order], window.lengths[runs.order], self._window)
        return self._window, calls

    def permuted(self, window: Window) -> tuple[memoryview, int]:
        """A window's bytes and the system calls they took: one a source, for any number of segments."""
        import pyarrow as pa

        staging = self._job.buffer("staging", len(self._window))
        runs = _runs(window)
        order = runs.order
        borders = np.zeros(len(order) + 1, dtype=np.int32)  # of the segments in the staging buffer
        np.cumsum(window.lengths[order], out=borders[1:])
        places = borders[runs.starts].astype(np.int64)
        calls = self._read(runs, np.arange(len(places)), places[:-1], np.diff(places), staging)
        staged_as = np.empty(len(order), dtype=np.int32)
        staged_as[order] = np.arange(len(order), dtype=np.int32)
        segments = _binary_array(borders, staging)
        # Not pa.array(staged_as), which imports pandas where it is installed: 0.3 s, 26 MiB.
        indices = pa.Array.from_buffers(pa.int32(), len(order), [None, pa.py_buffer(staged_as)])
        return memoryview(segments.take(indices).buffers()[2]), calls

    def _read(
        self, runs: SourceRuns, starts: Int64Array, places: Int64Array, lengths: Int64Array, buffer: memoryview
    ) -> int:
        """Read run r into pieces ``[starts[r], starts[r + 1])`` of a buffer; how many system calls it took."""
        done, calls = self._job.read_runs(runs.sources.tolist(), runs.source_offsets, starts, places, lengths, buffer)
        self._backwards = not self._backwards
        if done == len(runs.sources):
            return calls
        borders = zip(places.tolist(), (places + lengths).tolist(), strict=True)
        pieces = [buffer[place:stop] for place, stop in borders]
        columns = runs.sources[done:], runs.source_offsets[done:], starts[done:-1], starts[done + 1 :]
        rest = list(zip(*(column.tolist() for column in columns), strict=True))
        for source, offset, start, stop in reversed(rest) if self._backwards else rest:
            position = offset
            for number in range(start, stop, _IOV_MAX):
                some = pieces[number : min(number + _IOV_MAX, stop)]
                calls += self._job.read_scattered(source, some, position)
                position += sum(map(len, some))
        return calls


def _binary_array(borders: npt.NDArray[np.int32], content: memoryview) -> pa.Array:
    import pyarrow as pa

    return pa.Array.from_buffers(
        pa.binary(), len(borders) - 1, [None, pa.py_buffer(borders), pa.py_buffer(content)], null_count=0
    )


def _window(plan: MergePlan, start: int, stop: int) -> Window:
    """The window from ``start`` to ``stop``, or to where it has as many segments as one may have."""
    first = int(np.searchsorted(plan.positions, start, side="right")) - 1
    segments = slice(first, min(int(np.searchsorted(plan.positions, stop, side="left")), first + _MANY_SEGMENTS))
    borders = plan.positions[segments.start : segments.stop + 1].clip(start, stop)
    source_offsets = plan.source_offsets[segments].copy()
    source_offsets[0] += start - int(plan.positions[first])
    byte_count = int(borders[-1]) - start
    return Window(plan.sources[segments], source_offsets, borders[:-1] - start, np.diff(borders), byte_count)


def _runs(window: Window) -> SourceRuns:
    """The order that groups a window's segments by source, and the runs in that order."""
    sources = window.sources
    if len(sources) and int(sources.max()) < 1 << 16:
        sources = sources.astype(np.uint16)  # numpy sorts these by radix
    order = np.argsort(sources, kind="stable")
    sources, offsets, lengths = window.sources[order], window.source_offsets[order], window.lengths[order]
    begins = np.concatenate(([True], (sources[1:] != sources[:-1]) | (offsets[1:] != offsets[:-1] + lengths[:-1])))
    starts = np.flatnonzero(begins)
    return SourceRuns(order, sources[starts], offsets[starts], np.append(starts, len(order)))


def _window_bytes(job: CopyJob) -> int:
    wanted = min(max(SMALLEST_WINDOW_BYTES, job.plan.source_count * _BYTES_PER_SOURCE), LARGEST_WINDOW_BYTES)
    return min(wanted, BUFFERS_BYTES // (_BUFFERS * job.threads))


def _is_worth_permuting(window: Window, plan: MergePlan) -> bool:
    if window.byte_count > _PERMUTED_BYTES * len(window.sources):
        return False
    return plan.segment_count >= _PERMUTED_SEGMENTS or "pyarrow" in sys.modules
