"""A plan against one computed naively, range by range."""

import itertools
import tracemalloc
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuffle.merging import plan as plan_module
from shuffle.merging.plan import MergePlan, plan_merge
from spill_format.layout import PartitionLayout


class Segment(NamedTuple):
    source: int
    source_offset: int
    position: int
    byte_count: int


def layout_of(lengths: Sequence[int], first_offset: int = 0) -> PartitionLayout:
    return PartitionLayout(np.cumsum([first_offset, *lengths], dtype=np.int64))


def segments_of(plan: MergePlan) -> list[Segment]:
    lengths = np.diff(plan.positions)
    columns = plan.sources, plan.source_offsets, plan.positions[:-1], lengths
    return [Segment(*numbers) for numbers in zip(*(column.tolist() for column in columns), strict=True)]


def naive_segments(layouts: Sequence[PartitionLayout], first_offset: int) -> list[Segment]:
    segments: list[Segment] = []
    position = first_offset
    for partition in range(layouts[0].partition_count):
        for source, layout in enumerate(layouts):
            start, stop = layout.offsets[partition : partition + 2].tolist()
            if start == stop:
                continue
            last = segments[-1] if segments else None
            if last is not None and (last.source, last.source_offset + last.byte_count) == (source, start):
                segments[-1] = last._replace(byte_count=last.byte_count + stop - start)
            else:
                segments.append(Segment(source, start, position, stop - start))
            position += stop - start
    return segments


# Lengths are often 0, so that ranges of one source come to lie side by side.
layouts_strategy = st.integers(1, 6).flatmap(
    lambda partition_count: st.lists(
        st.builds(
            layout_of,
            st.lists(st.sampled_from([0, 0, 1, 8, 2**40]), min_size=partition_count, max_size=partition_count),
            st.integers(0, 100),
        ),
        min_size=1,
        max_size=6,
    )
)


@given(layouts_strategy, st.integers(0, 1000))
def test_a_plan_is_the_one_computed_range_by_range(layouts: list[PartitionLayout], first_offset: int) -> None:
    plan = plan_merge(layouts, first_offset)
    assert segments_of(plan) == naive_segments(layouts, first_offset)
    assert plan.source_count == len(layouts)
    assert plan.range_count == sum(int((layout.lengths > 0).sum()) for layout in layouts)


@given(layouts_strategy, st.integers(0, 1000))
def test_segments_and_ranges_tile_the_target(layouts: list[PartitionLayout], first_offset: int) -> None:
    plan = plan_merge(layouts, first_offset)
    assert plan.positions[0] == plan.target_offsets[0] == plan.start == first_offset
    assert plan.positions[-1] == plan.target_offsets[-1] == plan.stop
    assert (np.diff(plan.positions) > 0).all()
    assert np.diff(plan.target_offsets).tolist() == sum(layout.lengths for layout in layouts).tolist()  # type: ignore[union-attr]
    assert plan.byte_count == sum(layout.byte_count for layout in layouts)


@given(layouts_strategy)
def test_a_position_lies_in_the_partition_that_holds_its_byte(layouts: list[PartitionLayout]) -> None:
    plan = plan_merge(layouts, 64)
    for partition, (start, stop) in enumerate(zip(plan.target_offsets[:-1], plan.target_offsets[1:], strict=True)):
        for position in {int(start), int(stop) - 1} if start < stop else ():
            assert plan.partition_at(position) == partition


@given(layouts_strategy)
def test_a_position_belongs_to_the_source_of_its_segment(layouts: list[PartitionLayout]) -> None:
    plan = plan_merge(layouts, 64)
    for segment in segments_of(plan):
        assert plan.source_at(segment.position) == segment.source
        assert plan.source_at(segment.position + segment.byte_count - 1) == segment.source


@given(layouts_strategy, st.data())
def test_a_plan_of_some_partitions_copies_their_bytes_alone(
    layouts: list[PartitionLayout], data: st.DataObject
) -> None:
    count = layouts[0].partition_count
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    plan = plan_merge(layouts, 64, chosen)
    emptied = plan_merge([layout_of((layout.lengths * chosen).tolist()) for layout in layouts], 64)
    assert plan.target_offsets.tolist() == emptied.target_offsets.tolist()
    assert plan.range_count == emptied.range_count
    position = 64
    for partition, layout in itertools.product(np.flatnonzero(chosen), layouts):
        if layout.lengths[partition]:
            segment = np.searchsorted(plan.positions, position, side="right") - 1
            assert plan.source_offsets[segment] + position - plan.positions[segment] == layout.offsets[partition]
            position += int(layout.lengths[partition])
    assert plan.positions[-1] == plan.target_offsets[-1] == position


