"""Rows among sorted bounds, digit by digit; and bounds from a sample.

A row climbs: its first digit is looked up among the bounds' first digits; rows that meet none are placed, the others go
on with the next digit, among the bounds that begin as they do. So a long string costs no more than what it shares
with a bound. Types and orders are sort_digits' concern.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from shuffle.arrays.memory import Bools
from shuffle.arrays.murmur3 import Int64s
from shuffle.arrays.sort_digits import DigitColumn, UInt64s

T = TypeVar("T", np.uint64, np.int64)

_NULL_STEP = -1

# Digits and places of this many rows stay in the cache.
_ROWS_PER_BLOCK = 1 << 14

# The searches of keys up to this one are made once, so that a search is a look into a table that stays in the cache.
_LARGEST_TABLE_KEY = 1 << 16


@dataclass(frozen=True, slots=True)
class _Rung:
    """One digit of the bounds.

    Attributes:
        column, step: which digit it is.
        has_nulls: whether a bound is null in this column.
        distinct: the bounds' digits, sorted, each once.
        keys: of each bound, in order: the first bound with the same digits before this one, times
            ``len(distinct) + 1``, plus the place of this digit in ``distinct``. They ascend.
        table: how many keys are less than k, for k from 0 to one past the last key; None when it would be large.
    """

    column: int
    step: int
    has_nulls: bool
    distinct: UInt64s
    keys: Int64s
    table: Int64s | None

    def climb(self, digits: UInt64s, first_alike: Int64s) -> tuple[Int64s, Bools]:
        """How many bounds sort before each row, going by the digits so far, and whether a bound has the same ones."""
        places = _count_less(self.distinct, digits)
        keys = first_alike * (len(self.distinct) + 1) + places
        below = _count_less(self.keys, keys) if self.table is None else self.table.take(keys, mode="clip")
        # A place past the last one meets nothing; "clip" compares it with the last, which differs.
        is_alike: Bools = self.distinct.take(places, mode="clip") == digits
        is_alike &= self.keys.take(below, mode="clip") == keys
        return below, is_alike


class BoundLadder:
    """Sorted bounds, ready to be searched. Immutable: any number of threads may share one."""

    def __init__(self, bounds: Sequence[DigitColumn], bound_count: int) -> None:
        self._rungs: list[_Rung] = []
        if not bound_count:
            return
        everyone, first_alike = np.arange(bound_count), np.zeros(bound_count, np.int64)
        for position, column in enumerate(bounds):
            for step in range(_NULL_STEP, column.digit_count()):
                distinct, ranks = np.unique(_digits(column, step, everyone), return_inverse=True)
                keys = first_alike * (len(distinct) + 1) + ranks
                first_alike = np.searchsorted(keys, keys)
                last = int(keys[-1])
                table = np.searchsorted(keys, np.arange(last + 2)) if last <= _LARGEST_TABLE_KEY else None
                self._rungs.append(_Rung(position, step, column.has_nulls, distinct, keys, table))

    def count_below(self, columns: Sequence[DigitColumn], row_count: int) -> Int64s:
        """How many bounds sort before each row: int64, shape ``(row_count,)``."""
        below = np.zeros(row_count, np.int64)
        for start in range(0, row_count, _ROWS_PER_BLOCK):
            rows = np.arange(start, min(start + _ROWS_PER_BLOCK, row_count))
            for rung in self._rungs:
                column = columns[rung.column]
                if rung.step == _NULL_STEP and not (rung.has_nulls or column.has_nulls):
                    continue
                below[rows], is_alike = rung.climb(_digits(column, rung.step, rows), below[rows])
                rows = rows[is_alike]
                if not len(rows):
                    break
        return below


def _count_less(ascending: npt.NDArray[T], values: npt.NDArray[T]) -> Int64s:
    """How many of ``ascending``, which has at least one, are less than each value: a left searchsorted.

    All values halve their intervals together: no branch to mispredict makes it twice as fast as numpy's from 200 values
    on, as long as the values fit in the cache.
    """
    step = 1 << (len(ascending).bit_length() - 1)
    padded = np.full(2 * step, np.iinfo(ascending.dtype).max, ascending.dtype)
    padded[: len(ascending)] = ascending
    counts = np.zeros(len(values), np.int64)
    while step:
        counts += (padded.take(counts + (step - 1)) < values).view(np.int8) * np.int64(step)
        step >>= 1
    return counts


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
