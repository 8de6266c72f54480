"""What rows are placed by: the hash of columns, their order, or the row's turn; and how people write that."""
# PURE
# PURE

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_NAME = r'\s*(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<bare>[^",\s][^,]*?))'
_ORDER = r"(?P<order>(?:\s*:\s*(?:asc|desc|nulls-first|nulls-last))*)"
_END = r"\s*(?P<end>,|$)"

_COLUMN = re.compile(_NAME + _END)
_SORT_KEY = re.compile(_NAME + _ORDER + _END)


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


@dataclass(frozen=True, slots=True)
class Placement:
    """What decides where a row goes: the hash of columns, their order, or the row's turn.

    Attributes:
        partition_count: P.
        by: columns whose hash decides.
        sort_keys: columns whose order decides.
        round_robin: rows go in turn.

    Raises:
        ValueError: none of the three decides, or more than one.
    """

    partition_count: int
    by: tuple[str, ...] = ()
    sort_keys: tuple[SortKey, ...] = ()
    round_robin: bool = False

    def __post_init__(self) -> None:
        given = bool(self.by) + bool(self.sort_keys) + self.round_robin
        if given != 1:
            raise ValueError(
                f"rows are placed either by columns, by range or round_robin, and {given} of them are given"
            )

    @property
    def columns(self) -> list[str]:
        """The columns whose values decide."""
        return [*self.by, *(key.column for key in self.sort_keys)]


def parse_columns(text: str) -> tuple[str, ...]:
    """Parse names of columns, separated by commas. Double quotes hold a name with a comma in it.

    Raises:
        ValueError: a name is empty.
    """
    return tuple(_name(item) for item in _items(_COLUMN, text))


def parse_sort_keys(text: str) -> tuple[SortKey, ...]:
    """Parse columns and their order, separated by commas: ``a``, ``a:desc``, ``a:desc:nulls-first,b:nulls-last``.

    Raises:
        ValueError: a name is empty, or an order contradicts itself.
    """
    return tuple(_sort_key(item) for item in _items(_SORT_KEY, text))


def sort_keys_of(keys: str | SortKey | Sequence[str | SortKey]) -> tuple[SortKey, ...]:
    """Make sort keys from text, from a key, or from several of them."""
    items = [keys] if isinstance(keys, (str, SortKey)) else keys
    return tuple(key for item in items for key in (parse_sort_keys(item) if isinstance(item, str) else [item]))


def _items(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    items, position = [], 0
    while True:
        item = pattern.match(text, position)
        if item is None:
            is_quoted = text[position:].lstrip().startswith('"')
            raise ValueError(
                f"{text!r} has {'something besides a name in quotes' if is_quoted else 'an empty name'} in it"
            )
        items.append(item)
        if not item["end"]:
            return items
        position = item.end()


def _name(item: re.Match[str]) -> str:
    return item["bare"] if item["quoted"] is None else item["quoted"].replace('""', '"')


def _sort_key(item: re.Match[str]) -> SortKey:
    words = [word.strip() for word in item["order"].split(":")[1:]]
    directions = [word for word in words if word in {"asc", "desc"}]
    places = [word for word in words if word not in directions]
    if len(directions) > 1 or len(places) > 1:
        raise ValueError(
            f"{item.group().strip(', ')!r} has more than one order: at most asc or desc, and where nulls go"
        )
    is_descending = directions == ["desc"]
    # As in Spark, nulls are the least unless something else is said.
    return SortKey(_name(item), is_descending, places == ["nulls-first"] if places else not is_descending)
