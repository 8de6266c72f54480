"""The map side of a shuffle: rows in any order become one partitioned file, inside a memory budget.

``MapWriter`` directs: ``HeldBlocks`` holds and sorts rows, ``SpillEncoder`` makes a file of them, and ``MapOutput``
publishes it. Which row goes where is the partitioner's business. The bytes written do not depend on the number of
threads: cuts and spills follow from the rows alone.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Self, Unpack

import pyarrow as pa

from shuffle.arrays.stand_ins import with_types_of
from shuffle.machine.ordered_threads import OrderedThreads
from shuffle.mapping.block_encoders import block_encoder
from shuffle.mapping.held_blocks import HeldBlocks
from shuffle.mapping.map_output import MapOutput
from shuffle.mapping.spill_store import Written
from shuffle.mapping.write_behind import WriteBehind
from shuffle.native import is_native
from shuffle.option_kinds import options_of
from shuffle.options import MapKeywords, MapOptions
from shuffle.partitioners import Partitioner
from shuffle.partitioners.protocol import check_partitioner, describe
from shuffle.report import MapReport
from spill_format.encoder import SpillEncoder
from spill_format.schemas import check_rows, describe_difference, storage_schema
from spill_format.storage.publication import PendingFile

_PARTITION_BYTES = 40  # offset, row count and checksum, in arrays and in the index that is written
_PROCESS_BYTES = 64 << 20  # what a process takes besides its budget


def _check_memory(partition_count: int, memory_bytes: int) -> None:
    """Raise ValueError where what describes the partitions takes more memory than there is, with the process's own."""
    needed = partition_count * _PARTITION_BYTES
    if needed > memory_bytes + _PROCESS_BYTES:
        raise ValueError(
            f"{partition_count} partitions take {needed >> 20} MiB of memory for offsets, rows and checksums alone; "
            f"the memory of the task is {memory_bytes >> 20} MiB"
        )


