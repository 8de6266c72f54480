"""``shuffle partition``: files of rows in any order become one partitioned file."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args

import click

from shuffle.cli.command import Command
from shuffle.cli.csv_options import csv_options
from shuffle.cli.keys import Columns, SortKeys
from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, Size, given, json_option, output_options, target_options
from shuffle.cli.terminal import progress_bar, say
from shuffle.option_kinds import MINIMUM_MEMORY_BYTES
from shuffle.options import Compression
from shuffle.report import MapReport, MergeReport
from shuffle.rows.csv_options import CsvOptions
from shuffle.rows.placement import SortKey
from shuffle.wording import as_json_text

Item = TypeVar("Item")

_SECTIONS = {
    "Rows": ["columns", "condition"],
    "CSV inputs": ["csv_delimiter", "csv_header", "csv_nulls", "csv_types", "csv_encoding"],
    "Partitions": ["by", "sort_keys", "round_robin", "partition_count"],
    "Output": ["target", "overwrite", "durable", "verify", "compression", "alignment"],
    "Cluster": ["executor_url"],
    "Memory, spills, threads": ["memory_bytes", "spill_directories", "keep_spills", "spills_only", "threads"],
    "Merge of the spills": ["transfer_to", "method"],
}


class Alignment(click.ParamType["int | Literal['auto']"]):
    """A number of bytes, or ``auto``."""

    name = "alignment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | Literal["auto"]:
        """The bytes, or ``auto`` as it is."""
        return "auto" if value == "auto" else Size().convert(value, param, ctx)


@click.command(
    "partition",
    cls=Command,
    sections=_SECTIONS,
    context_settings=CONTEXT_SETTINGS,
    short_help="Partition rows of Parquet, Arrow, CSV or JSON lines files.",
    epilog="""\b
Examples:
  shuffle partition lineitem/ --by l_orderkey --partitions 64 -o lineitem.arrow
  shuffle partition 'logs/**/*.jsonl.gz' --by country,city --partitions 16 -o visits.arrow --compression zstd
  shuffle partition sales/ --where "year = 2024 and price > 10" --columns id,price --by id --partitions 8 -o 2024.arrow
  shuffle partition sales/ --range price:desc:nulls-last,id --partitions 100 -o by-price.arrow
  shuffle partition big.parquet --by id --partitions 200 -o big.arrow --memory 256MiB --spill-dir /fast/disk
  shuffle partition big.parquet --by id --partitions 200 -o big.arrow --spills-only --spill-dir spills/ \\
    && shuffle-merge spills/ -o merged.arrow
