"""The project's copy methods pass all checks, and each way to break one is caught by the check that is for it."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from shuffle.merging.copy.buffered import copy_with_buffer
from shuffle.merging.copy.copy_file_range import copy_with_copy_file_range
from shuffle.merging.copy.errno_policy import fall_back
from shuffle.merging.copy.job import CopyJob, Piece
from shuffle.merging.copy.ladder import METHODS, CopyMethod
from shuffle.merging.copy.outcome import Obstacle, Outcome
from shuffle.merging.copy.sendfile import copy_with_sendfile
from shuffle.testing import Check, conformance
from spill_format import TruncatedError

CHECK_NAMES = [str(check) for check in conformance(copy_with_buffer)]


@pytest.mark.parametrize("name", CHECK_NAMES)
@pytest.mark.parametrize("method", [name for name in METHODS if name != "clone"])
def test_every_method_passes_every_check(tmp_path: Path, method: str, name: str) -> None:
    check_named(name, conformance(METHODS[method], directory=tmp_path))()  # type: ignore[index]

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", CHECK_NAMES)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_passes_every_check_where_blocks_are_shared(reflink_dir: Path, method: str, name: str) -> None:
    check_named(name, conformance(METHODS[method], directory=reflink_dir, alignment=4096))()  # type: ignore[index]


def test_a_method_that_copies_nothing_here_is_not_conformant_for_that(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"it stopped at 8 where it should copy all: .*; does the file system"):
        conformance(METHODS["clone"], directory=tmp_path)[0]()


def check_named(name: str, checks: tuple[Check, ...]) -> Check:
    return next(check for check in checks if check.name == name)


def in_pieces(copy: Callable[[CopyJob, Piece], object]) -> CopyMethod:
    """A method that copies piece by piece, and takes two system calls for each."""

    def method(job: CopyJob, start: int, stop: int) -> Outcome:
        system_calls = 0
        for piece in job.pieces(start, stop):
            copy(job, piece)
            system_calls += 2
        return Outcome(stop, system_calls)

    return method


def read_and_write(job: CopyJob, piece: Piece) -> None:
    buffer = memoryview(bytearray(piece.byte_count))
    job.read_scattered(piece.source, [buffer], piece.source_offset)
    job.write(buffer, piece.position)


def read_once(job: CopyJob, piece: Piece) -> None:
    buffer = memoryview(bytearray(piece.byte_count))
    job.read(piece.source, buffer, piece.source_offset)
    job.write(buffer, piece.position)


def loops_at_the_end_of_a_source(job: CopyJob, piece: Piece) -> None:
    buffer = memoryview(bytearray(piece.byte_count))
    read = 0
    while read < piece.byte_count:
        read += job.read(piece.source, buffer[read:], piece.source_offset + read)
    job.write(buffer, piece.position)


def past_the_kernel(job: CopyJob, piece: Piece) -> None:
    content = os.pread(job.descriptors.descriptor(piece.source), piece.byte_count, piece.source_offset)
    os.pwrite(job.target.descriptor, content, piece.position)


def shifted(job: CopyJob, piece: Piece) -> None:
    read_and_write(job, piece._replace(position=piece.position + 1))


def without_a_file_name(job: CopyJob, piece: Piece) -> None:
    buffer = memoryview(bytearray(piece.byte_count))
    job.read_scattered(piece.source, [buffer], piece.source_offset)
    written = 0
    while written < piece.byte_count:
        written += job.kernel.pwrite(job.target.descriptor, [buffer[written:]], piece.position + written)


def leaking(job: CopyJob, piece: Piece) -> None:
    os.dup(job.target.descriptor)
    read_and_write(job, piece)


def answering_nothing(_job: CopyJob, _start: int, _end: int) -> None:
    pass


def ignoring_its_span(job: CopyJob, _start: int, stop: int) -> Outcome:
    return replace(copy_with_buffer(job, job.plan.start, job.plan.stop), position=stop)


def a_byte_further(job: CopyJob, start: int, stop: int) -> Outcome:
    outcome = copy_with_copy_file_range(job, start, stop)
    return replace(outcome, position=min(outcome.position + 1, stop))


def silent_about_stops(job: CopyJob, start: int, stop: int) -> Outcome:
    return replace(copy_with_copy_file_range(job, start, stop), obstacle=None)


def without_reason(job: CopyJob, start: int, stop: int) -> Outcome:
    outcome = copy_with_copy_file_range(job, start, stop)
    return outcome if outcome.obstacle is None else replace(outcome, obstacle=Obstacle("", outcome.obstacle.errno))


def without_errno(job: CopyJob, start: int, stop: int) -> Outcome:
    outcome = copy_with_copy_file_range(job, start, stop)
    return outcome if outcome.obstacle is None else replace(outcome, obstacle=Obstacle(outcome.obstacle.reason))


def one_call_a_piece(job: CopyJob, start: int, stop: int) -> Outcome:
    """Takes what the call answers for what it was asked."""
    calls = 0
    for source, offset, position, count in job.pieces(start, stop):
        try:
            job.kernel.copy_file_range(
                job.descriptors.descriptor(source), job.target.descriptor, count, offset, position
            )
        except OSError as error:
            if (reason := fall_back(error)) is None:
                raise OSError(error.errno, error.strerror, job.target.path) from error
            return Outcome(position, calls, Obstacle(reason.why, error.errno))
        calls += 1
    return Outcome(stop, calls)


def stopping_for_anything(job: CopyJob, start: int, stop: int) -> Outcome:
    try:
        return copy_with_copy_file_range(job, start, stop)
    except OSError as error:
        return Outcome(start, 0, Obstacle("an error", error.errno))


def raising_for_anything(job: CopyJob, start: int, stop: int) -> Outcome:
    outcome = copy_with_copy_file_range(job, start, stop)
    if outcome.obstacle is not None:
        raise OSError(outcome.obstacle.errno or errno.EIO, outcome.obstacle.reason, job.target.path)
    return outcome


def spinning(job: CopyJob, start: int, stop: int) -> Outcome:
    """Spark's loop: 0 bytes are no news."""
    calls = 0
    for source, offset, position, count in job.pieces(start, stop):
        copied = 0
        while copied < count:
            descriptor = job.descriptors.descriptor(source)
            rest = count - copied
            copied += job.kernel.copy_file_range(
                descriptor, job.target.descriptor, rest, offset + copied, position + copied
            )
            calls += 1
    return Outcome(stop, calls)


