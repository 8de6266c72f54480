"""``shuffle inspect``: how large partitions are, how even, how compressed, and whether the files are sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import click

from shuffle.cli.files import partitioned_files
from shuffle.cli.inspect_text import as_csv, as_text
from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, json_option, output_options
from shuffle.cli.spark import inspect_spark, spark_files
from shuffle.cli.terminal import EXIT_DAMAGED, EXIT_ERROR, describe, progress_bar, say, say_error
from shuffle.inspecting.inspection import FileInspection, inspect_file, is_damage
from shuffle.inspecting.sizes import Order, combined
from shuffle.wording import as_json_text
from spill_format.errors import SpillError

_DEFAULT_TOP = 20


@click.command(
    "inspect",
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
    help="Draw the sizes into a .png, .svg or .html, which is replaced if it exists; of several files also which file "
    "has how much of which partition. Needs matplotlib: pip install 'shuffle-merge[plot]'.",
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
    """Show what files say of themselves: partitions, rows, bytes, batches, skew (the largest partition over the
    median, and Gini's coefficient), alignment, what a merge could clone, codec; of several files also what they have
    together; and what to do about it.

    A directory stands for the *.arrow files in it. Everything but the rows is checked on the way; `shuffle verify`
    checks these, too. Exit code 1 if a file is damaged.

    Of Spark's shuffle files, and directories of them, sizes, checksums and codecs are shown; of merged partitions of
    its push-based shuffle also chunks, and which maps are in them.
    """
    if as_json and csv_wanted:
        raise click.UsageError("--json or --csv, not both", click.get_current_context())
    if picture is not None:
        from shuffle.cli.pictures import check_picture

        check_picture(picture)
    if (spark := spark_files(paths)) is not None:
        if csv_wanted or picture is not None:
            raise click.ClickException("--csv and --plot are for Arrow files: of Spark's there are --json and tables")
        return inspect_spark(spark, order, top, as_json=as_json)
    files, problems, code = _inspect_all(partitioned_files(paths), output)
    if as_json:
        click.echo(as_json_text(_as_dict(files, problems, order or "partition", top)))
    elif csv_wanted:
        click.echo(as_csv(files, order or "partition", top), nl=False)
    elif files:
        click.echo(as_text(files, order, _DEFAULT_TOP if top is None else top))
    if picture is not None:
        from shuffle.cli.pictures import draw

        draw(files, picture)
        if not output.quiet:
            say(f"{picture}: drawn")
    return code


def _inspect_all(paths: Sequence[str], output: Output) -> tuple[list[FileInspection], list[dict[str, str]], int]:
    """The sound files, what is wrong with the others, and the exit code; what is wrong is also said on stderr."""
    files, problems, code = [], [], 0
    with progress_bar(len(paths), " files", "inspecting", shown=output.bar_shown and len(paths) > 1) as progress:
        for path in paths:
            try:
                files.append(inspect_file(path))
            except (SpillError, OSError) as error:
                damaged = is_damage(error)
                code = max(code, EXIT_DAMAGED if damaged else EXIT_ERROR)
                state = "damaged" if damaged else "unreadable"
                problems.append({"path": path, "state": state, "problem": describe(error)})
                say_error(f"damaged: {describe(error)}" if damaged else describe(error))
            progress(1)
    return files, problems, code


def _as_dict(
    files: Sequence[FileInspection], problems: Sequence[dict[str, str]], order: Order, top: int | None
) -> dict[str, Any]:
    def with_partitions(file: FileInspection) -> dict[str, Any]:
        shown = file.sizes.ordered(order)[:top]
        return {"state": "ok", **file.as_dict(), "partitions": file.sizes.partitions_as_dicts(shown)}

    together = combined([file.sizes for file in files])
    return {
        "files": [with_partitions(file) for file in files] + list(problems),
        "together": None if together is None else together.as_dict(),
    }
