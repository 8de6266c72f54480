"""``shuffle inspect``: how large partitions are, how even, how compressed, and whether the files are sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import click

from shuffle.cli.files import partitioned_files
from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, json_option, output_options
from shuffle.cli.terminal import EXIT_DAMAGED, EXIT_ERROR, describe, progress_bar, say_error
from shuffle.cli.wording import aligned, as_json_text, counted, sized
from shuffle.inspection import FileInspection, Order, PartitionSizes, combined, inspect_file, is_damage
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
    help=f"Show at most N partitions, and N files.  [default: {_DEFAULT_TOP}; with --json all]",
)
@json_option
@output_options
def command(paths: tuple[str, ...], *, order: Order | None, top: int | None, as_json: bool, output: Output) -> int:
    """Show what files say of themselves: partitions, rows, bytes, batches, skew (the largest partition over the
    median), alignment and codec; of several files also what they have together.

    A directory stands for the *.arrow files in it. Everything but the rows is checked on the way; `shuffle verify`
    checks these, too. Exit code 1 if a file is damaged.
    """
    files, problems, code = _inspect_all(partitioned_files(paths), output)
    if as_json:
        click.echo(as_json_text(_as_dict(files, problems, order or "partition", top)))
        return code
    top = _DEFAULT_TOP if top is None else top
    together = combined([file.sizes for file in files])
    if len(files) == 1:
        click.echo(_heading(files[0]))
    elif files:
        click.echo(_table_of_files(files, top))
        if together is None:
            click.echo("\nThe files have different numbers of partitions; each can be inspected by itself.")
        else:
            click.echo(f"\n{counted(len(files), 'file')} together\n{aligned(_facts(together), left=(0, 1))}")
    if together is not None and top:
        click.echo("\n" + _table_of_partitions(together, order, top))
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


def _heading(file: FileInspection) -> str:
    facts = [
        ("size", sized(file.byte_count)),
        *_facts(file.sizes),
        ("alignment", f"{file.alignment} bytes"),
        ("codec", " and ".join(file.codecs) or "– (no batches)"),
    ]
    return f"{file.path}\n{aligned(facts, left=(0, 1))}"


def _facts(sizes: PartitionSizes) -> list[tuple[str, str]]:
    spread = f"{sized(sizes.smallest_bytes)}, {sized(sizes.median_bytes)}, {sized(sizes.largest_bytes)}"
    skew = "– (most partitions are empty)" if sizes.skew is None else f"{sizes.skew:.2f} (largest over median)"
    return [
        ("rows", f"{sizes.row_count:,} in {counted(sizes.batch_count, 'batch')}"),
        ("partitions", f"{sizes.partition_count:,}, of which {sizes.empty_count:,} empty"),
        ("bytes each", f"{spread} (smallest, median, largest)"),
        ("skew", skew),
    ]


def _table_of_files(files: Sequence[FileInspection], top: int) -> str:
    rows = [("file", "rows", "bytes", "partitions", "empty", "batches", "skew", "alignment", "codec")]
    rows += [
        (
            file.path,
            f"{file.sizes.row_count:,}",
            sized(file.byte_count),
            f"{file.sizes.partition_count:,}",
            f"{file.sizes.empty_count:,}",
            f"{file.sizes.batch_count:,}",
            "–" if file.sizes.skew is None else f"{file.sizes.skew:.2f}",
            str(file.alignment),
            "+".join(file.codecs) or "–",
        )
        for file in files[:top]
    ]
    return aligned(rows, left=(0, 8)) + _rest(len(files) - len(files[:top]), "file", "")


def _table_of_partitions(sizes: PartitionSizes, order: Order | None, top: int) -> str:
    order = order or ("partition" if sizes.partition_count <= top else "size")
    numbers = sizes.ordered(order)
    total = max(sizes.byte_count, 1)
    rows = [("partition", "rows", "bytes", "share", "batches")]
    rows += [
        (
            str(partition["partition"]),
            f"{partition['row_count']:,}",
            sized(partition["byte_count"]),
            f"{partition['byte_count'] / total:.2%}",
            f"{partition['batch_count']:,}",
        )
        for partition in sizes.partitions_as_dicts(numbers[:top])
    ]
    hidden = numbers[top:]
    together = f", together {sized(int(sizes.byte_counts[hidden].sum()))}"
    return aligned(rows) + _rest(len(hidden), "partition", together)


def _rest(count: int, noun: str, together: str) -> str:
    """The line about what a table leaves out."""
    return f"\n… and {counted(count, f'further {noun}')}{together} (--top N shows more)" if count else ""
