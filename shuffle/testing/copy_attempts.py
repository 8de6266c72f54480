"""One attempt of a copy method on a small merge: what it is given, what it answers, and whether that is sound.

What is tried, and what must come of it, is ``copy_checks.py``'s business.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shuffle.machine.kernel import SystemKernel
from shuffle.merging.copy.buffered import copy_with_buffer
from shuffle.merging.copy.job import CopyJob
from shuffle.merging.copy.ladder import CopyMethod
from shuffle.merging.copy.outcome import Outcome
from shuffle.testing.opaque import OpaqueSources
from shuffle.testing.scripted_kernel import ScriptedKernel, Step

LENGTHS = ((3, 0, 5), (0, 4, 2), (1, 1, 0))
"""Of the ranges of three sources: some empty, some that touch in source and target."""

IN_KERNEL = frozenset({"copy_file_range", "sendfile", "clone_range"})
THROUGH_MEMORY = frozenset({"pread", "pwrite"})
COUNTING = (IN_KERNEL | THROUGH_MEMORY) - {"clone_range"}

Script = Mapping[str, Sequence[Step]]

_MOST_SYSTEM_CALLS = 10_000  # far more than any of these small copies needs


class _PatientKernel(ScriptedKernel):
    """A scripted kernel that ends a copy which would not end."""

    def _play(self, method: str, call: Any) -> int:
        if self.call_counts.total() >= _MOST_SYSTEM_CALLS:
            raise AssertionError(f"it does not end: {method} was called again after {_MOST_SYSTEM_CALLS} system calls")
        return super()._play(method, call)


@dataclass(slots=True)
class Attempt:
    """What came of one call of a copy method.

    Attributes:
        situation: what was done to the method, in words, for messages.
        answer: what it returned; None where it raised.
        error: what it raised.
        kernel: which counted its system calls.
        told: the progress that was told.
    """

    situation: str
    sources: OpaqueSources
    start: int
    stop: int
    kernel: ScriptedKernel
    answer: Outcome | None = None
    error: Exception | None = None
    told: list[int] = field(default_factory=list)

    @property
    def outcome(self) -> Outcome:
        """The answer, after it and the bytes that it vouches for were found right."""
        if self.error is not None:
            raise self.failure(f"it raised {self.error!r}") from self.error
        answer = self.answer
        if not isinstance(answer, Outcome):
            raise self.failure(f"it answered {answer!r} instead of an Outcome")
        if not self.start <= answer.position <= self.stop:
            raise self.failure(f"it says that it came to {answer.position}, outside of the span")
        if answer.obstacle is None and answer.position != self.stop:
            raise self.failure(f"it says that it is done, and that it came to {answer.position} only")
        self.check_bytes(answer.position)
        return answer

    def check_bytes(self, stop: int) -> None:
        """See that the target has the bytes from the span's start to ``end``, and none outside of the span."""
        first, merged, written = self.sources.plan.start, self.sources.merged, self.sources.written()
        copied = slice(self.start - first, stop - first)
        for place in _differences(merged[copied], written[copied]):
            expected, actual = merged[copied][place], written[copied][place]
            raise self.failure(f"the target's byte {self.start + place} is {actual:02x}, not {expected:02x}")
        for offset, outside in ((first, written[: self.start - first]), (self.stop, written[self.stop - first :])):
            for place in _differences(bytes(len(outside)), outside):
                raise self.failure(f"it wrote byte {offset + place} of the target, outside of the span")

    def failure(self, problem: str) -> AssertionError:
        """The error that says what went wrong in which situation."""
        return AssertionError(f"{self.situation}, span [{self.start}, {self.stop}): {problem}")


@dataclass(frozen=True, slots=True)
class Bench:
    """A copy method, and where it is tried.

    Attributes:
        method: under test.
        directory: of a file system that the method works on.
        alignment: bytes; all offsets and lengths are multiples of it.
    """

    method: CopyMethod
    directory: Path
    alignment: int

    @contextmanager
    def sources(self, lengths: Sequence[Sequence[int]] = LENGTHS) -> Iterator[OpaqueSources]:
        """New sources, for as many attempts as leave them as they are; lengths are multiples of the alignment."""
        with tempfile.TemporaryDirectory(prefix="conformance-", dir=self.directory) as directory:
            aligned = [[length * self.alignment for length in row] for row in lengths]
            yield OpaqueSources(Path(directory), aligned, 8 * self.alignment)

    def attempt(
        self,
        sources: OpaqueSources,
        situation: str,
        script: Script | None = None,
        *,
        span: tuple[int, int] | None = None,
        prepare: Callable[[CopyJob], object] | None = None,
        open_limit: int = 100,
    ) -> Attempt:
        """Call the method once, and where it stops let buffered copying go on from there.

        Args:
            sources: what to copy.
            situation: for messages.
            script: of the kernel.
            span: of the target; all of it unless told.
            prepare: called with the job before the method is.
            open_limit: the most sources that may be open at once.

        Raises:
            AssertionError: the answer is not sound, or what follows a stop does not give the same bytes.
            SpillError, OSError: what buffered copying raises after a stop.
        """
        start, stop = span or (sources.plan.start, sources.plan.stop)
        attempt = Attempt(situation, sources, start, stop, _PatientKernel(script or {}))
        with sources.job(attempt.kernel, open_limit=open_limit) as job:
            os.ftruncate(job.target.descriptor, sources.plan.stop)  # zeroes, of which the sources have none
            job.progress = attempt.told.append
            if prepare is not None:
                prepare(job)
            try:
                attempt.answer = self.method(job, start, stop)
            except AssertionError as error:
                raise attempt.failure(str(error)) from error
            except Exception as error:  # noqa: BLE001 -- which errors are right is the check's to say
                attempt.error = error
                return attempt
            outcome = attempt.outcome
            if outcome.obstacle is not None:
                job.kernel = SystemKernel()
                copy_with_buffer(job, outcome.position, stop)
                attempt.check_bytes(stop)
        return attempt

    def points(self, sources: OpaqueSources) -> range:
        """How many bytes may have been copied when something happens."""
        return range(0, sources.plan.byte_count, self.alignment)


def _differences(expected: bytes, actual: bytes) -> Iterator[int]:
    """Where two strings of one length differ."""
    if expected != actual:
        differs = np.frombuffer(expected, np.uint8) != np.frombuffer(actual, np.uint8)
        yield from np.flatnonzero(differs).tolist()
