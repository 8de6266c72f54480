"""The rules by which a method is chosen, a case for each; and how a target is split where blocks can be shared."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuffle.merging.copy.choice import (
    CLONED_BYTES,
    RULES,
    Ladder,
    Span,
    Surroundings,
    choose,
    ladder_for,
    written_bytes,
)
from shuffle.merging.plan import MergePlan, plan_merge
from shuffle.options import METHOD_NAMES, MergeOptions, MethodName, TransferTo
from spill_format.layout import PartitionLayout

BLOCK = 4096
LARGE = 4 * CLONED_BYTES

ANYWHERE = Surroundings()
SHARING = Surroundings(shares_blocks=True)
SHARING_DIRTY = Surroundings(shares_blocks=True, sources_dirty=True)
REMOTE = Surroundings(server_copies=True)


def layout_of(*lengths: int, first_offset: int = 0) -> PartitionLayout:
    return PartitionLayout(np.cumsum([first_offset, *lengths], dtype=np.int64))


class TestRules:
    @pytest.mark.parametrize(
        ("rule", "options", "around", "first"),
        [
            ("off", {"transfer_to": "off"}, ANYWHERE, "gather"),
            ("off", {"transfer_to": "off"}, SHARING, "gather"),
            ("off", {"transfer_to": "off"}, REMOTE, "gather"),
            ("share", {"transfer_to": "auto"}, SHARING, "clone"),
            ("share", {"transfer_to": "on"}, SHARING, "clone"),
            ("share", {"transfer_to": "auto", "durable": True}, SHARING, "clone"),
            ("share", {"transfer_to": "auto", "durable": True}, SHARING_DIRTY, "clone"),
            ("server", {"transfer_to": "auto"}, REMOTE, "copy_file_range"),
            ("server", {"transfer_to": "on"}, REMOTE, "copy_file_range"),
            ("kernel", {"transfer_to": "on"}, ANYWHERE, "copy_file_range"),
            ("kernel", {"transfer_to": "on"}, SHARING_DIRTY, "copy_file_range"),
            ("gather", {"transfer_to": "auto"}, ANYWHERE, "gather"),
            ("gather", {"transfer_to": "auto", "durable": True}, ANYWHERE, "gather"),
            ("gather", {"transfer_to": "auto"}, SHARING_DIRTY, "gather"),
        ],
    )
    def test_the_first_rule_that_applies_decides(
        self, rule: str, options: dict[str, TransferTo], around: Surroundings, first: MethodName
    ) -> None:
        merge_options = MergeOptions(**options)  # type: ignore[arg-type]
        assert next(rule for rule in RULES if rule.applies(merge_options, around)).name == rule
        assert ladder_for(merge_options, around)[0] == first

    def test_each_rule_ends_with_what_always_works_and_says_why(self) -> None:
        for rule in RULES:
            assert rule.ladder[-1] == "buffered"
            assert rule.because
        assert RULES[-1].applies(MergeOptions(transfer_to="auto"), ANYWHERE)

    def test_off_never_copies_inside_the_kernel(self) -> None:
        assert set(ladder_for(MergeOptions(transfer_to="off"), SHARING)) == {"gather", "buffered"}

    @pytest.mark.parametrize(
        ("around", "refused", "ladder"),
        [
            (SHARING, {"clone"}, ("gather", "buffered")),
            (REMOTE, {"copy_file_range"}, ("gather", "buffered")),
            (SHARING, {"sendfile"}, ("clone", "gather", "buffered")),
        ],
    )
    def test_what_was_refused_before_is_not_asked_again(
        self, around: Surroundings, refused: set[MethodName], ladder: tuple[MethodName, ...]
    ) -> None:
        around = Surroundings(around.shares_blocks, server_copies=around.server_copies, refused=frozenset(refused))
        assert ladder_for(MergeOptions(transfer_to="auto"), around) == ladder

    @pytest.mark.parametrize("method", METHOD_NAMES)
    def test_a_method_that_was_asked_for_is_asked_again_and_gives_way_to_those_behind_it(
        self, method: MethodName
    ) -> None:
        around = Surroundings(refused=frozenset(METHOD_NAMES[:3]))
        ladder = ladder_for(MergeOptions(transfer_to="auto", method=method), around)
        assert ladder == METHOD_NAMES[METHOD_NAMES.index(method) :]


class TestSplitting:
    CLONE: Ladder = ("clone", "gather", "buffered")
    REST: Ladder = ("gather", "buffered")

    @pytest.mark.parametrize(
        ("layouts", "first_offset", "expected"),
        [
            pytest.param([layout_of(LARGE)], 0, [(0, LARGE, CLONE)], id="aligned alike"),
            pytest.param(
                [layout_of(LARGE), layout_of(LARGE)], 0, [(0, 2 * LARGE, CLONE)], id="neighbours are one span"
            ),
            pytest.param(
                [layout_of(LARGE + 100)],
                0,
                [(0, LARGE, CLONE), (LARGE, LARGE + 100, REST)],
                id="a ragged end",
            ),
            pytest.param(
                [layout_of(LARGE, first_offset=100)],
                100,
                [(100, BLOCK, REST), (BLOCK, LARGE, CLONE), (LARGE, LARGE + 100, REST)],
                id="both edges ragged",
            ),
            pytest.param([layout_of(LARGE, first_offset=512)], 0, [(0, LARGE, REST)], id="shifted against the source"),
            pytest.param([layout_of(CLONED_BYTES)], 0, [(0, CLONED_BYTES, CLONE)], id="just large enough"),
            pytest.param(
                [layout_of(CLONED_BYTES - 1)], 0, [(0, CLONED_BYTES - 1, REST)], id="too small to be worth it"
            ),
            pytest.param(
                [layout_of(CLONED_BYTES, first_offset=1)],
                1,
                [(1, CLONED_BYTES + 1, REST)],
                id="too small without its edges",
            ),
            pytest.param(
                [layout_of(LARGE, BLOCK, LARGE), layout_of(0, 8 * BLOCK, 0)],
                0,
                [
                    (0, LARGE + BLOCK, CLONE),
                    (LARGE + BLOCK, LARGE + 9 * BLOCK, REST),
                    (LARGE + 9 * BLOCK, 2 * LARGE + 9 * BLOCK, CLONE),
                ],
                id="large and small ranges",
            ),
            pytest.param([layout_of(LARGE, LARGE)] * 2, 0, [(0, 4 * LARGE, CLONE)], id="four that touch"),
            pytest.param([layout_of(0, 0)], 64, [], id="nothing"),
        ],
    )
    def test_whole_blocks_of_large_segments_are_cloned(
        self, layouts: list[PartitionLayout], first_offset: int, expected: list[Span]
    ) -> None:
        plan = plan_merge(layouts, first_offset)
        assert choose(plan, MergeOptions(transfer_to="auto"), SHARING) == expected

    def test_where_nothing_is_cloned_there_is_one_span(self) -> None:
        plan = plan_merge([layout_of(LARGE, 5, LARGE)], 64)
        assert choose(plan, MergeOptions(transfer_to="auto"), ANYWHERE) == [Span(plan.start, plan.stop, self.REST)]

    @given(
        lengths=st.integers(1, 4).flatmap(
            lambda count: st.lists(
                st.lists(
                    st.sampled_from([0, 1, BLOCK, CLONED_BYTES, LARGE, LARGE + 1]), min_size=count, max_size=count
                ),
                min_size=1,
                max_size=4,
            )
        ),
        first_offsets=st.lists(st.sampled_from([0, 1, 512, BLOCK]), min_size=5, max_size=5),
        block_bytes=st.sampled_from([512, BLOCK, 65536]),
    )
    def test_spans_tile_the_target_and_cloned_ones_are_whole_blocks_aligned_alike(
        self, lengths: list[list[int]], first_offsets: list[int], block_bytes: int
    ) -> None:
        layouts = [layout_of(*row, first_offset=first) for row, first in zip(lengths, first_offsets, strict=False)]
        plan = plan_merge(layouts, first_offsets[-1])
        around = Surroundings(shares_blocks=True, block_bytes=block_bytes)
        spans = choose(plan, MergeOptions(transfer_to="auto"), around)
        borders = [plan.start, *itertools.chain.from_iterable((span.start, span.stop) for span in spans), plan.stop]
        assert borders[::2] == borders[1::2]
        assert all(span.start < span.stop for span in spans)
        cloned = [span for span in spans if span.ladder[0] == "clone"]
        for span in cloned:
            assert span.start % block_bytes == span.stop % block_bytes == 0
            _assert_aligned_alike(plan, span, block_bytes)
        assert written_bytes(spans, around) == plan.byte_count - sum(span.stop - span.start for span in cloned)


def _assert_aligned_alike(plan: MergePlan, span: Span, block_bytes: int) -> None:
    """Each segment's part of a span is made of whole blocks in its source too."""
    position = span.start
    while position < span.stop:
        segment = int(np.searchsorted(plan.positions, position, side="right")) - 1
        source_offset = int(plan.source_offsets[segment]) + position - int(plan.positions[segment])
        assert source_offset % block_bytes == 0
        position = min(int(plan.positions[segment + 1]), span.stop)
        assert position % block_bytes == 0


@pytest.mark.parametrize(("around", "expected"), [(SHARING, 100), (ANYWHERE, LARGE + 100)])
def test_what_is_to_be_cloned_takes_room_where_blocks_cannot_be_shared(around: Surroundings, expected: int) -> None:
    plan = plan_merge([layout_of(LARGE + 100)])
    assert written_bytes(choose(plan, MergeOptions(method="clone"), around), around) == expected
