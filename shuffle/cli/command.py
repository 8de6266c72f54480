"""What every command of this program is: options under headings, and refused where one value is given twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import click

_LAST_SECTIONS = {"Reports": ["as_json", "log", "metrics", "quiet", "progress"]}
"""Headings that commands share."""


class Command(click.Command):
    """A command whose help lists options under headings.

    Args:
        sections: for each heading the names of options, as the command's function has them. Headings that commands
            share follow; other options come last.
    """

    def __init__(self, *arguments: Any, sections: Mapping[str, Sequence[str]], **others: Any) -> None:
        super().__init__(*arguments, **others)
        self._sections = {**sections, **_LAST_SECTIONS}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        options = (param for param in self.get_params(ctx) if isinstance(param, click.Option))
        records = {option.name: record for option in options if (record := option.get_help_record(ctx)) is not None}
        for heading, names in [*self._sections.items(), ("Others", list(records))]:
            if found := [records.pop(name) for name in names if name in records]:
                with formatter.section(heading):
                    formatter.write_dl(found)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments; click's usage error where an option is given twice that takes one value."""
        if not ctx.resilient_parsing:  # of a line that is still being completed
            _, _, order = self.make_parser(ctx).parse_args(list(args))
            for parameter, count in Counter(order).items():
                if count > 1 and isinstance(parameter, click.Option) and not _may_be_repeated(parameter):
                    name = max(parameter.opts, key=len)
                    raise click.UsageError(f"{name} is given {count} times, and takes one value", ctx)
        return super().parse_args(ctx, args)


def _may_be_repeated(option: click.Option) -> bool:
    """Whether nothing is lost where an option stands twice: it collects values, or says the same again."""
    return option.multiple or option.count or (option.is_flag and not option.secondary_opts)
