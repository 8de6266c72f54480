"""Options about CSV inputs, which become one object."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import click

from shuffle.cli.options import Function, given
from shuffle.rows.csv_options import CsvOptions

_TYPED = re.compile(
    r'\s*(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<bare>[^",:\s][^,:]*?))\s*:\s*(?P<type>\w+(?:[(\[][^)\]]*[)\]])?)\s*(?:,|$)'
)


class ColumnTypes(click.ParamType["dict[str, str]"]):
    """Columns and their types, separated by commas: ``zip:string,price:decimal(15,2)``."""

    name = "column types"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, str]:
        """The types by name; click's usage error where something else is in the text."""
        types: dict[str, str] = {}
        position = 0
        while position < len(value):
            item = _TYPED.match(value, position)
            if item is None:
                self.fail(f"{value[position:]!r} is not COL:TYPE, as in zip:string,price:decimal(15,2)", param, ctx)
            name = item["bare"] if item["quoted"] is None else item["quoted"].replace('""', '"')
            if name in types:
                self.fail(f"{name!r} is given more than once", param, ctx)
            types[name] = item["type"]
            position = item.end()
        return types


def csv_options(function: Function) -> Callable[..., Any]:
    """Options about CSV inputs; the command gets them as ``csv``, None where none was given."""

    @click.option("--csv-delimiter", metavar="CHAR", help="Character between values; \\t is a tab.  [default: ,]")
    @click.option(
        "--csv-header/--no-csv-header",
        default=None,
        help="Whether the first line has the columns' names. Without names columns are f0, f1, ….  [default: it has]",
    )
    @click.option(
        "--csv-null",
        "csv_nulls",
        multiple=True,
        metavar="TEXT",
        help="Text that stands for null, unless it is quoted; may be given several times.  [default: an empty field]",
    )
    @click.option(
        "--csv-types",
        type=ColumnTypes(),
        metavar="COL:TYPE,…",
        help="Types of columns, as in zip:string,price:decimal(15,2). Other types are guessed from the first MiB; text "
        "that a number would change (007) stays text.",
    )
    @click.option(
        "--csv-encoding", metavar="NAME", help="Encoding of the text, as in utf-8, latin-1, cp1252.  [default: utf-8]"
    )
    @functools.wraps(function)
    def with_csv(
        *arguments: Any,
        csv_delimiter: str | None,
        csv_header: bool | None,
        csv_nulls: tuple[str, ...],
        csv_types: dict[str, str] | None,
        csv_encoding: str | None,
        **others: Any,
    ) -> Any:
        values = {
            "delimiter": None if csv_delimiter is None else csv_delimiter.replace("\\t", "\t"),
            "header": csv_header,
            "nulls": csv_nulls or None,
            "types": csv_types,
            "encoding": csv_encoding,
        }
        try:
            csv = CsvOptions(**given(values)) if given(values) else None
        except ValueError as error:  # which begins with the option's name
            raise click.UsageError(f"--csv-{error}", click.get_current_context()) from error
        return function(*arguments, csv=csv, **others)

    return with_csv
