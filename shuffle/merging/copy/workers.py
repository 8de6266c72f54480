"""Threads that copy: each takes the next chunk of the target, through descriptors of its own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from shuffle.machine.kernel import Kernel
from shuffle.merging.copy.choice import Span
from shuffle.merging.copy.job import CancelledError, CopyJob, Target, ignore_progress
from shuffle.merging.copy.ladder import CopyResult, copy_span
from shuffle.merging.plan import MergePlan
from shuffle.merging.sources import Source, SourceDescriptors, descriptor_limit

_DESCRIPTORS = "/proc/self/fd"
_THREAD_BYTES = 4 << 20  # less than this is not worth a thread
_LARGEST_CHUNK_BYTES = 64 << 20
_CHUNKS_PER_THREAD = 4  # so that no thread waits long for the last one
_CHUNK_STEP_BYTES = 1 << 20  # chunks start at multiples of it in their span, so that blocks to clone stay whole


def copy_spans(
    spans: Sequence[Span],
    plan: MergePlan,
    sources: Sequence[Source],
    target: Target,
    *,
    threads: int = 1,
    kernel: Kernel,
    progress: Callable[[int], None] = ignore_progress,
) -> CopyResult:
    """Copy the spans of a plan into ``target``, each with its ladder.

    The first error ends all threads.
    """
    thread_count = min(threads, sum(span.stop - span.start for span in spans) // _THREAD_BYTES)
    if thread_count > 1 and not _can_open_again(target):
        thread_count = 1
    cancelled = threading.Event()
    limit = descriptor_limit(max(thread_count, 1))

    def copy(chunks: Iterator[Span], own_target: Target) -> CopyResult:
        result = CopyResult()
        with SourceDescriptors(sources, limit) as descriptors:
            job = CopyJob(kernel, plan, descriptors, own_target, progress, cancelled, max(thread_count, 1))
            for start, stop, ladder in chunks:
                result.add(copy_span(job, ladder, start, stop))
        return result

    if thread_count <= 1:
        return copy(iter(spans), target)

    chunks = _Shared(_chunks(spans, thread_count))

    def work() -> CopyResult:
        with _own_position(target) as own_target:
            return copy(chunks, own_target)

    return _in_threads(work, thread_count, cancelled)


class _Shared(Iterator[Span]):
    """An iterator that several threads draw from."""

    def __init__(self, chunks: Sequence[Span]) -> None:
        self._chunks = iter(chunks)
        self._lock = threading.Lock()

    def __next__(self) -> Span:
        with self._lock:
            return next(self._chunks)


def _in_threads(work: Callable[[], CopyResult], thread_count: int, cancelled: threading.Event) -> CopyResult:
    # Small merges take no threads, and do not wait for the import.
    from concurrent.futures import FIRST_EXCEPTION, wait

    from shuffle.machine.threads import Threads

    with Threads(thread_count, "shuffle-copy") as threads:
        try:
            with _signals_held():
                futures = [future for _ in range(thread_count) if (future := threads.start(work)) is not None]
            if not futures:
                return work()
            wait(futures, return_when=FIRST_EXCEPTION)
            if any(future.done() and future.exception() is not None for future in futures):
                cancelled.set()
            wait(futures)
        finally:
            cancelled.set()  # on Ctrl-C, which reaches this thread alone
    failures = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(failures, key=lambda error: isinstance(error, CancelledError)):
        raise error
    result = CopyResult()
    for future in futures:
        result.add(future.result())
    return result


@contextmanager
def _signals_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait: a thread that is interrupted while it starts another knows nothing of that one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _chunks(spans: Sequence[Span], thread_count: int) -> list[Span]:
    """The spans cut so that all threads are busy until the end."""
    total = sum(span.stop - span.start for span in spans)
    wanted = min(total // (thread_count * _CHUNKS_PER_THREAD), _LARGEST_CHUNK_BYTES)
    chunk_bytes = max(wanted - wanted % _CHUNK_STEP_BYTES, _CHUNK_STEP_BYTES)
    return [
        Span(start, min(start + chunk_bytes, span.stop), span.ladder)
        for span in spans
        for start in range(span.start, span.stop, chunk_bytes)
    ]


@contextmanager
def _own_position(target: Target) -> Iterator[Target]:
    """The target through a file position that no other thread moves: another open file description of the same file,
    unnamed as it may be."""
    descriptor = _open_again(target)
    try:
        yield Target(descriptor, target.path)
    finally:
        os.close(descriptor)


def _open_again(target: Target) -> int:
    return os.open(f"{_DESCRIPTORS}/{target.descriptor}", os.O_RDWR | os.O_CLOEXEC)


def _can_open_again(target: Target) -> bool:
    """Not without /proc, nor where the umask left the owner no permission; one thread has to do then."""
    try:
        os.close(_open_again(target))
    except OSError:
        return False
    return True