def not_asking_for_positions(job: CopyJob, start: int, stop: int) -> Outcome:
    calls = 0
    job.kernel.seek(job.target.descriptor, start)
    for source, offset, _, count in job.pieces(start, stop):
        job.kernel.sendfile(job.target.descriptor, job.descriptors.descriptor(source), offset, count)
        calls += 1
    return Outcome(stop, calls)


def not_comparing_positions(job: CopyJob, start: int, stop: int) -> Outcome:
    calls = 0
    job.kernel.seek(job.target.descriptor, start)
    for source, offset, _, count in job.pieces(start, stop):
        job.kernel.sendfile(job.target.descriptor, job.descriptors.descriptor(source), offset, count)
        job.kernel.position(job.target.descriptor)
        calls += 1
    return Outcome(stop, calls)


def without_progress(job: CopyJob, start: int, stop: int) -> Outcome:
    telling, job.progress = job.progress, lambda _byte_count: None
    try:
        return copy_with_sendfile(job, start, stop)
    finally:
        job.progress = telling


def never_giving_up(job: CopyJob, start: int, stop: int) -> Outcome:
    job.cancelled.clear()
    return copy_with_buffer(job, start, stop)


def forgetting_calls(job: CopyJob, start: int, stop: int) -> Outcome:
    return replace(copy_with_buffer(job, start, stop), system_calls=1)


def holding_on_to_descriptors(job: CopyJob, start: int, stop: int) -> Outcome:
    held = [job.descriptors.descriptor(source) for source in range(job.plan.source_count)]
    calls = 0
    for source, offset, position, count in job.pieces(start, stop):
        buffer = memoryview(bytearray(count))
        job.kernel.pread(held[source], [buffer], offset)
        calls += 1 + job.write(buffer, position)
    return Outcome(stop, calls)


def swallowing_truncation(job: CopyJob, start: int, stop: int) -> Outcome:
    with suppress(Exception):
        return copy_with_buffer(job, start, stop)
    return Outcome(stop, 0)


def naming_no_source(job: CopyJob, start: int, stop: int) -> Outcome:
    try:
        return copy_with_buffer(job, start, stop)
    except TruncatedError as error:
        raise TruncatedError("the source is short") from error


