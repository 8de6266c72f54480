"""Finds the rows that each partition of a damaged file lost, from the record batches that are left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shuffle.inspecting.places import sound_ranges
from shuffle.wording import counted
from spill_format.index import PartitionIndex
from spill_format.layout import Int64Array
from spill_format.message_scan import FoundMessage, Scan


@dataclass(frozen=True, slots=True)
class Loss:
    """Rows that some partitions lost, or may have lost.

    Attributes:
        start, stop: the loss lies somewhere in the partitions from ``start`` to ``stop - 1``.
        row_count, batch_count: lost rows and batches; None if unknown, and then perhaps nothing is lost.
    """

    start: int
    stop: int
    row_count: int | None
    batch_count: int | None

    def as_dict(self) -> dict[str, Any]:
        """The loss as JSON has it."""
        return {
            "first_partition": self.start,
            "last_partition": self.stop - 1,
            "row_count": self.row_count,
            "batch_count": self.batch_count,
        }

    def __str__(self) -> str:
        where = f"partition {self.start}"
        if self.start != self.stop - 1:
            where = f"partitions {self.start} to {self.stop - 1}"
        if self.row_count is None or self.batch_count is None:
            return f"{where} may have lost rows; nothing is left that tells how many"
        return f"{where} lost {counted(self.row_count, 'row')} in {counted(self.batch_count, 'batch')}"


def lossy_partitions(losses: Iterable[Loss]) -> Int64Array:
    """Return the numbers, ascending, of all partitions that lost rows or may have."""
    numbers = [np.arange(loss.start, loss.stop) for loss in losses]
    return np.unique(np.concatenate(numbers)) if numbers else np.empty(0, dtype=np.int64)


def gaps_between(messages: Iterable[FoundMessage], start: int, stop: int) -> list[tuple[int, int]]:
    """Find the bytes of ``[start, stop)`` that no message covers."""
    gaps = []
    for message in messages:
        if start < message.start:
            gaps.append((start, message.start))
        start = message.stop
    return [*gaps, (start, stop)] if start < stop else gaps


def losses_by_index(messages: Sequence[FoundMessage], index: PartitionIndex) -> list[Loss]:
    """Return what is lost, by comparing the remaining messages with the index."""
    assert index.layout.rows is not None  # an index always has them
    count = index.layout.partition_count
    partitions = np.array([message.partition for message in messages], dtype=np.int64)
    rows = np.zeros(count, dtype=np.int64)
    np.add.at(rows, partitions, np.array([message.row_count for message in messages], dtype=np.int64))
    lost_rows = index.layout.rows - rows
    lost_batches = np.diff(index.first_messages) - np.bincount(partitions, minlength=count)
    # If other batches stand where the written batches were, the loss is unknown.
    is_replaced = ((lost_batches == 0) & ~sound_ranges(messages, index)) | (lost_rows < 0)
    return [
        Loss(p, p + 1, None, None) if is_replaced[p] else Loss(p, p + 1, int(lost_rows[p]), int(lost_batches[p]))
        for p in np.flatnonzero((lost_batches != 0) | is_replaced).tolist()
    ]


def losses_by_scan(
    scan: Scan, messages: Sequence[FoundMessage], gaps: Sequence[tuple[int, int]], partition_count: int
) -> list[Loss]:
    """Return what is lost without an index, from the gaps between messages: partitions never decrease along a file.

    Args:
        scan: all messages that were found, damaged messages too.
        messages: the remaining whole messages.
        gaps: gaps between the remaining messages, from ``gaps_between``.
        partition_count: number of partitions of the file.
    """
    broken = {message.start: message for message in scan.messages if not message.is_whole}
    before = {message.stop: message.partition for message in messages}
    behind = {message.start: message.partition for message in messages}
    losses: list[Loss] = []
    for start, stop in gaps:
        inside = list(_tiling(start, stop, broken))
        reached = inside[-1].stop if inside else start
        losses += [Loss(message.partition, message.partition + 1, message.row_count, 1) for message in inside]
        if reached != stop:
            # The end of a message that was cut off lies behind the end of the file: from there on nothing is known.
            first = inside[-1].partition if inside else before.get(start, 0)
            losses.append(Loss(first, behind.get(stop, partition_count - 1) + 1, None, None))
    is_end_known = scan.ranges_end is not None
    if not is_end_known and (not gaps or gaps[-1][1] in behind):
        last = messages[-1].partition if messages else 0
        losses.append(Loss(last, partition_count, None, None))
    return losses


def _tiling(start: int, stop: int, broken: dict[int, FoundMessage]) -> Iterator[FoundMessage]:
    """The damaged messages that follow each other from the start of a gap on."""
    while start < stop and start in broken:
        yield broken[start]
        start = broken[start].stop
