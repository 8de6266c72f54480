"""``shuffle read``: partitions of a file as an Arrow stream, Parquet or CSV."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

import click

from shuffle.cli.options import CONTEXT_SETTINGS, PATH, Output, output_options
from shuffle.cli.terminal import progress_bar, say, standard_output
from shuffle.wording import counted
from spill_format.spark.outputs import DATA_SUFFIX
from spill_format.storage.publication import open_pending

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["arrow", "parquet", "csv"]

_FORMATS_BY_SUFFIX: dict[str, Format] = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv"}
_ROW_GROUP_ROWS = 1 << 20
_ROW_GROUP_BYTES = 128 << 20


class Partitions(click.ParamType["tuple[int, int]"]):
    """One partition, ``3``, or those from one to another, ``3-6``; likewise of what else is numbered."""

    name = "partitions"

    def __init__(self, noun: str = "partition") -> None:
        self._noun = noun

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """The first, and the one behind the last."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", value, re.ASCII)
        if match is None:
            self.fail(f"{value!r} is neither a {self._noun}, as 3, nor several, as 3-6", param, ctx)
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            self.fail(f"{value!r} ends before it starts", param, ctx)
        return first, last + 1


@click.command(
    "read",
    context_settings=CONTEXT_SETTINGS,
    short_help="Print partitions as an Arrow stream, Parquet or CSV.",
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
    metavar="N|N-M",
    help="One, or from one to another.  [default: all]",
)
@click.option("-o", "--output", "target", metavar="OUT", type=PATH, help="Write a file instead of stdout.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(get_args(Format)),
    help="arrow is Arrow's streaming format.  [default: what OUT's name ends with, else arrow]",
)
@click.option("--raw", is_flag=True, help="The bytes of the ranges as they are, undecoded; also of Spark's X.data.")
@click.option(
    "--chunk",
    "chunks",
    type=Partitions("chunk"),
    metavar="N|N-M",
    help="With --raw, of a merged partition of Spark's push-based shuffle: one chunk, or several.",
)
@output_options
def command(  # noqa: PLR0913 (one argument an option)
    path: str,
    *,
    partitions: tuple[int, int] | None,
    target: str | None,
    overwrite: bool,
    format_name: Format | None,
    raw: bool,
    chunks: tuple[int, int] | None,
    output: Output,
) -> None:
    """Write the rows of one partition, of several, or of all, in file order, to stdout or to a file OUT.

    OUT appears whole or not at all.
    """
    if raw:
        if format_name is not None:
            raise click.UsageError("--raw or --format, not both", click.get_current_context())
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
        return
    if chunks is not None:
        raise click.UsageError("--chunk goes with --raw", click.get_current_context())
    if path.endswith(DATA_SUFFIX):
        raise click.ClickException(f"{path}: what Spark's ranges hold is opaque: --raw gives it as it is")
    from spill_format.reader import SpillFile

    format_name = format_name or _FORMATS_BY_SUFFIX.get(os.path.splitext(target or "")[1].lower(), "arrow")
    with SpillFile(path) as spill:
        count = spill.partition_count
        first, last = partitions or (0, count)
        if last > count:
            raise click.ClickException(
                f"{path} has no partition {max(first, count)}: its partitions are 0 to {count - 1}"
            )
        rows = spill.layout.rows
        assert rows is not None  # an index always has them
        row_count = int(rows[first:last].sum())
        with (
            _sink(target, format_name, overwrite=overwrite) as sink,
            progress_bar(row_count, " rows", "reading", shown=output.bar_shown and not sink.isatty()) as progress,
            _writer(sink, spill.schema, format_name) as writer,
        ):
            for batch in spill.batches(first, last):
                writer.write_batch(batch)
                progress(batch.num_rows)
    if target is not None and not output.quiet:
        say(f"{target}: {counted(row_count, 'row')} of {counted(last - first, 'partition')}")


@contextmanager
def _sink(target: str | None, format_name: str, *, overwrite: bool) -> Iterator[IO[bytes]]:
    """Where the bytes go: stdout, or a file that appears when all has gone well."""
    if target is None:
        stdout = standard_output()
        if format_name != "csv" and stdout.isatty():
            raise click.ClickException(f"{format_name} is not for terminals: give -o OUT, pipe it, or say --format csv")
        yield stdout
        return
    with open_pending(target, overwrite=overwrite) as pending:
        with pending.stream() as file:
            yield file
        pending.publish()


@contextmanager
def _writer(sink: IO[bytes], schema: pa.Schema, format_name: Format) -> Iterator[Any]:
    """What has ``write_batch``. After an error no end is written, so that nobody takes the rest for the whole."""
    import pyarrow as pa

    gate = _Gate(sink)
    if format_name == "parquet":
        writer: Any = _ParquetWriter(gate, schema)
    elif format_name == "csv":
        import pyarrow.csv

        writer = pyarrow.csv.CSVWriter(gate, schema)
    else:
        writer = pa.ipc.new_stream(gate, schema)
    try:
        yield writer
        writer.close()
    finally:
        gate.shut = True


class _Gate(io.RawIOBase):
    """Lets bytes through to a sink until it is shut. Arrow's writers finish their files when they are collected, too,
    whole or not."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self.shut = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if not self.shut:
            self._sink.write(data)
        return len(data)

    def flush(self) -> None:
        if not self.shut:
            self._sink.flush()


class _ParquetWriter:
    """Joins batches to row groups of a size that is good to read; the batches of a spill may be small."""

    def __init__(self, sink: io.RawIOBase, schema: pa.Schema) -> None:
        import pyarrow.parquet

        self._writer = pyarrow.parquet.ParquetWriter(sink, schema)
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = 0

    def write_batch(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        self._waiting_bytes += batch.nbytes
        if self._waiting_rows >= _ROW_GROUP_ROWS or self._waiting_bytes >= _ROW_GROUP_BYTES:
            self._write_waiting()

    def close(self) -> None:
        if self._waiting:
            self._write_waiting()
        self._writer.close()

    def _write_waiting(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema), row_group_size=_ROW_GROUP_ROWS)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
