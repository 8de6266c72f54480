"""From one copy method to the next, from the byte where it stopped.

Methods stand in the order in which they are tried. The last one, buffered copying, never stops: it succeeds or raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shuffle.merging.copy.buffered import copy_with_buffer
from shuffle.merging.copy.clone import copy_with_clone
from shuffle.merging.copy.copy_file_range import copy_with_copy_file_range
from shuffle.merging.copy.gather import copy_with_gather
from shuffle.merging.copy.job import CopyJob
from shuffle.merging.copy.outcome import Outcome
from shuffle.merging.copy.sendfile import copy_with_sendfile
from shuffle.options import MethodName
from shuffle.report import Fallback, MethodUse

CopyMethod = Callable[[CopyJob, int, int], Outcome]

METHODS: dict[MethodName, CopyMethod] = {
    "clone": copy_with_clone,
    "copy_file_range": copy_with_copy_file_range,
    "sendfile": copy_with_sendfile,
    "gather": copy_with_gather,
    "buffered": copy_with_buffer,
}


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


def copy_span(job: CopyJob, ladder: Sequence[MethodName], start: int, stop: int) -> CopyResult:
    """Copy the target's bytes ``[start, stop)`` with the ladder's first method, and from where it stops with the next.

    Raises:
        SpillError, OSError: as the methods do; and RuntimeError if the last method stops, which is a defect of it.
    """
    result = CopyResult()
    position = start
    for name in ladder:
        outcome = METHODS[name](job, position, stop)
        result.count(name, outcome.position - position, outcome.system_calls)
        position = outcome.position
        if outcome.obstacle is None:
            return result
        result.fallbacks.append(
            Fallback(name, position, job.plan.partition_at(position), outcome.obstacle.reason, outcome.obstacle.errno)
        )
    raise RuntimeError(f"the last copy method, {ladder[-1]}, stopped at {position}: {result.fallbacks[-1].reason}")
