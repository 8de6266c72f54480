"""What ``shuffle partition`` does, once its options are understood: rows are read, placed and written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from shuffle.mapping.map_writer import MapWriter
from shuffle.mapping.spill_store import kept_spills, spill_directories
from shuffle.options import MapOptions
from shuffle.partitioners import HashPartitioner, Partitioner, RoundRobinPartitioner
from shuffle.report import MapReport
from shuffle.rows.bounds import range_partitioner
from shuffle.rows.errors import InputError
from shuffle.rows.inputs import Inputs
from shuffle.rows.placement import Placement
from shuffle.rows.progress import Stage, unwatched
from shuffle.rows.projection import Projection


def partition(
    inputs: Inputs,
    columns: Sequence[str],
    placement: Placement,
    target: str,
    options: MapOptions,
    stage: Stage = unwatched,
) -> MapReport:
    """Write the rows of the inputs to ``target``, or to its spills.

    Args:
        inputs: the rows.
        columns: those that are written; none: all. The ones that rows are placed by need not be among them.
        placement: which partition a row goes to.
        target, options: as ``MapWriter`` takes them.
        stage: watches sampling and partitioning.

    Raises:
        InputError: a column is not there, or an input cannot be read or would be replaced as a spill.
        SpillError, ValueError, OSError: as ``MapWriter`` does.
    """
    pa.set_cpu_count(options.threads)  # those that decode; sorting has its own
    _check_columns(columns, inputs.schema)
    _check_spills_are_no_inputs(inputs, target, options)
    if placement.sort_keys:
        # What is going to be refused is refused before the inputs are sampled.
        _writer(target, inputs.schema, RoundRobinPartitioner(placement.partition_count), options).discard()
    partitioner = _partitioner(inputs, placement, options, stage)
    projection = Projection(partitioner, inputs.schema, columns) if columns else None
    read = None if projection is None else list(dict.fromkeys([*columns, *placement.columns]))
    schema = inputs.schema if projection is None else projection.schema
    with (
        _writer(target, schema, projection or partitioner, options) as writer,
        stage(inputs.row_count(inputs.parts), " rows", "partitioning") as progress,
    ):
        for batch in inputs.batches(inputs.parts, read, progress, options.memory_bytes):
            writer.write(batch if projection is None else projection.written(batch))
    assert writer.report is not None  # it is closed
    return writer.report


def _partitioner(inputs: Inputs, placement: Placement, options: MapOptions, stage: Stage) -> Partitioner:
    if placement.by:
        return HashPartitioner(placement.by, placement.partition_count)
    if placement.sort_keys:
        keys, count, memory_bytes = placement.sort_keys, placement.partition_count, options.memory_bytes
        return range_partitioner(inputs, keys, count, memory_bytes, stage)
    return RoundRobinPartitioner(placement.partition_count)


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
            raise InputError(f"--columns: no column {name!r} to write; {there}")
        if name in columns[:number]:
            raise InputError(f"--columns: {name!r} is given more than once")


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
