"""Laws of copying: coalescing, method, stopping point, span, thread and open files never change a byte."""

import errno
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuffle import MergeOptions, merge
from shuffle.merging.copy.ladder import METHODS, copy_span
from shuffle.merging.plan import MergePlan
from shuffle.options import MethodName
from shuffle.testing import Fail, Real, ScriptedKernel, Short, Step, Zero
from shuffle.testing.opaque import OpaqueSources
from shuffle.testing.strategies import range_lengths
from tests.helpers.spills import assert_merge_of, random_spill

IN_KERNEL: list[MethodName] = ["copy_file_range", "sendfile"]
LADDERS: list[list[MethodName]] = [["buffered"], *([name, "buffered"] for name in IN_KERNEL), [*IN_KERNEL, "buffered"]]

any_method = st.sampled_from(list(METHODS))


def ladder_from(method: MethodName) -> list[MethodName]:
    return list(dict.fromkeys([method, "buffered"]))


lengths_strategy = range_lengths()


@st.composite
def interruptions(draw: st.DrawFn) -> list[Step]:
    """A few calls that go well or are short, then one that ends the method."""
    fine = st.one_of(st.builds(Real, calls=st.integers(1, 5)), st.builds(Short, st.integers(1, 100)))
    last: st.SearchStrategy[Step] = st.sampled_from([Fail(errno.EXDEV), Fail(errno.EIO), Zero()])
    return [*draw(st.lists(fine, max_size=4)), draw(last)]


@settings(max_examples=150)
@given(data=st.data(), lengths=lengths_strategy, first_offset=st.sampled_from([0, 3, 64]))
def test_any_ladder_interrupted_anywhere_gives_the_same_bytes(
    data: st.DataObject, lengths: list[list[int]], first_offset: int
) -> None:
    ladder = data.draw(st.sampled_from(LADDERS))
    kernel = ScriptedKernel({name: data.draw(interruptions()) for name in ladder if name in IN_KERNEL})
    with tempfile.TemporaryDirectory() as directory:
        sources = OpaqueSources(Path(directory), lengths, first_offset)
        with sources.job(kernel, open_limit=data.draw(st.integers(1, 6))) as job:
            result = copy_span(job, ladder, sources.plan.start, sources.plan.stop)
        assert sources.written() == sources.merged
    assert sum(use.byte_count for use in result.methods.values()) == sources.plan.byte_count


@settings(max_examples=60)
@given(data=st.data(), lengths=lengths_strategy)
def test_spans_in_any_order_by_any_method_tile_the_target(data: st.DataObject, lengths: list[list[int]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        sources = OpaqueSources(Path(directory), lengths, 8)
        plan = sources.plan
        cuts = sorted(data.draw(st.sets(st.integers(plan.start, plan.stop), max_size=4)) | {plan.start, plan.stop})
        spans = data.draw(st.permutations(list(itertools.pairwise(cuts))))
        with sources.job() as job:
            for start, stop in spans:
                copy_span(job, ladder_from(data.draw(any_method)), start, stop)
        assert sources.written() == sources.merged


@pytest.mark.parametrize("method", IN_KERNEL)
def test_every_single_stopping_point_gives_the_same_bytes(tmp_path: Path, method: MethodName) -> None:
    sources = OpaqueSources(tmp_path, [[3, 0, 5], [0, 4, 2], [1, 1, 0]], 8)
    for stopping_point in range(sources.plan.byte_count):
        steps: list[Step] = [Real(byte_count=stopping_point)] if stopping_point else []
        kernel = ScriptedKernel({method: [*steps, Fail(errno.EOPNOTSUPP)]})
        with sources.job(kernel) as job:
            result = copy_span(job, [method, "buffered"], sources.plan.start, sources.plan.stop)
        assert result.fallbacks[0].position == sources.plan.start + stopping_point
        assert sources.written() == sources.merged


@settings(max_examples=60)
@given(lengths=lengths_strategy, method=any_method)
def test_coalescing_never_changes_a_byte(lengths: list[list[int]], method: MethodName) -> None:
    with tempfile.TemporaryDirectory() as directory:
        sources = OpaqueSources(Path(directory), lengths, 8)
        results = []
        for plan in (sources.plan, _plan_range_by_range(sources)):
            with sources.job() as job:
                job.plan = plan
                copy_span(job, ladder_from(method), plan.start, plan.stop)
            results.append(sources.written())
        assert results == [sources.merged, sources.merged]


def _plan_range_by_range(sources: OpaqueSources) -> MergePlan:
    segments = []
    position = sources.plan.start
    for partition in range(sources.plan.partition_count):
        for number, layout in enumerate(sources.layouts):
            if byte_count := int(layout.lengths[partition]):
                segments.append((number, int(layout.offsets[partition]), position))
                position += byte_count
    columns = list(zip(*segments, strict=True)) or [(), (), ()]
    return replace(
        sources.plan,
        sources=np.array(columns[0], np.int32),
        source_offsets=np.array(columns[1], np.int64),
        positions=np.array([*columns[2], position], np.int64),
    )


@settings(max_examples=40)
@given(data=st.data(), rows=range_lengths([0, 0, 1, 3, 200], max_partitions=4, max_sources=4))
def test_a_merge_is_the_concatenation_of_its_sources_ranges(data: st.DataObject, rows: list[list[int]]) -> None:
    alignments = data.draw(
        st.lists(st.sampled_from([8, 64, 512, 4096]), min_size=len(rows), max_size=len(rows)), label="alignments"
    )
    options = MergeOptions(method=data.draw(any_method | st.just("auto"), label="method"))
    with tempfile.TemporaryDirectory() as directory:
        spills = [
            random_spill(Path(directory, f"{number}.spill.arrow"), counts, alignment=alignment, batch_rows=50)
            for number, (counts, alignment) in enumerate(zip(rows, alignments, strict=True))
        ]
        target = Path(directory, "merged.arrow")
        report = merge(spills, target, options)
        assert_merge_of(spills, target)
        assert report.row_count == sum(map(sum, rows))
        assert report.target_bytes == target.stat().st_size
        assert sum(use.byte_count for use in report.methods.values()) == report.byte_count
        # A target is a source like any other, and its own merge is a copy of its ranges.
        again = Path(directory, "again.arrow")
        merge([target], again, options)
        assert_merge_of([target], again)


@settings(max_examples=40)
@given(
    rows=st.integers(1, 4).flatmap(
        lambda count: st.lists(st.lists(st.integers(0, 9), min_size=count, max_size=count), min_size=2, max_size=6)
    ),
    data=st.data(),
    alignment=st.sampled_from([64, 4096]),
)
def test_merging_in_steps_is_merging_at_once(rows: list[list[int]], data: st.DataObject, alignment: int) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows) - 1), max_size=3)))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        sources = [
            random_spill(directory / f"{number}.spill.arrow", counts, alignment=alignment)
            for number, counts in enumerate(rows)
        ]
        merge(sources, directory / "at once.arrow")
        steps = []
        for start, stop in itertools.pairwise([0, *cuts, len(rows)]):
            steps.append(directory / f"step {start}.arrow")
            merge(sources[start:stop], steps[-1])
        merge(steps, directory / "in steps.arrow")
        assert (directory / "in steps.arrow").read_bytes() == (directory / "at once.arrow").read_bytes()
