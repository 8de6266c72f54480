"""``shuffle diff``: whether two files hold the same rows, partition by partition."""

from __future__ import annotations

import click

from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, json_option, output_options
from shuffle.cli.terminal import progress_bar, say
from shuffle.wording import as_json_text

EXIT_DIFFERENT = 1


@click.command(
    "diff",
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
    from shuffle.inspecting.comparison import first_difference

    with progress_bar(None, " partitions", "comparing", shown=output.bar_shown) as progress:
        difference = first_difference(first, second, any_order=any_order, progress=progress)
    if as_json:
        found = None if difference is None else difference.as_dict()
        click.echo(as_json_text({"first": first, "second": second, "same": difference is None, "difference": found}))
    elif difference is not None:
        click.echo(f"{first} and {second} differ: {difference}")
    elif not output.quiet:
        say(f"{first} and {second} hold the same rows")
    return 0 if difference is None else EXIT_DIFFERENT
