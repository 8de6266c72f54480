"""What rows are placed by, as options take it: lists of columns, alone or with the order in which values are sorted."""

from __future__ import annotations

import re

import click

from shuffle.rows.placement import SortKey

_NAME = r'\s*(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<bare>[^",\s][^,]*?))'
_ORDER = r"(?P<order>(?:\s*:\s*(?:asc|desc|nulls-first|nulls-last))*)"
_END = r"\s*(?P<end>,|$)"

_COLUMN = re.compile(_NAME + _END)
_SORT_KEY = re.compile(_NAME + _ORDER + _END)


class Columns(click.ParamType["tuple[str, ...]"]):
    """Names of columns, separated by commas; one with a comma in it, or a quote before it, is put in double quotes."""

    name = "columns"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names; click's usage error where one is empty."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(_name(item) for item in _items(_COLUMN, str(value)))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class SortKeys(click.ParamType["tuple[SortKey, ...]"]):
    """Columns and their order, separated by commas: ``a``, ``a:desc``, ``a:desc:nulls-first,b:nulls-last``."""

    name = "sort keys"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[SortKey, ...]:
        """The keys; click's usage error where a name is empty, or an order contradicts itself."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(_sort_key(item) for item in _items(_SORT_KEY, str(value)))
        except ValueError as error:
            self.fail(str(error), param, ctx)


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
