"""From one method to the next, from the byte where it stopped; and one ladder a thread, each on its own span.

Methods stand in the order in which they are tried. The last one, buffered copying, never stops: it succeeds or raises.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from shuffle.config import MergeOptions, MethodName
from shuffle.copy.buffered import copy_with_buffer
from shuffle.copy.copy_file_range import copy_with_copy_file_range
from shuffle.copy.job import CancelledError, CopyJob, Target, ignore_progress
from shuffle.copy.outcome import Outcome
from shuffle.copy.sendfile import copy_with_sendfile
from shuffle.kernel import Kernel
from shuffle.plan import MergePlan
from shuffle.report import Fallback, MethodUse
from shuffle.sources import Source, SourceDescriptors, descriptor_limit

CopyMethod = Callable[[CopyJob, int, int], Outcome]

METHODS: dict[MethodName, CopyMethod] = {
    "copy_file_range": copy_with_copy_file_range,
    "sendfile": copy_with_sendfile,
    "buffered": copy_with_buffer,
}
"""Every method by its name, in the order in which one gives way to the next."""

_SPAN_BYTES = 32 << 20  # less than this is not worth a thread


@dataclass(slots=True)
class CopyResult:
    """What copying took, summed over spans."""

    methods: dict[str, MethodUse] = field(default_factory=dict)
    fallbacks: list[Fallback] = field(default_factory=list)

    def count(self, method: str, byte_count: int, system_calls: int) -> None:
        """Add what one method did."""
        before = self.methods.get(method, MethodUse(0, 0))
        self.methods[method] = MethodUse(before.byte_count + byte_count, before.system_calls + system_calls)

    def add(self, other: CopyResult) -> None:
        """Add what another span took."""
        for method, use in other.methods.items():
            self.count(method, use.byte_count, use.system_calls)
        self.fallbacks += other.fallbacks


def ladder_of(options: MergeOptions) -> list[MethodName]:
    """The methods to try, in order: from the one asked for down."""
    if options.transfer_to == "off":
        return ["buffered"]
    names = list(METHODS)
    return names if options.method == "auto" else names[names.index(options.method) :]


def copy_span(job: CopyJob, ladder: Sequence[MethodName], start: int, end: int) -> CopyResult:
    """Copy the target's bytes ``[start, end)`` with the ladder's first method, and from where it stops with the next.

    Raises:
        SpillError, OSError: as the methods do; and RuntimeError if the last method stops, which is a defect of it.
    """
    result = CopyResult()
    position = start
    for name in ladder:
        outcome = METHODS[name](job, position, end)
        result.count(name, outcome.position - position, outcome.system_calls)
        position = outcome.position
        if outcome.stop is None:
            return result
        result.fallbacks.append(
            Fallback(name, position, job.plan.partition_at(position), outcome.stop.reason, outcome.stop.errno)
        )
    raise RuntimeError(f"the last copy method, {ladder[-1]}, stopped at {position}: {result.fallbacks[-1].reason}")


def copy_plan(
    plan: MergePlan,
    sources: Sequence[Source],
    target: Target,
    ladder: Sequence[MethodName],
    *,
    threads: int = 1,
    kernel: Kernel,
    progress: Callable[[int], None] = ignore_progress,
) -> CopyResult:
    """Copy all segments of a plan into ``target``.

    Each thread copies a span of its own, through descriptors of its own. The first error ends all of them.
    """
    spans = _spans(plan, threads if threads > 1 and _can_open_again(target) else 1)
    limit = descriptor_limit(len(spans) or 1)
    cancelled = threading.Event()

    def copy(span: tuple[int, int]) -> CopyResult:
        with SourceDescriptors(sources, limit) as descriptors, _own_position(target, shared=len(spans) > 1) as own:
            return copy_span(CopyJob(kernel, plan, descriptors, own, progress, cancelled), ladder, *span)

    if len(spans) <= 1:
        return copy(spans[0]) if spans else CopyResult()
    result = CopyResult()
    with ThreadPoolExecutor(len(spans), "shuffle-copy") as executor:
        futures = [executor.submit(copy, span) for span in spans]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            # Also on Ctrl-C, which reaches this thread alone. Those that are done do not care.
            cancelled.set()
    failures = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(failures, key=lambda error: isinstance(error, CancelledError)):
        raise error
    for future in futures:
        result.add(future.result())
    return result


def _spans(plan: MergePlan, threads: int) -> list[tuple[int, int]]:
    """Parts of the target, about equal, cut between segments or, in a large one, at a multiple of 1 MiB."""
    count = max(min(threads, plan.byte_count // _SPAN_BYTES), 1)
    cuts = [plan.start + plan.byte_count * number // count for number in range(1, count)]
    borders = [plan.start, *(cut - cut % (1 << 20) for cut in cuts), plan.end]
    return [(start, end) for start, end in pairwise(borders) if start < end]


@contextmanager
def _own_position(target: Target, *, shared: bool) -> Iterator[Target]:
    """The target through a file position that no other thread moves: another open file description of the same file,
    unnamed as it may be."""
    if not shared:
        yield target
        return
    descriptor = _open_again(target)
    try:
        yield Target(descriptor, target.path)
    finally:
        os.close(descriptor)


def _open_again(target: Target) -> int:
    return os.open(f"/proc/self/fd/{target.descriptor}", os.O_RDWR | os.O_CLOEXEC)


def _can_open_again(target: Target) -> bool:
    """Not without /proc, nor where the umask left the owner no permission; one thread has to do then."""
    try:
        os.close(_open_again(target))
    except OSError:
        return False
    return True