""",
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT…", type=PATH)
@click.option(
    "--columns",
    multiple=True,
    type=Columns(),
    metavar="COLS",
    help="Columns to write, in this order.  [default: all columns]",
)
@click.option(
    "--where", "condition", metavar="CONDITION", help="Write the rows for which CONDITION is true.  [default: all rows]"
)
@csv_options
@click.option(
    "--by",
    multiple=True,
    type=Columns(),
    metavar="COLS",
    help="Place rows by the hash of these columns: rows with equal values go together.",
)
@click.option(
    "--range",
    "sort_keys",
    multiple=True,
    type=SortKeys(),
    metavar="KEYS",
    help="Place rows by ranges of values, in order, with about as many rows each: sorting every partition then sorts "
    "all rows. KEYS are COL[:asc|desc][:nulls-first|nulls-last],…; the default is asc, with nulls as the least values. "
    "A sample of the inputs is read first.",
)
@click.option("--round-robin", is_flag=True, help="Place rows in turn: row i goes to partition i modulo P.")
@click.option(
    "--partitions",
    "partition_count",
    required=True,
    type=click.IntRange(min=1),
    metavar="P",
    help="Number of partitions.",
)
@click.option("-o", "--output", "target", required=True, metavar="OUT", type=PATH, help="The file to make.")
@click.option(
    "--memory",
    "memory_bytes",
    type=Size(MINIMUM_MEMORY_BYTES),
    default="1GiB",
    show_default=True,
    metavar="SIZE",
    help="Memory for rows; rows beyond it are spilled.",
)
@click.option(
    "--spill-dir",
    "spill_directories",
    multiple=True,
    type=PATH,
    metavar="DIR",
    help="Directory of the spills. Several directories are used in turn.  [default: the directory of OUT]",
)
@click.option(
    "--executor",
    "executor_url",
    metavar="URL",
    help="Read with the workers of a cluster, one task a file: dask://HOST:PORT or ray://HOST:PORT. All workers must "
    "see the inputs and OUT's directory. Rows are placed with --by or --range.",
)
@click.option("--keep-spills", is_flag=True, help="Keep the spills under OUT's name with a number and .spill.arrow.")
@click.option(
    "--spills-only",
    is_flag=True,
    help="Spill all rows, keep the spills and write no OUT; shuffle-merge merges them later.",
)
@click.option(
    "--compression",
    type=click.Choice(("none", *get_args(Compression))),
    callback=lambda _context, _option, value: None if value == "none" else value,
    help="Compression of the rows in OUT.  [default: none]",
)
@click.option(
    "--alignment",
    type=Alignment(),
    default="auto",
    show_default=True,
    metavar="SIZE",
    help="Partitions start at multiples of SIZE. auto: 4096 if partitions are large and merges can then share blocks "
    "instead of copying (XFS, btrfs); otherwise 64.",
)
@functools.partial(
    target_options,
    threads_option=click.option(
        "--threads",
        type=click.IntRange(min=1),
        metavar="N",
        help="Threads that decode rows, and as many that sort them; the bytes written are the same.  [default: one a "
        "core, at most 4]",
    ),
)
@json_option
@output_options
def command(  # noqa: PLR0913 (one argument an option)
    inputs: tuple[str, ...],
    *,
    columns: tuple[tuple[str, ...], ...],
    condition: str | None,
    csv: CsvOptions | None,
    by: tuple[tuple[str, ...], ...],
    sort_keys: tuple[tuple[SortKey, ...], ...],
    round_robin: bool,
    partition_count: int,
    target: str,
    as_json: bool,
    output: Output,
    **chosen: Any,
) -> None:
    """Read rows, give each row one of P partitions, and write them to one file OUT.

    With --by, a row gets the partition that Spark's repartition(P, COLS) gives it. Within a partition rows keep their
    order.

    INPUT is a Parquet (.parquet, .pq), Arrow (.arrow, .feather, .ipc), CSV (.csv) or JSON lines (.jsonl, .ndjson) file;
    the last two may be compressed (.gz). A directory stands for all such files in it and below, and a pattern in quotes
    ('a/**/*.csv') for the files that match it. All inputs have one format and the same columns. Directories named
    key=value make columns.

    CONDITION compares columns with numbers, with 'text' (dates and times, too) or with each other: = != < <= > >=,
    IN (…), BETWEEN … AND …, LIKE '…%', IS NULL; AND, OR, NOT and parentheses join comparisons. A comparison with null
    or NaN is not true, and its opposite is not true either. Column names with other characters than letters, digits
    and _ are in "double quotes".

    Rows beyond the memory are spilled, and the spills merged in the end. OUT appears whole or not at all. SIZE is in
    bytes, or has a unit: KiB, MiB, GiB.
    """
    ways = {"--by": by, "--range": sort_keys, "--round-robin": round_robin}
    _check_usage([name for name, value in ways.items() if value], chosen)
    report = _partitioned(
        chosen.pop("executor_url"),
        inputs,
        target,
        partition_count,
        by=_joined(by),
        range=_joined(sort_keys),
        round_robin=round_robin,
        columns=_joined(columns) or None,
        where=condition,
        csv=csv,
        progress=functools.partial(progress_bar, shown=output.bar_shown),
        options=given(chosen),
    )
    if as_json:
        click.echo(as_json_text(report.as_dict()))
    if not output.quiet:
        say(str(report))


def _partitioned(
    executor_url: str | None, inputs: Sequence[str], target: str, count: int, *, options: dict[str, Any], **rows: Any
) -> MapReport | MergeReport:
    """Partition here, or with the workers of a cluster."""
    if executor_url is None:
        from shuffle.mapping.partition_files import partition_files

        return partition_files(inputs, target, count, **rows, **options)
    from shuffle.jobs.partitioning import executor_of, partition_files_on
    from shuffle.options import MapOptions

    wanted = {name: rows[name] for name in ("by", "range", "columns", "where", "csv")}
    with executor_of(executor_url) as executor:
        return partition_files_on(executor, inputs, target, count, options=MapOptions(**options), **wanted)


def _joined(groups: tuple[tuple[Item, ...], ...]) -> tuple[Item, ...]:
    """What an option was given, several times perhaps."""
    return tuple(item for group in groups for item in group)


def _check_usage(ways: Sequence[str], chosen: Mapping[str, Any]) -> None:
    context = click.get_current_context()
    if len(ways) != 1:
        problem = "one of --by, --range, --round-robin is needed"
        raise click.UsageError(f"{problem}, not {' and '.join(ways)}" if ways else problem, context)
    if chosen["executor_url"] and ways == ["--round-robin"]:
        problem = "--executor takes --by or --range: a task does not know how many rows are before its own"
        raise click.UsageError(f"{problem}, which --round-robin would need", context)
    if chosen["executor_url"] and (chosen["keep_spills"] or chosen["spills_only"]):
        raise click.UsageError("--executor takes neither --keep-spills nor --spills-only", context)
    if chosen["spills_only"] and chosen["verify"]:
        raise click.UsageError("--verify reads OUT again, and --spills-only makes none", context)
    if chosen["spills_only"] and chosen["method"] not in {None, "auto"}:
        raise click.UsageError("--method is for merging, and --spills-only merges nothing", context)