class MapWriter:
    """Writes one map output: every row given to it, in the partition that the partitioner names, in the order given.

    Args:
        target: the file to publish; whole when the writer is closed, or not at all. With ``spills_only`` it is not
            made, and only the spills are named after it.
        schema: of every batch.
        partitioner: see ``shuffle.partitioners``. It is called by the thread that calls ``write``, in the order of the
            rows.
        options, keywords: see ``MapOptions``; each option is also a keyword, as in ``memory_bytes="256MiB"``.

    Raises:
        ValueError: the partitioner does not fit the schema; an option is out of its bounds.
        TypeError: an argument is of another type; the schema has a dictionary where Arrow cannot decode it.
        TargetExistsError: the target is there, or a spill that would be kept, and ``overwrite`` is off.
        OSError: target or spill directory cannot be written.

    Used as a context manager, an exception discards everything, spills that were to be kept as well. Not thread-safe.
    """

    def __init__(
        self,
        target: str | PathLike[str],
        schema: pa.Schema,
        partitioner: Partitioner,
        options: MapOptions | None = None,
        **keywords: Unpack[MapKeywords],
    ) -> None:
        self._started, self._faults_before = time.perf_counter(), _page_faults()
        self._options = options_of(MapOptions, options, keywords)
        if not isinstance(schema, pa.Schema):
            raise TypeError(f"schema must be a pyarrow.Schema, not {schema!r}")
        check_partitioner(partitioner)
        _check_memory(partitioner.partition_count, self._options.memory_bytes)
        self._schema = schema
        self._stored_schema = storage_schema(schema)
        self._partitioner = partitioner
        partitioner.check_schema(schema)
        self._described_partitioner = describe(partitioner, schema)
        self._target = Path(target)
        self._output = MapOutput(self._target, self._options, partitioner.partition_count)
        self._alignment: int | None = None  # of all files, chosen when the first one is written
        self._threads = OrderedThreads(self._options.threads)
        encoder = block_encoder(self._stored_schema, self._options.compression)
        self._held = HeldBlocks(
            encoder, partitioner, self._options.memory_bytes, self._threads, self._spill, self._join_spills
        )
        self._seconds_writing = 0.0
        self._closed = self._failed = False
        self.report: MapReport | None = None
        """What was done, once the writer is closed."""

    def write(self, rows: Any, *, validate: bool = True) -> None:
        """Add rows.

        Args:
            rows: a record batch, a table, or any object with the Arrow PyCapsule interface (``__arrow_c_stream__`` or
                ``__arrow_c_array__``), as data frames and results of Polars, DuckDB and pandas have. A stream is taken
                batch by batch. Columns may be dictionary-encoded, or views of texts, where the schema has plain values.
            validate: check every value: offsets, UTF-8. Costs nothing for numbers, and about 0.3 ms a MiB for text.
                Switch it off for rows that were checked already: wrong values can crash this process and the readers of
                the file, which ``verify`` calls damaged.

        Raises:
            TypeError: the rows are none of these.
            ValueError: the rows have another schema, a value is not valid, a partition number is wrong, or the writer
                is closed.
            OSError: a spill cannot be written.

        After an error the writer can only be discarded: ``close`` refuses to publish what misses rows. A schema that is
        refused does no harm.
        """
        if self._closed:
            raise ValueError(f"{self._target}: the writer is closed")
        schema, batches = _schema_and_batches(rows)
        if (difference := describe_difference(self._schema, with_types_of(schema, self._schema))) is not None:
            raise ValueError(f"the rows have another schema than the writer: {difference}")
        was_failed, self._failed = self._failed, True
        for batch in batches:
            if validate:
                check_rows(batch)
            self._held.add(batch)
        self._failed = was_failed

    def close(self) -> None:
        """Merge what was spilled and publish the map output. Does nothing the second time.

        Raises:
            ValueError: an earlier ``write`` failed.
            SpillError, OSError: as merging and publishing do; nothing is left behind.
        """
        if self._closed:
            return
        if self._failed:
            self.discard()
            raise ValueError(f"{self._target}: an earlier write failed, so rows are missing")
        try:
            self._finish()
        except BaseException:
            self.discard()
            raise
        self._release()
        self.report = self._reported()

    def discard(self) -> None:
        """Give everything up; nothing remains. Does nothing once the writer is closed."""
        if not self._closed:
            self._output.spills.remove_kept()
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _finish(self) -> None:
        """Publish what was asked for, from the rows in memory or from spills."""
        self._held.encode_gathered()
        if not self._output.is_spilled:
            self._output.publish_rows(self._write_blocks)
            return
        if self._held.has_rows or self._output.spills.count == 0:
            self._held.spill_all()
        self._threads.close()  # what their memory holds can be given back once they are gone
        self._held.discard()
        self._output.publish_spills()

    def _spill(self) -> None:
        self._output.spills.add(self._write_blocks)

    def _join_spills(self) -> None:
        if self._output.spills.are_many:
            self._held.release()
            self._output.spills.join()

    def _write_blocks(self, file: PendingFile) -> Written:
        """Write a whole partitioned file of the blocks."""
        partition_count = self._partitioner.partition_count
        if self._alignment is None:
            self._alignment = self._output.chosen_alignment(self._held.row_bytes, partition_count)
        started = time.perf_counter()
        try:
            with WriteBehind(file) as behind:
                encoder = SpillEncoder(
                    file,
                    self._stored_schema,
                    partition_count,
                    self._options.compression,
                    self._alignment,
                    behind.write if self._threads.threads > 1 else None,
                    partitioner=self._described_partitioner,
                )
                for message in self._held.encoded():
                    encoder.write_message(*message)
                layout = encoder.finish()
        finally:
            self._seconds_writing += time.perf_counter() - started
        return Written(encoder.byte_count, layout)

    def _reported(self) -> MapReport:
        held, output, spills = self._held, self._output, self._output.spills
        return MapReport(
            target=None if self._options.spills_only else str(self._target),
            partition_count=self._partitioner.partition_count,
            row_count=held.row_count,
            row_bytes=held.row_bytes,
            peak_memory_bytes=held.peak_bytes,
            target_bytes=output.byte_count,
            spills=tuple(map(str, spills.names)),
            spill_count=spills.count,
            spilled_bytes=spills.byte_count,
            merge=output.merged,
            layout=output.layout,
            native=is_native(),
            page_faults=_page_faults() - self._faults_before,
            seconds_partitioning=held.seconds["partitioning"],
            seconds_sorting=held.seconds["sorting"],
            seconds_writing=self._seconds_writing,
            seconds_merging=spills.seconds_joining + (output.merged.seconds if output.merged else 0.0),
            seconds=time.perf_counter() - self._started,
        )

    def _release(self) -> None:
        """Close what is open and let go of the rows."""
        self._closed = True
        self._threads.close()
        self._output.close()
        self._held.discard()


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _schema_and_batches(rows: Any) -> tuple[pa.Schema, Iterable[pa.RecordBatch]]:
    """The schema and the batches of rows that come in any form with the Arrow PyCapsule interface."""
    if isinstance(rows, pa.RecordBatch):
        return rows.schema, [rows]
    if hasattr(rows, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(rows)
        return reader.schema, reader
    if hasattr(rows, "__arrow_c_array__"):
        batch = pa.record_batch(rows)
        return batch.schema, [batch]
    raise TypeError(
        "rows come as a record batch, a table or another object with the Arrow PyCapsule interface, "
        f"not as {type(rows).__name__}"
    )
