"""``shuffle partition``: files of rows in any order become one partitioned file."""

from __future__ import annotations

import os
from typing import Literal, get_args

import click

from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, Size, json_option, merge_options, output_options
from shuffle.cli.terminal import progress_bar, say
from shuffle.cli.wording import as_json_text, counted, sized
from shuffle.config import MINIMUM_MEMORY_BYTES, MapOptions, MergeOptions
from shuffle.report import MapReport

Compression = Literal["none", "lz4", "zstd"]


class Columns(click.ParamType["tuple[str, ...]"]):
    """Names of columns, separated by commas."""

    name = "columns"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names; a name with a comma in it cannot be given."""
        names = value if isinstance(value, tuple) else tuple(name.strip() for name in str(value).split(","))
        if not all(names):
            self.fail(f"{value!r} has an empty name in it", param, ctx)
        return names


class Alignment(click.ParamType["int | Literal['auto']"]):
    """A number of bytes, or ``auto``."""

    name = "alignment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | Literal["auto"]:
        """The bytes, or ``auto`` as it is."""
        return "auto" if value == "auto" else Size().convert(value, param, ctx)


@click.command(
    "partition",
    context_settings=CONTEXT_SETTINGS,
    short_help="Partition rows of Parquet, Arrow or CSV files by key.",
    epilog="""\b
Examples:
  shuffle partition lineitem/ --by l_orderkey --partitions 64 -o lineitem.arrow
  shuffle partition a.csv b.csv --by country,city --partitions 16 -o visits.arrow --compression zstd
  shuffle partition big.parquet --by id --partitions 200 -o big.arrow --memory 256MiB --spill-dir /fast/disk
""",
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT…", type=PATH)
@click.option(
    "--by",
    "columns",
    multiple=True,
    required=True,
    type=Columns(),
    metavar="COLS",
    help="The columns that decide where a row goes, separated by commas; may be given several times.",
)
@click.option(
    "--partitions",
    "partition_count",
    required=True,
    type=click.IntRange(min=1),
    metavar="P",
    help="How many partitions.",
)
@click.option("-o", "--output", "target", required=True, metavar="OUT", type=PATH, help="The file to make.")
@click.option(
    "--memory",
    "memory_bytes",
    type=Size(MINIMUM_MEMORY_BYTES),
    default="1GiB",
    show_default=True,
    metavar="SIZE",
    help="Memory for rows held back; more of them are spilled.",
)
@click.option(
    "--spill-dir",
    "spill_directories",
    multiple=True,
    type=PATH,
    metavar="DIR",
    help="Where to spill; given several times, in turn.  [default: beside OUT]",
)
@click.option("--keep-spills", is_flag=True, help="Keep the spills, as OUT's name with a number and .spill.arrow.")
@click.option(
    "--compression",
    type=click.Choice(get_args(Compression)),
    default="none",
    show_default=True,
    help="Of the rows in OUT.",
)
@click.option(
    "--alignment",
    type=Alignment(),
    default="auto",
    show_default=True,
    metavar="SIZE",
    help="Partitions start at multiples of it. auto: 4096 where merges can then share blocks instead of copying (XFS, "
    "btrfs) and partitions are large; else 64.",
)
@merge_options
@json_option
@output_options
def command(  # noqa: PLR0913 (one argument an option)
    inputs: tuple[str, ...],
    *,
    columns: tuple[tuple[str, ...], ...],
    partition_count: int,
    target: str,
    memory_bytes: int,
    spill_directories: tuple[str, ...],
    keep_spills: bool,
    compression: Compression,
    alignment: int | Literal["auto"],
    options: MergeOptions,
    as_json: bool,
    output: Output,
) -> None:
    """Read rows, group them by the hash of their key into P partitions, and write them to one file OUT.

    A row lands in the partition where Spark's repartition(P, COLS) puts it. Inputs are Parquet (.parquet, .pq), Arrow
    (.arrow, .feather, .ipc) or CSV (.csv, .csv.gz) files of the same columns; a directory stands for all such files in
    it and below. When memory is spent rows are spilled, and in the end the spills merged. OUT appears whole or not
    at all.

    SIZE is in bytes, or takes KiB, MiB or GiB.
    """
    by = [name for group in columns for name in group]
    map_options = MapOptions(
        memory_bytes=memory_bytes,
        spill_directories=spill_directories,
        keep_spills=keep_spills,
        compression=None if compression == "none" else compression,
        alignment=alignment,
        threads=options.threads,
        merge=options,
    )
    report = _partition(inputs, by, partition_count, target, map_options, output)
    if as_json:
        click.echo(as_json_text(report.as_dict()))
    if not output.quiet:
        say(f"{target}: {_in_words(report)}")


def _partition(
    inputs: tuple[str, ...], by: list[str], partition_count: int, target: str, options: MapOptions, output: Output
) -> MapReport:
    from shuffle.cli.inputs import batches_of, open_inputs, row_count_of
    from shuffle.map_writer import MapWriter
    from shuffle.partitioners import HashPartitioner

    partitioner = HashPartitioner(by, partition_count)
    dataset = open_inputs(inputs)
    try:
        writer = MapWriter(target, dataset.schema, partitioner, options)
    except TypeError as error:  # a type of the input's that the format cannot store
        raise click.ClickException(str(error)) from error
    with writer:
        total = row_count_of(dataset) if output.bar_shown else None
        with progress_bar(total, " rows", "partitioning", shown=output.bar_shown) as progress:
            for batch in batches_of(dataset):
                writer.write(batch)
                progress(batch.num_rows)
    assert writer.report is not None  # it is closed
    return writer.report


def _in_words(report: MapReport) -> str:
    spills = f", {counted(report.spill_count, 'spill')}" if report.spill_count else ""
    kept = f" kept in {os.path.dirname(report.spills[0]) or '.'}" if report.spills else ""
    rows, partitions = counted(report.row_count, "row"), counted(report.partition_count, "partition")
    return f"{rows} in {partitions}, {sized(report.target_bytes)}{spills}{kept}, {report.seconds:.3f} s"
