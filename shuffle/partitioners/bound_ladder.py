"""Rows among sorted bounds, digit by digit; and bounds from a sample.

A row climbs: its first digit is looked up among the bounds' first digits; rows that meet none are placed, the others go
on with the next digit, among the bounds that begin as they do. So a long string costs no more than what it shares
with a bound. Types and orders are sort_digits' concern.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shuffle.partitioners.murmur3 import Int64s
from shuffle.partitioners.sort_digits import DigitColumn, UInt64s

_NULL_STEP = -1


@dataclass(frozen=True, slots=True)
class _Rung:
    """One digit of the bounds.

    Attributes:
        column, step: which digit it is.
        has_nulls: whether a bound is null in this column.
        distinct: the bounds' digits, sorted, each once.
        keys: of each bound, in order: the first bound with the same digits before this one, times
            ``len(distinct) + 1``, plus the place of this digit in ``distinct``. They ascend.
    """

    column: int
    step: int
    has_nulls: bool
    distinct: UInt64s
    keys: Int64s


class BoundLadder:
    """Sorted bounds, ready to be searched. Immutable: any number of threads may share one."""

    def __init__(self, bounds: Sequence[DigitColumn], bound_count: int) -> None:
        self._rungs: list[_Rung] = []
        everyone, first_alike = np.arange(bound_count), np.zeros(bound_count, np.int64)
        for position, column in enumerate(bounds):
            for step in range(_NULL_STEP, column.digit_count()):
                distinct, ranks = np.unique(_digits(column, step, everyone), return_inverse=True)
                keys = first_alike * (len(distinct) + 1) + ranks
                first_alike = np.searchsorted(keys, keys)
                self._rungs.append(_Rung(position, step, column.has_nulls, distinct, keys))

    def count_below(self, columns: Sequence[DigitColumn], row_count: int) -> Int64s:
        """How many bounds sort before each row: int64, shape ``(row_count,)``."""
        below, rows = np.zeros(row_count, np.int64), np.arange(row_count)
        for rung in self._rungs:
            column = columns[rung.column]
            if not len(rung.keys) or not len(rows):
                break
            if rung.step == _NULL_STEP and not (rung.has_nulls or column.has_nulls):
                continue
            digits = _digits(column, rung.step, rows)
            places = np.searchsorted(rung.distinct, digits)
            keys = below[rows] * (len(rung.distinct) + 1) + places
            found = np.searchsorted(rung.keys, keys)
            below[rows] = found
            # A place past the last one meets nothing; "clip" compares it with the last, which differs.
            is_alike = rung.distinct.take(places, mode="clip") == digits
            is_alike &= rung.keys.take(found, mode="clip") == keys
            rows = rows[is_alike]
        return below


def quantile_groups(group_ends: Int64s, partition_count: int) -> list[int]:
    """The groups of equal rows after which to cut a sorted sample into ``partition_count`` parts, ascending.

    ``group_ends[g]`` is the number of rows in groups 0 … g. Each cut is the one nearest to an even share of the rows
    and partitions that are left, so that a value too frequent for one partition does not spoil the others' share, as it
    does in Spark. Fewer cuts than ``partition_count - 1`` when the groups run out.
    """
    cuts: list[int] = []
    row_count = int(group_ends[-1]) if len(group_ends) else 0
    start = next_group = 0
    for partitions_left in range(partition_count, 1, -1):
        if next_group == len(group_ends):
            break
        ideal = start + (row_count - start) / partitions_left
        group = int(np.searchsorted(group_ends, ideal))
        if group > next_group and ideal - group_ends[group - 1] < group_ends[group] - ideal:
            group -= 1
        cuts.append(group)
        start, next_group = int(group_ends[group]), group + 1
    return cuts


def _digits(column: DigitColumn, step: int, rows: Int64s) -> UInt64s:
    return column.null_digit(rows) if step == _NULL_STEP else column.digit(step, rows)
