"""Gathering, in each of the ways in which it fills a window, over windows of any size."""

import os
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa  # noqa: F401 -- permuting waits for it otherwise
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuffle.merging.copy import gather
from shuffle.merging.copy.gather import assembled_windows, copy_with_gather
from shuffle.native import SWITCH
from shuffle.testing import Always, Real, ScriptedKernel, Short
from shuffle.testing.opaque import OpaqueSources, opaque_source
from spill_format import TruncatedError

# What decides in which way a window is filled.
WAYS = {
    "scattered": {"_PERMUTED_BYTES": 0, "_FEW_SEGMENTS": 0},
    "scattered without compiled functions": {"_PERMUTED_BYTES": 0, "_FEW_SEGMENTS": 0},
    "permuted": {"_PERMUTED_BYTES": sys.maxsize, "_FEW_SEGMENTS": 0},
    "one by one": {"_FEW_SEGMENTS": sys.maxsize},
}
# Sources, partitions, and the largest of their random lengths.
SHAPES = {
    "more segments of a source in a window than one read may have": (2, 6000, 800),
    "many sources": (300, 40, 500),
    "segments larger than a window": (3, 2, 3 << 20),
    "few segments a window": (3, 20, 300_000),
    "one source": (1, 50_000, 100),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the ways to fill a window, whatever the window."""
    name: str = request.param
    for setting, value in WAYS[name].items():
        monkeypatch.setattr(gather, setting, value)
    if "without" in name:
        monkeypatch.setenv(SWITCH, "off")
    return name


def some_sources(directory: Path, shape: tuple[int, int, int]) -> OpaqueSources:
    source_count, partition_count, largest = shape
    lengths = np.random.default_rng(1).integers(0, largest, (source_count, partition_count), endpoint=True)
    lengths[:, ::7] = 0  # so that some segments of a source touch in the target too
    return OpaqueSources(directory, lengths.tolist(), 64)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_windows_of_every_shape_hold_the_targets_bytes(tmp_path: Path, shape: tuple[int, int, int], way: str) -> None:
    sources = some_sources(tmp_path, shape)
    start, stop = sources.plan.start, sources.plan.stop
    with sources.job() as job:
        outcome = copy_with_gather(job, start, stop)
    assert (outcome.position, outcome.obstacle) == (stop, None)
    assert sources.written() == sources.merged


@settings(max_examples=150)
@given(
    lengths=st.integers(1, 6).flatmap(
        lambda count: st.lists(st.lists(st.integers(0, 9), min_size=count, max_size=count), min_size=1, max_size=5)
    ),
    window_bytes=st.integers(1, 20),
    most_segments=st.integers(1, 5),
    open_limit=st.integers(1, 6),
    way=st.sampled_from(sorted(WAYS)),
    data=st.data(),
)
def test_windows_tile_any_span_and_cut_segments_at_any_byte(
    lengths: Sequence[Sequence[int]],
    window_bytes: int,
    most_segments: int,
    open_limit: int,
    way: str,
    data: st.DataObject,
) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        for setting, value in {**WAYS[way], "LARGEST_WINDOW_BYTES": window_bytes}.items():
            patch.setattr(gather, setting, value)
        patch.setattr(gather, "_MANY_SEGMENTS", most_segments)
        sources = OpaqueSources(Path(directory), lengths, 8)
        plan, merged = sources.plan, sources.merged
        start, stop = sorted(data.draw(st.tuples(*[st.integers(plan.start, plan.stop)] * 2)))
        reached = start
        with sources.job(open_limit=open_limit) as job:
            for window in assembled_windows(job, start, stop):
                assert window.position == reached
                assert 0 < len(window.content) <= window_bytes
                reached += len(window.content)
                assert bytes(window.content) == merged[window.position - plan.start : reached - plan.start]
        assert reached == stop


def test_short_reads_and_writes_go_on_where_they_ended(tmp_path: Path, way: str) -> None:
    sources = some_sources(tmp_path, (5, 300, 100))
    kernel = ScriptedKernel({"pread": [Real(), Always(Short(33))], "pwrite": [Always(Short(1001))]})
    with sources.job(kernel) as job:
        copy_with_gather(job, sources.plan.start, sources.plan.stop)
    assert kernel.unplayed == {}
    assert sources.written() == sources.merged


def test_a_source_that_ends_too_early_is_told_with_its_place(tmp_path: Path, way: str) -> None:
    sources = some_sources(tmp_path, (5, 300, 100))
    size = os.path.getsize(sources.sources[3].path) - 10
    with sources.job() as job:
        os.truncate(job.descriptors.path(3), size)
        sources.sources[3] = opaque_source(Path(job.descriptors.path(3)), sources.layouts[3])
        with pytest.raises(TruncatedError, match=r"source-3, offset \d+: .*expected \d+ bytes"):
            copy_with_gather(job, sources.plan.start, sources.plan.stop)


@pytest.mark.parametrize(("name", "reads"), [("scattered", 5), ("permuted", 5), ("one by one", None)])
def test_a_window_takes_one_read_a_source_and_one_write(
    tmp_path: Path, name: str, reads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting, value in WAYS[name].items():
        monkeypatch.setattr(gather, setting, value)
    sources = some_sources(tmp_path, (5, 300, 100))
    kernel = ScriptedKernel({})
    with sources.job(kernel) as job:
        outcome = copy_with_gather(job, sources.plan.start, sources.plan.stop)
    assert kernel.call_counts == {"pread": reads or sources.plan.segment_count, "pwrite": 1}
    assert outcome.system_calls == kernel.call_counts.total()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was opened as a source."""
    counts: Counter[str] = Counter()
    really_open = os.open

    def counting(path: str, *arguments: int) -> int:
        counts[path] += 1
        return really_open(path, *arguments)

    monkeypatch.setattr(os, "open", counting)
    return counts


def test_of_more_sources_than_may_be_open_each_window_opens_only_those_that_the_last_had_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Counter[str]
) -> None:
    source_count, window_count, limit = 20, 10, 15
    sources = OpaqueSources(tmp_path, [[100] * window_count] * source_count)
    monkeypatch.setattr(gather, "LARGEST_WINDOW_BYTES", 100 * source_count)
    with sources.job(open_limit=limit) as job:
        opened.clear()
        copy_with_gather(job, sources.plan.start, sources.plan.stop)
    assert sources.written() == sources.merged
    assert opened.total() == source_count + (window_count - 1) * (source_count - limit)


@pytest.mark.parametrize("threads", [1, 4, 64])
def test_buffers_have_a_bound_however_many_threads_share_it(tmp_path: Path, threads: int, way: str) -> None:
    sources = some_sources(tmp_path, (300, 20, 5000))
    with sources.job() as job:
        job.threads = threads
        tracemalloc.start()
        try:
            copy_with_gather(job, sources.plan.start, sources.plan.stop)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    # The third buffer is Arrow's, which is not traced.
    assert 0 < held * threads <= gather.BUFFERS_BYTES
    assert sources.written() == sources.merged
