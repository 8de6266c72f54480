"""What every copy method must do, as a list of checks for the authors of one.

Each check tries a method on small files with a kernel that misbehaves on schedule (``copy_attempts.py``).
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from shuffle.merging.copy.job import CancelledError, CopyJob
from shuffle.merging.copy.ladder import CopyMethod
from shuffle.testing.copy_attempts import COUNTING, IN_KERNEL, THROUGH_MEMORY, Attempt, Bench
from shuffle.testing.opaque import OpaqueSources
from shuffle.testing.scripted_kernel import Always, Fail, Lie, Real, Short, Step, Zero
from spill_format import PositionError, SpillError, TruncatedError

_LARGE_BYTES = 5 << 20  # more than the buffers of copy methods hold
_REFUSALS = (errno.EXDEV, errno.EOPNOTSUPP)  # another method may still succeed
_FINAL_ERRORS = (errno.ENOSPC, errno.ENOMEM)  # none would


@dataclass(frozen=True, slots=True)
class Check:
    """One law, to be called; it raises AssertionError where the method breaks it.

    Attributes:
        name: the law.
    """

    name: str
    _run: Callable[[Bench], None]
    _bench: Bench

    def __call__(self) -> None:
        """Try the method, in a directory that is deleted afterwards."""
        self._run(self._bench)

    def __str__(self) -> str:
        return self.name


def conformance(
    copy_method: CopyMethod, *, directory: str | PathLike[str] | None = None, alignment: int = 1
) -> tuple[Check, ...]:
    """The checks that a copy method must pass, each to be called.

    As a test::

        @pytest.mark.parametrize("check", conformance(my_method), ids=str)
        def test_my_method(check):
            check()

    Args:
        copy_method: ``(job, start, stop) -> Outcome``: copies the target's bytes ``[start, stop)`` as the job's plan
            has them, through the job's kernel alone, and says how far it came.
        directory: of a file system on which the method works; the system's temporary directory unless told.
        alignment: bytes; all ranges start and end at multiples of it. A method that shares blocks needs 4096.
    """
    bench = Bench(copy_method, Path(directory or tempfile.gettempdir()), alignment)
    return tuple(Check(name, run, bench) for name, run in _CHECKS.items())


def _calls_used(bench: Bench, sources: OpaqueSources) -> list[str]:
    """The system calls by which the method moves bytes."""
    attempt = _copied(bench.attempt(sources, "with a healthy kernel"))
    used = sorted((IN_KERNEL | THROUGH_MEMORY) & attempt.kernel.call_counts.keys())
    if not used:
        raise attempt.failure("it copied past the job's kernel: no test can make that fail")
    return used


def _copied(attempt: Attempt) -> Attempt:
    """The attempt, after it was seen to copy its span by itself."""
    if (obstacle := attempt.outcome.obstacle) is not None:
        raise attempt.failure(
            f"it stopped at {attempt.outcome.position} where it should copy all: {obstacle.reason}; "
            "does the file system (directory=…, alignment=…) support the method?"
        )
    return attempt


def _interrupted(call: str, byte_count: int, alignment: int, last: Step) -> list[Step]:
    """So many bytes that go well, then a step; clones are counted, not measured."""
    if byte_count == 0:
        return [last]
    if call == "clone_range":
        return [Real(calls=byte_count // alignment), last]
    return [Real(byte_count=byte_count), last]


def _interruptions(bench: Bench, sources: OpaqueSources, call: str, last: Step) -> Iterator[tuple[int, Attempt]]:
    """The method interrupted at every point that it reaches, and how many bytes were copied by then."""
    for byte_count in bench.points(sources):
        script = {call: _interrupted(call, byte_count, bench.alignment, last)}
        attempt = bench.attempt(sources, f"{call} does {last} after {byte_count} bytes", script)
        if not attempt.kernel.unplayed:
            yield byte_count, attempt


def _check_whole(bench: Bench) -> None:
    with bench.sources() as sources:
        _calls_used(bench, sources)


def _check_spans(bench: Bench) -> None:
    with bench.sources() as sources:
        start, stop = sources.plan.start, sources.plan.stop
        cuts = range(start, stop + 1, bench.alignment)
        for span in ((cut, other) for cut in cuts for other in cuts if cut <= other):
            _copied(bench.attempt(sources, "a part of the target", span=span))


def _check_large(bench: Bench) -> None:
    units = -(-_LARGE_BYTES // bench.alignment)
    with bench.sources([[units // 2, 1], [1, 0], [0, units // 2]]) as sources:
        attempt = _copied(bench.attempt(sources, "more bytes than a buffer holds"))
        shorts = {call: [Always(Short(100_003))] for call in COUNTING & attempt.kernel.call_counts.keys()}
        bench.attempt(sources, "more bytes than a buffer holds, in short counts", shorts)


def _check_short_counts(bench: Bench) -> None:
    with bench.sources() as sources:
        for call in COUNTING.intersection(_calls_used(bench, sources)):
            for step in (Always(Short(bench.alignment)), Always(Short(2 * bench.alignment)), Short(1)):
                attempt = bench.attempt(sources, f"{call} answers {step}", {call: [step]})
                _ = attempt.outcome


def _check_refusals(bench: Bench) -> None:
    with bench.sources() as sources:
        for call in _calls_used(bench, sources):
            for number in _REFUSALS:
                for _, attempt in _interruptions(bench, sources, call, Fail(number)):
                    if call in IN_KERNEL:
                        _assert_stopped(attempt, number)
                    else:
                        _assert_os_error(attempt, number)


def _assert_stopped(attempt: Attempt, number: int) -> None:
    obstacle = attempt.outcome.obstacle
    if obstacle is None:
        raise attempt.failure("it says that it is done")
    if obstacle.errno != number:
        raise attempt.failure(f"its stop says errno {obstacle.errno}, not {number}")
    if not obstacle.reason:
        raise attempt.failure("its stop gives no reason")


def _assert_os_error(attempt: Attempt, number: int) -> None:
    error = attempt.error
    if not isinstance(error, OSError) or error.errno != number:
        raise attempt.failure(f"it must raise OSError with errno {number}, not {_result(attempt)}") from error
    if not error.filename:
        raise attempt.failure(f"its error names no file: {error}") from error


def _check_zero_counts(bench: Bench) -> None:
    with bench.sources() as sources:
        for call in COUNTING.intersection(_calls_used(bench, sources)):
            for _, attempt in _interruptions(bench, sources, call, Always(Zero())):
                if call in THROUGH_MEMORY:
                    _assert_raised(attempt, (SpillError, OSError), "an error")
                elif attempt.error is not None or attempt.outcome.obstacle is None:
                    raise attempt.failure(f"a call that copies nothing must make it stop, not {_result(attempt)}")


def _check_truncation(bench: Bench) -> None:
    for source in range(3):
        with bench.sources() as sources:
            sizes = range(0, sources.layouts[source].offsets[-1].item(), bench.alignment)
        for size in sizes:
            _check_truncation_to(bench, source, size)


def _check_truncation_to(bench: Bench, source: int, size: int) -> None:
    with bench.sources() as sources:
        path = sources.sources[source].path

        def truncate(job: CopyJob) -> None:
            job.descriptors.descriptor(source)  # open, and so not looked at again
            os.truncate(path, size)

        situation = f"source {source} is cut to {size} bytes"
        try:
            attempt = bench.attempt(sources, situation, prepare=truncate)
        except TruncatedError:
            return  # it stopped, and buffered copying told
        _assert_raised(attempt, TruncatedError, "TruncatedError")
        if str(path) not in str(attempt.error):
            raise attempt.failure(f"its error does not name {path}: {attempt.error}") from attempt.error


def _check_final_errors(bench: Bench) -> None:
    with bench.sources() as sources:
        for call in _calls_used(bench, sources):
            for number in _FINAL_ERRORS:
                for _, attempt in _interruptions(bench, sources, call, Fail(number)):
                    _assert_os_error(attempt, number)


def _check_miscounts(bench: Bench) -> None:
    with bench.sources() as sources:
        for call in COUNTING.intersection(_calls_used(bench, sources)):
            for by in (1, 1 << 40, -(1 << 40)):
                script = {call: [Lie(by)]}
                attempt = bench.attempt(sources, f"{call} answers {by} bytes more than it moved", script)
                _assert_raised(attempt, PositionError, "PositionError")


def _check_positions(bench: Bench) -> None:
    with bench.sources() as sources:
        attempt = _copied(bench.attempt(sources, "with a healthy kernel"))
        calls = attempt.kernel.call_counts
        if calls["position"] < calls["sendfile"]:
            raise attempt.failure("it does not ask for the file position after every sendfile")
        for number in range(calls["position"]):
            steps: list[Step] = [Real(calls=number), Lie(-1)] if number else [Lie(-1)]
            lied = bench.attempt(sources, "the file position is not where it must be", {"position": steps})
            _assert_raised(lied, PositionError, "PositionError")


def _check_progress(bench: Bench) -> None:
    with bench.sources() as sources:
        attempt = _copied(bench.attempt(sources, "with a healthy kernel"))
        if (told := sum(attempt.told)) != attempt.stop - attempt.start:
            raise attempt.failure(f"the progress that it told adds up to {told} bytes: use job.pieces or job.tell")


def _check_cancellation(bench: Bench) -> None:
    with bench.sources() as sources:
        attempt = bench.attempt(sources, "another thread failed", prepare=lambda job: job.cancelled.set())
        _assert_raised(attempt, CancelledError, "CancelledError, as job.pieces and job.tell do")


def _check_system_calls(bench: Bench) -> None:
    with bench.sources() as sources:
        attempt = _copied(bench.attempt(sources, "with a healthy kernel"))
        counted = sum(attempt.kernel.call_counts[call] for call in IN_KERNEL | THROUGH_MEMORY)
        if attempt.outcome.system_calls != counted:
            raise attempt.failure(f"it says that it took {attempt.outcome.system_calls} system calls, not {counted}")


def _check_descriptors(bench: Bench) -> None:
    with bench.sources() as sources:
        attempt = _copied(bench.attempt(sources, "one source open at a time", open_limit=1))
        if left := _open_below(sources.directory):
            raise attempt.failure(f"it left descriptors open: {', '.join(left)}")


def _open_below(directory: Path) -> Sequence[str]:
    """The files of a directory that this process has open; where the system does not say, none."""
    try:
        descriptors = os.listdir("/proc/self/fd")
    except FileNotFoundError:
        return []
    names = [name for number in descriptors if (name := _name_of(number)) and name.startswith(f"{directory}/")]
    return sorted(names)


def _name_of(descriptor: str) -> str | None:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except FileNotFoundError:  # that of the listing itself
        return None


def _assert_raised(attempt: Attempt, kind: type[Exception] | tuple[type[Exception], ...], called: str) -> None:
    if not isinstance(attempt.error, kind):
        raise attempt.failure(f"it must raise {called}, not {_result(attempt)}") from attempt.error


def _result(attempt: Attempt) -> str:
    if attempt.error is not None:
        return f"raise {attempt.error!r}"
    return "say that it is done" if attempt.outcome.obstacle is None else f"stop at {attempt.outcome.position}"


_CHECKS: dict[str, Callable[[Bench], None]] = {
    "copies through the job's kernel": _check_whole,
    "copies any span and nothing outside": _check_spans,
    "copies more than a buffer holds": _check_large,
    "goes on after short counts": _check_short_counts,
    "stops where the kernel refuses, at every byte": _check_refusals,
    "ends where the kernel moves nothing": _check_zero_counts,
    "tells of a source cut short": _check_truncation,
    "raises errors that no other method would be spared": _check_final_errors,
    "notices counts that cannot be": _check_miscounts,
    "asserts file positions": _check_positions,
    "tells its progress": _check_progress,
    "gives up when another thread has failed": _check_cancellation,
    "counts its system calls": _check_system_calls,
    "keeps no descriptor": _check_descriptors,
}
