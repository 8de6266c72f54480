"""Types of options that name key columns: lists of columns, alone or with a sort order for each."""

from __future__ import annotations

import click

from shuffle.rows.placement import SortKey, parse_columns, parse_sort_keys


class Columns(click.ParamType["tuple[str, ...]"]):
    """An option's list of column names, read by ``parse_columns``."""

    name = "columns"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the names; raise click's usage error if a name is empty."""
        try:
            return value if isinstance(value, tuple) else parse_columns(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class SortKeys(click.ParamType["tuple[SortKey, ...]"]):
    """An option's list of columns with sort orders, read by ``parse_sort_keys``."""

    name = "sort keys"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[SortKey, ...]:
        """Return the keys; raise click's usage error if a name is empty, or an order contradicts itself."""
        try:
            return value if isinstance(value, tuple) else parse_sort_keys(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
