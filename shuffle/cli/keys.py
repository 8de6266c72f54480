"""What rows are placed by, as options take it: lists of columns, alone or with the order in which values are sorted."""

from __future__ import annotations

import click

from shuffle.rows.placement import SortKey, parse_columns, parse_sort_keys


class Columns(click.ParamType["tuple[str, ...]"]):
    """Names of columns, as ``parse_columns`` takes them."""

    name = "columns"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names; click's usage error where one is empty."""
        try:
            return value if isinstance(value, tuple) else parse_columns(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class SortKeys(click.ParamType["tuple[SortKey, ...]"]):
    """Columns and their order, as ``parse_sort_keys`` takes them."""

    name = "sort keys"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[SortKey, ...]:
        """The keys; click's usage error where a name is empty, or an order contradicts itself."""
        try:
            return value if isinstance(value, tuple) else parse_sort_keys(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
