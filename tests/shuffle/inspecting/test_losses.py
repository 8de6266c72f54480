"""What gaps between messages, and an index, tell of what is lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from shuffle.inspecting.losses import Loss, gaps_between, losses_by_index, losses_by_scan, lossy_partitions
from spill_format import PartitionLayout
from spill_format.index import PartitionIndex
from spill_format.message_scan import FoundMessage, Scan

PARTITION_COUNT = 6
LENGTH = 100  # of each message here


def found(offset: int, partition: int, *, is_whole: bool = True, row_count: int = 7) -> FoundMessage:
    return FoundMessage(offset, 60, LENGTH - 60, partition, row_count, is_whole, 0, 0)


def told(messages: Sequence[FoundMessage], end: int, *, end_known: bool) -> list[Loss]:
    """The losses told of ranges from 0 to ``end``."""
    whole = [message for message in messages if message.is_whole]
    scan = Scan(list(messages), end if end_known else None)
    return losses_by_scan(scan, whole, gaps_between(whole, 0, end), PARTITION_COUNT)


@pytest.mark.parametrize(
    ("offsets", "end", "gaps"),
    [
        ([], 0, []),
        ([], 50, [(0, 50)]),
        ([0, 100], 200, []),
        ([50, 200], 300, [(0, 50), (150, 200)]),
        ([0], 170, [(100, 170)]),
    ],
)
def test_gaps_and_messages_tile_the_ranges(offsets: list[int], end: int, gaps: list[tuple[int, int]]) -> None:
    assert gaps_between([found(offset, 0) for offset in offsets], 0, end) == gaps


NOTHING_LEFT = Loss(0, 6, None, None)

CASES = {
    "all there": ([found(0, 1), found(100, 3)], 200, True, []),
    "no end": ([found(0, 1), found(100, 3)], 200, False, [Loss(3, 6, None, None)]),
    "nothing found": ([], 200, True, [NOTHING_LEFT]),
    "nothing found and no end": ([], 0, False, [NOTHING_LEFT]),
    "a gap between": ([found(0, 1), found(300, 3)], 400, True, [Loss(1, 4, None, None)]),
    "a gap within a partition": ([found(0, 3), found(300, 3)], 400, True, [Loss(3, 4, None, None)]),
    "a gap before": ([found(100, 2)], 200, True, [Loss(0, 3, None, None)]),
    "a gap behind": ([found(0, 2)], 200, True, [Loss(2, 6, None, None)]),
    "a damaged body": ([found(0, 1), found(100, 2, is_whole=False), found(200, 3)], 300, True, [Loss(2, 3, 7, 1)]),
    "a damaged body, and more": (
        [found(0, 1), found(100, 2, is_whole=False), found(300, 4)],
        400,
        True,
        [Loss(2, 3, 7, 1), Loss(2, 5, None, None)],
    ),
    "a body that is cut off": (
        [found(0, 1), found(100, 2, is_whole=False)],
        170,
        False,
        [Loss(2, 3, 7, 1), Loss(2, 6, None, None)],
    ),
}


@pytest.mark.parametrize(("messages", "end", "end_known", "losses"), CASES.values(), ids=CASES.keys())
def test_gaps_tell_partitions_by_what_surrounds_them(
    messages: list[FoundMessage], end: int, end_known: bool, losses: list[Loss]
) -> None:
    assert told(messages, end, end_known=end_known) == losses


def test_an_index_tells_exactly_what_is_missing() -> None:
    index = PartitionIndex(
        PartitionLayout(
            np.array([0, 200, 200, 300], dtype=np.int64),
            np.array([14, 0, 7], dtype=np.int64),
            np.zeros(3, dtype=np.uint32),
        ),
        alignment=8,
        metadata_lengths=np.full(3, 60, dtype=np.int32),
        body_lengths=np.full(3, 40, dtype=np.int64),
        footer_template=b"",
    )
    assert losses_by_index([found(0, 0), found(100, 0), found(200, 2)], index) == []
    assert losses_by_index([found(100, 0)], index) == [Loss(0, 1, 7, 1), Loss(2, 3, 7, 1)]
    assert losses_by_index([], index) == [Loss(0, 1, 14, 2), Loss(2, 3, 7, 1)]


def test_lossy_partitions_are_told_once_each() -> None:
    assert lossy_partitions([Loss(3, 6, None, None), Loss(1, 2, 7, 1), Loss(4, 5, 7, 1)]).tolist() == [1, 3, 4, 5]
    assert lossy_partitions([]).tolist() == []