WHOLE, SPANS, LARGE, SHORT, REFUSALS, ZERO, TRUNCATION, FINAL, COUNTS, POSITIONS, PROGRESS, CANCEL, CALLS, KEPT = (
    CHECK_NAMES
)
BROKEN: list[tuple[CopyMethod, str, str]] = [
    (in_pieces(past_the_kernel), WHOLE, "it copied past the job's kernel"),
    (answering_nothing, WHOLE, "it answered None instead of an Outcome"),  # type: ignore[list-item]
    (lambda _job, start, _end: Outcome(start, 0), WHOLE, "it says that it is done, and that it came to 8 only"),
    (lambda _job, _start, stop: Outcome(stop + 1, 0), WHOLE, "it says that it came to 25, outside of the span"),
    (lambda _job, _start, stop: Outcome(stop, 0), WHOLE, "the target's byte 8 is 00, not "),
    (lambda job, _start, _end: job.no_such_thing, WHOLE, "it raised AttributeError"),  # type: ignore[attr-defined]
    (in_pieces(shifted), WHOLE, "the target's byte 8 is 00, not "),
    (ignoring_its_span, SPANS, r"span \[8, 8\): it wrote byte 8 of the target, outside of the span"),
    (in_pieces(read_once), SHORT, "is 00, not "),
    (one_call_a_piece, SHORT, "copy_file_range answers .*: the target's byte 9 is 00, not "),
    (a_byte_further, REFUSALS, r"Fail\(errno=18\) after 0 bytes, span \[8, 24\): the target's byte 8 is 00, not"),
    (silent_about_stops, REFUSALS, "it says that it is done, and that it came to 8 only"),
    (without_reason, REFUSALS, "its stop gives no reason"),
    (without_errno, REFUSALS, "its stop says errno None, not 18"),
    (raising_for_anything, REFUSALS, "it raised OSError"),
    (in_pieces(without_a_file_name), REFUSALS, "its error names no file"),
    (spinning, ZERO, "it does not end: copy_file_range was called again after 10000 system calls"),
    (raising_for_anything, ZERO, "a call that copies nothing must make it stop, not raise OSError"),
    (in_pieces(loops_at_the_end_of_a_source), TRUNCATION, "it does not end: pread was called again"),
    (in_pieces(read_once), TRUNCATION, "is 00, not "),
    (naming_no_source, TRUNCATION, "its error does not name .*/source-0: the source is short"),
    (swallowing_truncation, TRUNCATION, "source 0 is cut to 0 bytes, .*is 00, not "),
    (stopping_for_anything, FINAL, "it must raise OSError with errno 28, not stop at 8"),
    (one_call_a_piece, COUNTS, "it must raise PositionError, not say that it is done"),
    (not_asking_for_positions, POSITIONS, "it does not ask for the file position after every sendfile"),
    (not_comparing_positions, POSITIONS, "it must raise PositionError, not say that it is done"),
    (without_progress, PROGRESS, "the progress that it told adds up to 0 bytes: use job.pieces or job.tell"),
    (never_giving_up, CANCEL, "it must raise CancelledError, as job.pieces and job.tell do, not say that it is done"),
    (forgetting_calls, CALLS, "it says that it took 1 system calls, not 7"),
    (holding_on_to_descriptors, KEPT, "it raised OSError|is .., not "),
    (in_pieces(leaking), KEPT, "it left descriptors open: .*target"),
]


@pytest.mark.parametrize(("method", "name", "problem"), BROKEN)
def test_a_broken_method_is_caught(tmp_path: Path, method: CopyMethod, name: str, problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        check_named(name, conformance(method, directory=tmp_path))()
    close_what_leaked(tmp_path)


def close_what_leaked(directory: Path) -> None:
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{number}").startswith(f"{directory}/"):
                os.close(int(number))


def test_every_check_catches_something() -> None:
    untested = set(CHECK_NAMES) - {name for _, name, _ in BROKEN}

    assert untested == {LARGE}  # which needs a method with a buffer of its own, below


def test_a_buffer_that_is_not_emptied_in_time_is_caught(tmp_path: Path) -> None:
    def method(job: CopyJob, start: int, stop: int) -> Outcome:
        limit = min(stop, start + (1 << 20))
        return replace(copy_with_buffer(job, start, limit), position=stop)

    checks = conformance(method, directory=tmp_path)
    check_named(SHORT, checks)()
    with pytest.raises(AssertionError, match=r"more bytes than a buffer holds, .*the target's byte 1048584 is 00, not"):
        check_named(LARGE, checks)()
