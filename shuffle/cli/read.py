"""``shuffle read``: partitions of a file as Arrow, Parquet, CSV or JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import IO

import click

from shuffle.cli.command import Command
from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, Partitions, output_options
from shuffle.cli.terminal import progress_bar, say, standard_output
from shuffle.numbering import Numbers, numbers_within
from shuffle.rows.output_formats import FORMATS, format_of_name
from shuffle.wording import counted
from spill_format.errors import naming
from spill_format.spark.outputs import DATA_SUFFIX
from spill_format.storage.publication import open_pending

_SECTIONS = {
    "Rows": ["partitions", "raw", "chunks"],
    "Output": ["target", "overwrite", "format_name"],
}


@click.command(
    "read",
    cls=Command,
    sections=_SECTIONS,
    context_settings=CONTEXT_SETTINGS,
    short_help="Print partitions as Arrow, Parquet, CSV or JSON lines.",
    epilog="""\b
Examples:
  shuffle read merged.arrow -p 3 --format csv | head
  shuffle read merged.arrow -p 3-6 -o four.parquet
  shuffle read --raw shuffle_0_0_0.data -p 3 | zstd -d | xxd | head
  shuffle read --raw shuffleMerged_app-1_0_0_3.data --chunk 0-1 -o chunks
  shuffle read merged.arrow | python -c 'import sys, pyarrow as pa; print(pa.ipc.open_stream(sys.stdin.buffer).schema)'
""",
)
@click.argument("path", metavar="FILE", type=PATH)
@click.option(
    "-p",
    "--partition",
    "partitions",
    type=Partitions(),
    metavar="N|N-M|N-,…",
    help="One partition, or several: 3-6 are 3, 4, 5 and 6; 8- are all from 8 on; 3,5,8- are put together.  "
    "[default: all]",
)
@click.option("-o", "--output", "target", metavar="OUT", type=PATH, help="Write a file instead of stdout.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(tuple(FORMATS)),
    help="The format of the output: arrow is Arrow's file format, arrows its streaming format.  [default: what OUT's "
    "name ends with: .arrow, .feather, .ipc, .arrows, .parquet, .pq, .csv, .jsonl, .ndjson; on stdout arrows]",
)
@click.option("--raw", is_flag=True, help="Write the bytes of the partitions undecoded; also of Spark's X.data.")
@click.option(
    "--chunk",
    "chunks",
    type=Partitions("chunk"),
    metavar="N|N-M|N-,…",
    help="With --raw, of a pushed partition of Spark: one chunk, or several; 0-1 are 0 and 1.",
)
@output_options
def command(  # noqa: PLR0913 (one argument an option)
    path: str,
    *,
    partitions: Numbers | None,
    target: str | None,
    overwrite: bool,
    format_name: str | None,
    raw: bool,
    chunks: Numbers | None,
    output: Output,
) -> None:
    """Write the rows of partitions, in the order of the file, to stdout or to a file OUT.

    OUT appears whole or not at all. In JSON lines, values without a JSON type are text: dates, times, decimals, NaN;
    bytes are base64. In CSV, null is an empty field, and an empty text is quoted.
    """
    if overwrite and target is None:
        raise click.UsageError("--overwrite is for -o", click.get_current_context())
    if raw:
        if format_name is not None:
            raise click.UsageError("--raw or --format, not both", click.get_current_context())
        _read_raw(path, partitions, chunks, target, overwrite=overwrite, output=output)
        return
    if chunks is not None:
        raise click.UsageError("--chunk goes with --raw", click.get_current_context())
    if path.endswith(DATA_SUFFIX):
        raise click.ClickException(f"{path}: what Spark's ranges hold is opaque: --raw gives it as it is")
    from shuffle.rows.outputs import batch_writer
    from spill_format.reader import SpillFile

    if format_name is None:
        format_name = "arrows" if target is None else _format_of(target)
    # A sector that cannot be read is an error, where a map would kill the process; and files come from strangers.
    with SpillFile(path, check="values", mapped=False) as spill:
        ranges = numbers_within(partitions, spill.partition_count, path)
        rows = spill.layout.rows
        assert rows is not None  # an index always has them
        row_count = sum(int(rows[each.start : each.stop].sum()) for each in ranges)
        with (
            _sink(target, format_name, overwrite=overwrite) as sink,
            progress_bar(row_count, " rows", "reading", shown=output.bar_shown and not sink.isatty()) as progress,
            batch_writer(format_name, sink, spill.schema) as writer,
        ):
            for batch in chain.from_iterable(spill.batches(each.start, each.stop) for each in ranges):
                writer.write_batch(batch)
                progress(batch.num_rows)
    if target is not None and not output.quiet:
        say(f"{target}: {counted(row_count, 'row')} of {counted(sum(map(len, ranges)), 'partition')}")


def _read_raw(
    path: str,
    partitions: Numbers | None,
    chunks: Numbers | None,
    target: str | None,
    *,
    overwrite: bool,
    output: Output,
) -> None:
    from shuffle.inspecting.kinds import raw as raw_pieces

    byte_count = 0
    with (
        _sink(target, "raw bytes", overwrite=overwrite) as sink,
        progress_bar(None, "B", "reading", shown=output.bar_shown and not sink.isatty()) as progress,
    ):
        for piece in raw_pieces(path, partitions, chunks):
            sink.write(piece)
            byte_count += len(piece)
            progress(len(piece))
    if target is not None and not output.quiet:
        say(f"{target}: {counted(byte_count, 'byte')}")


@contextmanager
def _sink(target: str | None, format_name: str, *, overwrite: bool) -> Iterator[IO[bytes]]:
    """Where the bytes go: stdout, or a file that appears when all has gone well."""
    if target is None:
        stdout = standard_output()
        if stdout.isatty() and (format_name not in FORMATS or not FORMATS[format_name].is_text):
            raise click.ClickException(f"{format_name} is not for terminals: give -o OUT, pipe it, or say --format csv")
        with naming("stdout"):
            yield stdout
            stdout.flush()
        return
    with open_pending(target, overwrite=overwrite) as pending:
        with naming(target), pending.stream() as file:
            yield file
        pending.publish()


def _format_of(target: str) -> str:
    try:
        return format_of_name(target)
    except ValueError as error:
        raise click.UsageError(f"{error}; or say it with --format", click.get_current_context()) from error
