"""``shuffle diff``: whether two files hold the same rows, partition by partition."""

from __future__ import annotations

import click

from shuffle.cli.command import Command
from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, json_option, output_options
from shuffle.cli.terminal import progress_bar, say, say_result
from shuffle.wording import as_json_text

EXIT_DIFFERENT = 1


@click.command(
    "diff",
    cls=Command,
    sections={"Comparison": ["any_order"]},
    context_settings=CONTEXT_SETTINGS,
    short_help="Compare the rows of two files, partition by partition.",
    epilog="""\b
Examples:
  shuffle diff before.arrow after.arrow
  shuffle diff ours.arrow theirs.arrow --any-order && echo same rows

\b
Exit codes:
  0  the same rows
  1  different rows
  2  a file cannot be read, or wrong usage
""",
)
@click.argument("first", metavar="A", type=PATH)
@click.argument("second", metavar="B", type=PATH)
@click.option("--any-order", is_flag=True, help="Rows may come in any order within their partition.")
@json_option
@output_options
def command(first: str, second: str, *, any_order: bool, as_json: bool, output: Output) -> int:
    """Tell whether each partition of A holds the same rows as that of B, and name the first difference.

    How rows are cut into batches, compressed and aligned does not count, nor does metadata. NaN equals NaN.
    """
    from shuffle.inspecting.comparison import diff

    with progress_bar(None, " partitions", "comparing", shown=output.bar_shown) as progress:
        comparison = diff(first, second, any_order=any_order, progress=progress)
    if as_json:
        click.echo(as_json_text(comparison.as_dict()))
    elif not comparison.same:
        say_result(str(comparison), output.bar_shown)
    elif not output.quiet:
        say(str(comparison))
    return 0 if comparison.same else EXIT_DIFFERENT
