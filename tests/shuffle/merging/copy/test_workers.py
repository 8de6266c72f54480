"""Threads that copy: their chunks tile the spans, and what one of them meets ends all."""

import errno
import itertools
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuffle.machine.kernel import Kernel, SystemKernel
from shuffle.merging.copy.choice import Ladder, Span
from shuffle.merging.copy.job import Target
from shuffle.merging.copy.ladder import METHODS, CopyResult
from shuffle.merging.copy.workers import _chunks, copy_spans
from shuffle.options import MethodName
from shuffle.testing import Always, Fail, Lie, Meanwhile, Real, ScriptedKernel
from shuffle.testing.opaque import OpaqueSources
from spill_format import PositionError
from tests.helpers.spills import open_files_in

MIB = 1 << 20


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> OpaqueSources:
    """Large enough for four threads."""
    return OpaqueSources(tmp_path_factory.mktemp("sources"), [[3 * MIB + 5, 7, 3 * MIB], [4 * MIB, 0, 9 * MIB]], 64)


@pytest.fixture(autouse=True)
def nothing_left(sources: OpaqueSources) -> Iterator[None]:
    """No thread, and no file open."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("shuffle-copy"):  # Ctrl-C may come while it is waited for
            thread.join(10)
            assert not thread.is_alive()
    assert open_files_in(sources.directory) == []


def copy(sources: OpaqueSources, ladder: Ladder, kernel: Kernel, threads: int = 4) -> CopyResult:
    plan = sources.plan
    with (sources.directory / "target").open("w+b") as target:
        return copy_spans(
            [Span(plan.start, plan.stop, ladder)],
            plan,
            sources.sources,
            Target(target.fileno(), "the target"),
            threads=threads,
            kernel=kernel,
        )


def spans_of(lengths: list[int]) -> list[Span]:
    borders = itertools.accumulate(lengths, initial=64)
    return [Span(start, stop, ("buffered",)) for start, stop in itertools.pairwise(borders)]


@given(spans=st.lists(st.integers(1, 200 * MIB), min_size=1, max_size=5).map(spans_of), threads=st.integers(2, 16))
def test_chunks_tile_the_spans_and_start_at_whole_mebibytes_of_them(spans: list[Span], threads: int) -> None:
    chunks = _chunks(spans, threads)
    for span in spans:
        of_span = [chunk for chunk in chunks if span.start <= chunk.start < span.stop]
        assert of_span[0].start == span.start
        assert of_span[-1].stop == span.stop
        for chunk, following in itertools.pairwise(of_span):
            assert chunk.stop == following.start
            assert (chunk.stop - span.start) % MIB == 0
        assert {chunk.ladder for chunk in of_span} == {span.ladder}
    assert sum(chunk.stop - chunk.start for chunk in chunks) == sum(span.stop - span.start for span in spans)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("threads", [1, 2, 4, 100])
def test_however_many_threads_the_bytes_are_the_same(sources: OpaqueSources, method: MethodName, threads: int) -> None:
    result = copy(sources, (method, "buffered"), SystemKernel(), threads)
    assert sources.written() == sources.merged
    assert sum(use.byte_count for use in result.methods.values()) == sources.plan.byte_count


def test_each_thread_has_a_file_position_of_its_own(sources: OpaqueSources) -> None:
    result = copy(sources, ("sendfile", "buffered"), SystemKernel())
    assert result.methods.keys() == {"sendfile"}
    assert sources.written() == sources.merged


def test_a_method_that_stops_in_one_chunk_goes_on_in_the_others(sources: OpaqueSources) -> None:
    result = copy(sources, ("sendfile", "buffered"), ScriptedKernel({"sendfile": [Real(), Fail(errno.EINVAL)]}))
    assert len(result.fallbacks) == 1
    assert result.methods["sendfile"].byte_count > 0 < result.methods["buffered"].byte_count
    assert sources.written() == sources.merged


@pytest.mark.parametrize("calls_before", [0, 1, 5])
def test_the_first_error_is_raised_and_not_that_the_others_gave_up(sources: OpaqueSources, calls_before: int) -> None:
    before = [Real(calls=calls_before)] if calls_before else []
    kernel = ScriptedKernel({"pwrite": [*before, Fail(errno.ENOSPC)]})
    with pytest.raises(OSError, match=r"No space left on device.*the target") as raised:
        copy(sources, ("buffered",), kernel)
    assert raised.value.errno == errno.ENOSPC


def test_a_position_that_is_wrong_in_one_thread_is_told(sources: OpaqueSources) -> None:
    kernel = ScriptedKernel({"position": [Real(calls=3), Always(Lie(1))]})
    with pytest.raises(PositionError, match="the target's file position"):
        copy(sources, ("sendfile", "buffered"), kernel)


@pytest.mark.parametrize("threads", [1, 4])
def test_ctrl_c_ends_all_threads(sources: OpaqueSources, threads: int) -> None:
    kernel = ScriptedKernel({"pwrite": [Real(), Meanwhile(lambda: os.kill(os.getpid(), signal.SIGINT))]})
    with pytest.raises(KeyboardInterrupt):
        copy(sources, ("buffered",), kernel, threads)


def test_little_is_copied_by_the_callers_thread(tmp_path: Path) -> None:
    few = OpaqueSources(tmp_path, [[100, 200]])
    seen: set[str] = set()
    kernel = ScriptedKernel({"pread": [Always(Meanwhile(lambda: seen.add(threading.current_thread().name)))]})
    copy(few, ("buffered",), kernel)
    assert seen == {threading.current_thread().name}
    assert few.written() == few.merged
