"""What decides where a row goes: the hash of columns, their order, or the row's turn."""

from __future__ import annotations

from typing import NamedTuple


class SortKey(NamedTuple):
    """A column that rows are sorted by.

    Attributes:
        column: its name.
        is_descending: the largest value comes first.
        is_nulls_first: nulls come before all values.
    """

    column: str
    is_descending: bool
    is_nulls_first: bool


class Placement(NamedTuple):
    """What decides where a row goes: the first or the second, if it is not empty, else its turn.

    Attributes:
        by: columns whose hash decides.
        sort_keys: columns whose order decides.
        round_robin: whether rows go in turn.
        partition_count: P.
    """

    by: tuple[str, ...]
    sort_keys: tuple[SortKey, ...]
    round_robin: bool
    partition_count: int

    @property
    def columns(self) -> list[str]:
        """Those whose values are needed."""
        return [*self.by, *(key.column for key in self.sort_keys)]
