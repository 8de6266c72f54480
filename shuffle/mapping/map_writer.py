"""The map side of a shuffle: rows in any order become one partitioned file, inside a memory budget.

Here is what happens when: rows are cut into blocks, blocks sorted and held back, and spilled when the budget is spent.
Which row goes where is the partitioner's business, how a file is written ``SpillEncoder``'s, where spills lie
``SpillStore``'s. The bytes written do not depend on the number of threads: cuts and spills follow from the rows alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import pyarrow as pa

from shuffle.arrays.plain_size import in_pieces
from shuffle.arrays.sortable import from_sortable, sortable_schema, to_sortable
from shuffle.machine.ordered_threads import OrderedThreads
from shuffle.mapping.alignment import choose_alignment, shared_block_bytes
from shuffle.mapping.sorted_block import (
    BLOCK_ROWS,
    Piece,
    SortedBlock,
    block_bytes,
    block_rows,
    check_partition_numbers,
    largest_block_bytes,
    plan_windows,
    sort_block,
    window_batches,
)
from shuffle.mapping.spill_store import SpillStore, Written, spill_directories
from shuffle.mapping.write_behind import WriteBehind
from shuffle.merging.verification import verify_written
from shuffle.option_kinds import options_of
from shuffle.options import MapKeywords, MapOptions
from shuffle.partitioners import Partitioner
from shuffle.partitioners.protocol import PartitionNumbers, check_partitioner, describe
from shuffle.report import MapReport, MergeReport
from spill_format.encoder import SpillEncoder
from spill_format.errors import naming
from spill_format.layout import PartitionLayout
from spill_format.schemas import describe_difference, storage_schema, to_storage
from spill_format.storage.publication import PendingFile, open_pending

# Of the budget, a block takes at most one part in 32; 22 parts hold sorted blocks, and the other ten are for a block
# that gathers, for those being sorted, whose unsorted rows are still there, and for what malloc cannot give back.
_BUDGET_PARTS = 32
_HELD_PARTS = 22
_MOST_SORTING = 4

_COLUMN_OVERHEAD_BYTES = 200  # what Arrow and Python keep for a column of a batch, however few rows it has

_PARTITION_BYTES = 40  # offset, row count and checksum, in arrays and in the index that is written
_PROCESS_BYTES = 64 << 20  # what a process takes besides its budget

_Rows = tuple[pa.RecordBatch, PartitionNumbers]


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
        self._started = time.perf_counter()
        self._options = options_of(MapOptions, options, keywords)
        if not isinstance(schema, pa.Schema):
            raise TypeError(f"schema must be a pyarrow.Schema, not {schema!r}")
        check_partitioner(partitioner)
        _check_memory(partitioner.partition_count, self._options.memory_bytes)
        self._schema = schema
        self._stored_schema = storage_schema(schema)
        self._sortable_schema = sortable_schema(self._stored_schema)
        self._partitioner = partitioner
        partitioner.check_schema(schema)
        self._described_partitioner = describe(partitioner, schema)
        self._target = Path(target)
        merge = self._options.merge
        self._output = (
            None
            if self._options.spills_only
            else open_pending(self._target, overwrite=merge.overwrite, durable=merge.durable)
        )
        try:
            self._spills = SpillStore(self._target, self._options)
        except BaseException:
            if self._output is not None:
                self._output.discard()
            raise
        self._alignment = None if self._options.alignment == "auto" else self._options.alignment
        self._threads = OrderedThreads(self._options.threads)
        self._most_sorting = min(self._options.threads, _MOST_SORTING)
        self._block_rows = block_rows(partitioner.partition_count)
        self._largest_block_bytes = largest_block_bytes(self._options.memory_bytes // _BUDGET_PARTS)
        self._gathered: list[_Rows] = []  # less than a block of them
        self._gathered_rows = self._gathered_bytes = 0
        self._blocks: list[Future[SortedBlock]] = []
        self._held_bytes = self._peak_bytes = 0
        self._row_count = self._row_bytes = self._target_bytes = 0
        self._lock = threading.Lock()
        self._seconds = {"partitioning": 0.0, "sorting": 0.0, "writing": 0.0}
        self._closed = self._failed = False
        self.report: MapReport | None = None
        """What was done, once the writer is closed."""

    def write(self, rows: Any) -> None:
        """Add rows.

        Args:
            rows: a record batch, a table, or any object with the Arrow PyCapsule interface (``__arrow_c_stream__`` or
                ``__arrow_c_array__``), as data frames and results of Polars, DuckDB and pandas have. A stream is taken
                batch by batch.

        Raises:
            TypeError: the rows are none of these.
            ValueError: the rows have another schema, a partition number is wrong, or the writer is closed.
            OSError: a spill cannot be written.

        After an error the writer can only be discarded: ``close`` refuses to publish what misses rows. A schema that is
        refused does no harm.
        """
        if self._closed:
            raise ValueError(f"{self._target}: the writer is closed")
        schema, batches = _schema_and_batches(rows)
        if (difference := describe_difference(self._schema, schema)) is not None:
            raise ValueError(f"the rows have another schema than the writer: {difference}")
        was_failed, self._failed = self._failed, True
        for batch in batches:
            for piece, numbers in self._partitioned(batch):
                self._gather(piece, numbers)
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
            layout, merged = self._finish()
        except BaseException:
            self.discard()
            raise
        self._release()
        self.report = self._reported(layout, merged)

    def discard(self) -> None:
        """Give everything up; nothing remains. Does nothing once the writer is closed."""
        if not self._closed:
            self._spills.remove_kept()
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _partitioned(self, batch: pa.RecordBatch) -> Iterator[_Rows]:
        """A batch in pieces, in the form in which they are sorted, with their partition numbers.

        Each piece is at most a block, in rows and, down to a single row, in bytes.
        """
        for start in range(0, batch.num_rows, BLOCK_ROWS):
            # Cut before anything decodes, as partitioners do, too: a dictionary may make rows many times larger.
            for piece in in_pieces(batch.slice(start, BLOCK_ROWS), self._largest_block_bytes):
                with self._timed("partitioning"):
                    numbers = self._partitioner.partition_numbers(piece)
                    check_partition_numbers(numbers, piece.num_rows, self._partitioner.partition_count)
                yield to_sortable(to_storage(piece, self._stored_schema), self._sortable_schema), numbers

    def _gather(self, rows: pa.RecordBatch, numbers: PartitionNumbers) -> None:
        """Put rows to those that will be the next block, and sort them once they are enough."""
        if rows.num_rows < self._block_rows and rows.nbytes < self._largest_block_bytes // 2:
            if rows.get_total_buffer_size() > 2 * rows.nbytes:
                rows = pa.concat_batches([rows])  # a copy, for a slice keeps all that it was cut from
            self._gathered.append((rows, numbers))
            self._gathered_rows += rows.num_rows
            self._gathered_bytes += rows.nbytes + _COLUMN_OVERHEAD_BYTES * (rows.num_columns + 1)
            self._note_memory()
            if self._gathered_rows >= self._block_rows or self._gathered_bytes >= self._largest_block_bytes // 2:
                self._sort_gathered()
        else:
            self._sort_gathered()
            self._sort([(rows, numbers)])

    def _sort_gathered(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._gathered_rows = self._gathered_bytes = 0
            self._sort(gathered)

    def _sort(self, rows: list[_Rows]) -> None:
        """Begin to make a block of rows, after spilling where it would pass the budget."""
        row_bytes = sum(batch.nbytes for batch, _ in rows)
        needed = block_bytes(row_bytes, sum(numbers.nbytes for _, numbers in rows))
        most_held = self._options.memory_bytes // _BUDGET_PARTS * _HELD_PARTS
        if self._blocks and self._held_bytes + needed > most_held:
            self._spill()
            if needed > most_held:  # a single row; there is no room for what malloc keeps of the others
                pa.system_memory_pool().release_unused()
        self._blocks.append(self._threads.submit(self._sorted, rows))
        self._held_bytes += needed
        self._note_memory()
        self._row_count += sum(batch.num_rows for batch, _ in rows)
        self._row_bytes += row_bytes
        if len(self._blocks) > self._most_sorting:
            self._blocks[-1 - self._most_sorting].result()
        if needed > most_held:
            self._spill()

    def _note_memory(self) -> None:
        self._peak_bytes = max(self._peak_bytes, self._held_bytes + self._gathered_bytes)

    def _sorted(self, rows: list[_Rows]) -> SortedBlock:
        with self._timed("sorting"):
            return sort_block([batch for batch, _ in rows], [numbers for _, numbers in rows])

    def _spill(self) -> None:
        """Write the blocks to a spill, and let go of them."""
        self._spills.add(self._write_blocks)
        self._blocks, self._held_bytes = [], 0

    def _write_blocks(self, file: PendingFile) -> Written:
        """Write a whole partitioned file of the blocks."""
        blocks = [block.result() for block in self._blocks]
        partition_count = self._partitioner.partition_count
        if self._alignment is None:
            self._alignment = self._chosen_alignment()
        with self._timed("writing"), WriteBehind(file) as behind:
            encoder = SpillEncoder(
                file,
                self._stored_schema,
                partition_count,
                self._options.compression,
                self._alignment,
                behind.write if self._threads.threads > 1 else None,
                partitioner=self._described_partitioner,
            )
            for batches in self._threads.map(self._stored_batches, plan_windows(blocks, partition_count)):
                for partition, batch in batches:
                    encoder.write(partition, batch)
            layout = encoder.finish()
        return Written(encoder.byte_count, layout)

    def _chosen_alignment(self) -> int:
        """For all files of this task, from what the first one will hold."""
        directories = spill_directories(self._target, self._options)
        if self._output is not None:
            directories.insert(0, self._target.absolute().parent)
        return choose_alignment(self._row_bytes, self._partitioner.partition_count, shared_block_bytes(directories))

    def _stored_batches(self, window: list[Piece]) -> list[tuple[int, pa.RecordBatch]]:
        return [(partition, from_sortable(rows, self._stored_schema)) for partition, rows in window_batches(window)]

    def _finish(self) -> tuple[PartitionLayout | None, MergeReport | None]:
        """Publish the output: the rows in memory, the only spill, or all spills merged; or none but the spills."""
        self._sort_gathered()
        output = self._output
        if output is not None and self._spills.count == 0 and not self._options.keep_spills:
            with naming(self._target):
                written = self._write_blocks(output)
            if self._options.merge.verify:
                verify_written(output, written.layout)
            output.publish()
            self._target_bytes = written.byte_count
            return written.layout, None
        if self._blocks or self._spills.count == 0:
            self._spill()
        if output is None:
            self._spills.publish_kept()
            return None, None
        self._threads.close()  # what their memory holds can be given back once they are gone
        if (layout := self._spills.publish_only_one()) is not None:
            self._target_bytes = self._spills.byte_count
            return layout, None
        merged, layout = self._spills.merge_into(output)
        if self._options.keep_spills:
            self._spills.publish_kept()
        output.publish()
        self._target_bytes = merged.target_bytes
        return layout, merged

    def _reported(self, layout: PartitionLayout | None, merged: MergeReport | None) -> MapReport:
        spills = self._spills
        return MapReport(
            target=None if self._output is None else str(self._target),
            partition_count=self._partitioner.partition_count,
            row_count=self._row_count,
            row_bytes=self._row_bytes,
            peak_memory_bytes=self._peak_bytes,
            target_bytes=self._target_bytes,
            spills=tuple(map(str, spills.names)),
            spill_count=spills.count,
            spilled_bytes=spills.byte_count,
            merge=merged,
            layout=layout,
            seconds_partitioning=self._seconds["partitioning"],
            seconds_sorting=self._seconds["sorting"],
            seconds_writing=self._seconds["writing"],
            seconds_merging=spills.seconds_joining + (merged.seconds if merged else 0.0),
            seconds=time.perf_counter() - self._started,
        )

    def _release(self) -> None:
        """Close what is open and let go of the rows."""
        self._closed = True
        self._threads.close()
        if self._output is not None:
            self._output.discard()
        self._spills.close()
        self._blocks, self._gathered = [], []

    @contextmanager
    def _timed(self, activity: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            with self._lock:  # sorting is done by several threads
                self._seconds[activity] += seconds


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