@pytest.mark.parametrize(
    ("lengths", "segment_count"),
    [
        ([[5, 5, 5]], 1),
        ([[5, 0, 5]], 1),
        ([[0, 0, 0]], 0),
        ([[5, 5, 5], [0, 0, 0]], 1),
        ([[5, 5, 5], [0, 1, 0]], 3),
        ([[5, 0, 0], [0, 0, 5]], 2),
        ([[5, 5], [5, 5]], 4),
        ([[0, 5], [5, 0]], 2),
    ],
)
def test_ranges_that_are_adjacent_in_source_and_target_are_one_segment(
    lengths: list[list[int]], segment_count: int
) -> None:
    assert plan_merge([layout_of(row) for row in lengths]).segment_count == segment_count


def test_the_end_of_one_source_is_not_the_beginning_of_another() -> None:
    # Offsets that would continue, but in another file.
    assert plan_merge([layout_of([10, 0]), layout_of([0, 10], first_offset=10)]).segment_count == 2


def test_a_plan_tells_itself_in_a_line() -> None:
    plan = plan_merge([layout_of([5, 5, 0]), layout_of([0, 7, 0])], 64)
    assert str(plan) == "2 sources × 3 partitions: 3 ranges in 2 segments, 17 bytes from byte 64 to 81"


def test_a_target_begins_with_its_first_byte_unless_told() -> None:
    assert plan_merge([layout_of([5])]).start == 0


def test_nothing_cannot_be_planned() -> None:
    with pytest.raises(ValueError, match="no sources"):
        plan_merge([])


def test_partition_counts_must_agree() -> None:
    with pytest.raises(ValueError, match="source 1 has 2 partitions, source 0 has 1"):
        plan_merge([layout_of([5]), layout_of([5, 5])])


@pytest.mark.parametrize("first_offset", [0, 64])
def test_what_no_file_can_hold_is_not_planned(first_offset: int) -> None:
    largest = 2**63 - 1 - first_offset
    layouts = [layout_of([7]), layout_of([largest - 7])]

    assert plan_merge(layouts, first_offset).stop == 2**63 - 1
    with pytest.raises(ValueError, match=f"no file can hold .*: {2**63} bytes"):
        plan_merge([*layouts, layout_of([1])], first_offset)


@given(layouts_strategy, st.integers(1, 20))
def test_how_many_partitions_are_planned_at_once_changes_nothing(
    layouts: list[PartitionLayout], block_ranges: int
) -> None:
    expected = segments_of(plan_merge(layouts, 64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "_BLOCK_RANGES", block_ranges)
        assert segments_of(plan_merge(layouts, 64)) == expected


@pytest.mark.parametrize("chosen", [None, [True, True, False, True], [False, True, True, True]])
@pytest.mark.parametrize("block_ranges", [2, 4])
def test_segments_are_joined_across_blocks(
    monkeypatch: pytest.MonkeyPatch, block_ranges: int, chosen: list[bool] | None
) -> None:
    mask = None if chosen is None else np.array(chosen)
    for lengths in itertools.product([0, 3], repeat=8):
        layouts = [layout_of(lengths[:4], 5), layout_of(lengths[4:], 2)]
        expected = segments_of(plan_merge(layouts, 64, mask))
        with monkeypatch.context() as patch:
            patch.setattr(plan_module, "_BLOCK_RANGES", block_ranges)
            assert segments_of(plan_merge(layouts, 64, mask)) == expected


def test_planning_takes_at_most_64_bytes_a_range() -> None:
    # Random lengths, so that hardly any ranges can be joined.
    lengths = np.random.default_rng(0).integers(1, 100, (500, 4000))
    layouts = [layout_of(row.tolist()) for row in lengths]
    tracemalloc.start()
    try:
        plan = plan_merge(layouts)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert plan.range_count == lengths.size
    assert held <= 24 * lengths.size
    assert peak <= 64 * lengths.size
