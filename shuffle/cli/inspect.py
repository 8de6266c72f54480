"""``shuffle inspect``: how large partitions are, how even, how compressed, and whether the files are sound."""

from __future__ import annotations

from typing import get_args

import click

from shuffle.cli.command import Command
from shuffle.cli.inspect_text import as_csv, as_text
from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, json_option, output_options
from shuffle.cli.terminal import EXIT_CODES, progress_bar, say, say_error
from shuffle.inspecting.inspection import inspect_found
from shuffle.inspecting.kinds import find
from shuffle.inspecting.sizes import Order
from shuffle.wording import as_json_text

_DEFAULT_TOP = 20


@click.command(
    "inspect",
    cls=Command,
    sections={"Partitions": ["order", "top"], "Output": ["csv_wanted", "picture"]},
    context_settings=CONTEXT_SETTINGS,
    short_help="Show partitions, sizes, skew and codec of files.",
    epilog="""\b
Examples:
  shuffle inspect merged.arrow
  shuffle inspect spills/ --sort rows --top 5
  shuffle inspect spills/ --plot spills.html
  shuffle inspect merged.arrow --csv | sort -t, -k4 -n
  shuffle inspect merged.arrow --json | jq '.files[0].skew'
""",
)
@click.argument("paths", nargs=-1, required=True, metavar="FILE|DIR…", type=PATH)
@click.option(
    "--sort",
    "order",
    type=click.Choice(get_args(Order)),
    help="The order of partitions: by number, or largest first.  [default: partition if all are shown, else size]",
)
@click.option(
    "--top",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Show at most N partitions, and N files.  [default: {_DEFAULT_TOP}; with --json and --csv all]",
)
@click.option("--csv", "csv_wanted", is_flag=True, help="Print a line for each partition of each file, as CSV.")
@click.option(
    "--plot",
    "picture",
    metavar="PICTURE",
    type=PATH,
    help="Draw the sizes into a .png, .svg or .html file, which is replaced if it exists. Several files get a second "
    "picture: how much each file has of each partition. Needs matplotlib: pip install 'shuffle-merge[plot]'.",
)
@json_option
@output_options
def command(
    paths: tuple[str, ...],
    *,
    order: Order | None,
    top: int | None,
    csv_wanted: bool,
    picture: str | None,
    as_json: bool,
    output: Output,
) -> int:
    """Show what files say of themselves: partitions, rows, bytes, batches, alignment, codec, what a merge could clone,
    and skew (the largest partition over the median, and Gini's coefficient). Several files are summed up, too.

    A directory stands for the *.arrow files in it. Everything but the rows is checked; `shuffle verify` checks the
    rows, too. The exit code is 1 if a file is damaged, 2 if a file cannot be read.

    Spark's shuffle files, and directories of them, show sizes, checksums and codecs. Pushed partitions, which Spark's
    push-based shuffle makes, show chunks and the maps in them.
    """
    if as_json and csv_wanted:
        raise click.UsageError("--json or --csv, not both", click.get_current_context())
    if picture is not None:
        from shuffle.cli.pictures import check_picture

        check_picture(picture)
    found = find(paths)
    with progress_bar(len(found), " files", "inspecting", shown=output.bar_shown and len(found) > 1) as progress:
        inspection = inspect_found(found, progress)
    for result in inspection.results:
        if result.problem is not None:
            say_error(f"damaged: {result.problem}" if result.state == "damaged" else result.problem)
    if as_json:
        click.echo(as_json_text(inspection.as_dict(order, top)))
    elif csv_wanted:
        click.echo(as_csv(inspection, order, top), nl=False)
    elif inspection.files:
        click.echo(as_text(inspection, order, _DEFAULT_TOP if top is None else top))
    if picture is not None:
        from shuffle.cli.pictures import draw

        draw(inspection, picture)
        if not output.quiet:
            say(f"{picture}: drawn")
    return EXIT_CODES[inspection.state]
