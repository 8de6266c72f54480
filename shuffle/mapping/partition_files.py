"""Files of rows become one partitioned file: rows are read, placed and written. ``shuffle partition`` calls this."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import pyarrow as pa

from shuffle.mapping.map_writer import MapWriter
from shuffle.mapping.spill_store import kept_spills, spill_directories
from shuffle.option_kinds import check_count, options_of, several
from shuffle.options import MapKeywords, MapOptions
from shuffle.partitioners import HashPartitioner, Partitioner, RoundRobinPartitioner
from shuffle.report import MapReport
from shuffle.rows.bounds import range_partitioner
from shuffle.rows.csv_options import CsvOptions
from shuffle.rows.errors import InputError
from shuffle.rows.inputs import Inputs
from shuffle.rows.placement import Placement, SortKey, sort_keys_of
from shuffle.rows.progress import Stage, unwatched
from shuffle.rows.projection import Projection

if TYPE_CHECKING:
    import pyarrow.compute as pc


def partition_files(  # noqa: PLR0913 (one argument an option of the command)
    inputs: str | PathLike[str] | Iterable[str | PathLike[str]],
    target: str | PathLike[str],
    partitions: int,
    *,
    by: str | Sequence[str] = (),
    range: str | SortKey | Sequence[str | SortKey] = (),  # noqa: A002 (the command's name for it)
    round_robin: bool = False,
    columns: Sequence[str] | None = None,
    where: str | pc.Expression | None = None,
    csv: CsvOptions | None = None,
    progress: Stage = unwatched,
    options: MapOptions | None = None,
    **keywords: Unpack[MapKeywords],
) -> MapReport:
    """Read rows of Parquet, Arrow, CSV or JSON lines files, and write them to one partitioned file.

    Exactly one of ``by``, ``range`` and ``round_robin`` places rows. Within a partition rows keep their order.

    Args:
        inputs: files of one format and of the same columns; a directory stands for all such files in it and below, a
            pattern (``a/**/*.csv``) for the files that match it. Directories named ``key=value`` make columns.
        target: the file to make; it appears whole or not at all.
        partitions: how many partitions.
        by: columns whose hash decides, as in Spark's ``repartition(partitions, by)``. A single name is one column.
        range: columns whose order decides, as text (``"price:desc:nulls-last,id"``) or ``SortKey``. The inputs are
            sampled first, so that partitions get about as many rows each.
        round_robin: row i goes to partition i modulo ``partitions``.
        columns: the columns to write, in this order; None: all.
        where: the rows to write: text as ``shuffle partition --where`` takes it, or a ``pyarrow.compute.Expression``,
            which has Arrow's meaning of nulls and NaN. None: all rows.
        csv: how CSV files are written; see ``CsvOptions``.
        progress: watches sampling and partitioning; see ``Stage``.
        options, keywords: see ``MapOptions``; each option is also a keyword, as in ``memory_bytes="1GiB"``.

    Raises:
        InputError: a file, a column or the condition is at fault; it is a ``ValueError``.
        SpillError, ValueError, TypeError, OSError: as ``MapWriter`` does.
    """
    options = options_of(MapOptions, options, keywords)
    names = (by,) if isinstance(by, str) else several("by", by)
    keys = sort_keys_of(range) if isinstance(range, (str, SortKey)) else sort_keys_of(several("range", range))
    placement = Placement(check_count("partitions", partitions), names, keys, round_robin is True)
    columns = None if columns is None else several("columns", columns)
    paths = (inputs,) if isinstance(inputs, (str, PathLike)) else several("inputs", inputs)
    if csv is not None and not isinstance(csv, CsvOptions):
        raise TypeError(f"csv must be CsvOptions, not {csv!r}")
    if not paths:
        raise InputError("there are no inputs")
    rows = Inputs([os.fspath(path) for path in paths], where, csv)
    with _decoding_threads(options.threads):
        return _partition(rows, columns or (), placement, os.fspath(target), options, progress)


def _partition(
    inputs: Inputs, columns: Sequence[str], placement: Placement, target: str, options: MapOptions, progress: Stage
) -> MapReport:
    _check_columns(columns, inputs.schema)
    _check_spills_are_no_inputs(inputs, target, options)
    if placement.sort_keys:
        # What is going to be refused is refused before the inputs are sampled.
        _writer(target, inputs.schema, RoundRobinPartitioner(placement.partition_count), options).discard()
    partitioner = _partitioner(inputs, placement, options, progress)
    projection = Projection(partitioner, inputs.schema, columns) if columns else None
    read = None if projection is None else list(dict.fromkeys([*columns, *placement.columns]))
    schema = inputs.schema if projection is None else projection.schema
    with (
        _writer(target, schema, projection or partitioner, options) as writer,
        progress(inputs.row_count(inputs.parts), " rows", "partitioning") as advance,
    ):
        for batch in inputs.batches(inputs.parts, read, advance, options.memory_bytes, plain=placement.columns):
            writer.write(batch if projection is None else projection.written(batch), validate=False)
    assert writer.report is not None  # it is closed
    return writer.report


def _partitioner(inputs: Inputs, placement: Placement, options: MapOptions, progress: Stage) -> Partitioner:
    if placement.by:
        return HashPartitioner(placement.by, placement.partition_count)
    if placement.sort_keys:
        keys, count, memory_bytes = placement.sort_keys, placement.partition_count, options.memory_bytes
        return range_partitioner(inputs, keys, count, memory_bytes, progress)
    return RoundRobinPartitioner(placement.partition_count)


@contextmanager
def _decoding_threads(count: int) -> Iterator[None]:
    """Arrow decodes with so many threads meanwhile; sorting has its own."""
    before = pa.cpu_count()
    pa.set_cpu_count(count)
    try:
        yield
    finally:
        pa.set_cpu_count(before)


def _writer(target: str, schema: pa.Schema, partitioner: Partitioner, options: MapOptions) -> MapWriter:
    try:
        return MapWriter(target, schema, partitioner, options)
    except TypeError as error:  # a type of the input's that the format cannot store
        raise InputError(str(error)) from error


def _check_columns(columns: Sequence[str], schema: pa.Schema) -> None:
    for number, name in enumerate(columns):
        count = len(schema.get_all_field_indices(name))
        if count != 1:
            there = f"{count} columns have this name" if count else f"the columns are: {', '.join(schema.names)}"
            raise InputError(f"no column {name!r} to write; {there}", "columns")
        if name in columns[:number]:
            raise InputError(f"{name!r} is given more than once", "columns")


def _check_spills_are_no_inputs(inputs: Inputs, target: str, options: MapOptions) -> None:
    """Raise InputError where overwriting would remove inputs: earlier spills of the same names."""
    if not (options.overwrite and (options.keep_spills or options.spills_only)):
        return
    path = Path(target)
    directories = [place for place in spill_directories(path, options) if place.is_dir()]
    spills = {spill.resolve() for spill in kept_spills(path, directories)}
    for file in inputs.files:
        if Path(file).resolve() in spills:
            raise InputError(f"{file}: an input, which would be replaced as a spill of {target}")
