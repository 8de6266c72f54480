"""The map side of a shuffle: rows in any order become one partitioned file, inside a memory budget.

Rows are held back in partition order; when the budget is spent they become a spill. Closing merges the spills. Which
row goes where is the partitioner's business, how a file is written ``SpillEncoder``'s, how spills are merged ``merge.py``'s.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from shuffle.config import MapOptions
from shuffle.merge import PreparedMerge, plan_sources, write_merged
from shuffle.partitioners import Partitioner
from shuffle.report import MapReport, MergeReport
from shuffle.sorted_block import BLOCK_ROWS, SortedBlock, partition_batches, sort_block
from shuffle.sources import SPILL_PATTERN, Source, borrow_source, open_source
from spill_format.publish import PendingFile, open_pending
from spill_format.schemas import describe_difference
from spill_format.writer import SpillEncoder

_BLOCK_SHARE = 8  # a block is at most this part of the budget, since sorting it takes two more of its size
_MAXIMUM_UNNAMED_SPILLS = 128  # each holds a descriptor


class MapWriter:
    """Writes one map output: every row given to it, in the partition that the partitioner names, in the order given.

    Args:
        target: the file to publish; whole when the writer is closed, or not at all.
        schema: of every batch.
        partitioner: see ``shuffle.partitioners``.
        options: see ``MapOptions``.

    Raises:
        ValueError: the partitioner does not fit the schema; an option is out of its bounds.
        TargetExistsError: the target is there, and ``overwrite`` is off.
        OSError: target or spill directory cannot be written.

    Used as a context manager, an exception discards everything, spills that were to be kept as well. Not thread-safe.
    """

    def __init__(
        self,
        target: str | PathLike[str],
        schema: pa.Schema,
        partitioner: Partitioner,
        options: MapOptions | None = None,
    ) -> None:
        self._started = time.perf_counter()
        self._options = options or MapOptions()
        self._schema = schema
        self._partitioner = partitioner
        partitioner.check_schema(schema)
        self._target = Path(target)
        self._spill_directory = Path(self._options.spill_directory or self._target.absolute().parent)
        self._output = self._open(self._target, None)
        self._waiting: list[pa.RecordBatch] = []  # rows as they came, less than a block of them
        self._waiting_rows = self._waiting_bytes = 0
        self._blocks: list[SortedBlock] = []
        self._block_bytes = 0
        self._unnamed_spills: list[PendingFile] = []
        self._named_spills: list[Path] = []
        self._spill_count = self._spilled_bytes = self._row_count = 0
        self._seconds = {"partitioning": 0.0, "sorting": 0.0, "writing": 0.0}
        self._closed = False
        self.report: MapReport | None = None
        """What was done, once the writer is closed."""

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Add rows.

        Raises:
            ValueError: their schema is another one, or the writer is closed.
            OSError: a spill cannot be written.
        """
        if self._closed:
            raise ValueError("the writer is closed")
        if (difference := describe_difference(self._schema, rows.schema)) is not None:
            raise ValueError(f"the rows have another schema than the writer: {difference}")
        for batch in rows.to_batches() if isinstance(rows, pa.Table) else [rows]:
            for piece in self._pieces(batch):
                self._waiting.append(piece)
                self._waiting_rows += piece.num_rows
                self._waiting_bytes += piece.nbytes
                if self._waiting_rows >= BLOCK_ROWS or self._waiting_bytes >= self._largest_block_bytes:
                    self._sort_waiting()

    def close(self) -> None:
        """Merge what was spilled and publish the map output. Does nothing the second time.

        Raises:
            SpillError, OSError: as merging and publishing do; nothing is left behind.
        """
        if self._closed:
            return
        self._closed = True
        try:
            merged = self._finish()
        except BaseException:
            self._remove_named_spills()
            raise
        finally:
            self._release()
        self.report = MapReport(
            target=str(self._target),
            partition_count=self._partitioner.partition_count,
            row_count=self._row_count,
            target_bytes=os.stat(self._target).st_size,
            spills=tuple(map(str, self._named_spills)),
            spill_count=self._spill_count,
            spilled_bytes=self._spilled_bytes,
            merge=merged,
            seconds_partitioning=self._seconds["partitioning"],
            seconds_sorting=self._seconds["sorting"],
            seconds_writing=self._seconds["writing"],
            seconds=time.perf_counter() - self._started,
        )

    def discard(self) -> None:
        """Give everything up; nothing remains."""
        if not self._closed:
            self._closed = True
            self._remove_named_spills()
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

    @property
    def _largest_block_bytes(self) -> int:
        return self._options.memory_bytes // _BLOCK_SHARE

    def _pieces(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """A batch cut so that each piece is at most a block, in rows and, down to a single row, in bytes."""
        for start in range(0, batch.num_rows, BLOCK_ROWS):
            pieces = [batch.slice(start, BLOCK_ROWS)]
            while pieces:
                piece = pieces.pop()
                if piece.num_rows > 1 and piece.nbytes > self._largest_block_bytes:
                    half = piece.num_rows // 2
                    pieces += [piece.slice(half), piece.slice(0, half)]
                else:
                    yield piece

    def _sort_waiting(self) -> None:
        """Turn the rows that wait into a block, after spilling where it would pass the budget."""
        if not self._waiting:
            return
        # The block itself, the rows it is taken from and, where those are several batches, their concatenation.
        needed = (3 if len(self._waiting) > 1 else 2) * self._waiting_bytes
        if self._blocks and self._block_bytes + needed > self._options.memory_bytes:
            self._spill()
        batch = self._waiting[0] if len(self._waiting) == 1 else pa.concat_batches(self._waiting)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
        with self._timed("partitioning"):
            numbers = self._partitioner.partition_numbers(batch)
        with self._timed("sorting"):
            block = sort_block(batch, numbers, self._partitioner.partition_count)
        self._blocks.append(block)
        self._block_bytes += block.memory_bytes
        self._row_count += batch.num_rows

    def _spill(self) -> None:
        """Write the blocks to a spill, and let go of them."""
        self._spill_count += 1
        if not self._options.keep_spills:
            spill = self._open(self._target, self._spill_directory)
            self._unnamed_spills.append(spill)
            self._spilled_bytes += self._write_blocks(spill)
            if len(self._unnamed_spills) == _MAXIMUM_UNNAMED_SPILLS:
                self._join_unnamed_spills()
            return
        stem = self._target.name.removesuffix(".arrow")
        path = self._spill_directory / f"{stem}-{self._spill_count - 1:05}{SPILL_PATTERN}"
        with self._open(path, None) as spill:
            self._spilled_bytes += self._write_blocks(spill)
            spill.publish()
        self._named_spills.append(path)

    def _write_blocks(self, file: PendingFile) -> int:
        """Write a whole partitioned file of the blocks, and let go of them; its size."""
        with self._timed("writing"):
            encoder = SpillEncoder(
                file,
                self._schema,
                self._partitioner.partition_count,
                self._options.compression,
                self._options.alignment,
            )
            for partition, batch in partition_batches(self._blocks):
                encoder.write(partition, batch)
            encoder.finish()
        self._blocks, self._block_bytes = [], 0
        return encoder.byte_count

    def _join_unnamed_spills(self) -> None:
        """Merge the spills so far into one, so that there are never too many descriptors."""
        joined = self._open(self._target, self._spill_directory)
        try:
            write_merged(self._prepared(), joined, self._options.merge)
        except BaseException:
            joined.discard()
            raise
        for spill in self._unnamed_spills:
            spill.discard()
        self._unnamed_spills = [joined]

    def _finish(self) -> MergeReport | None:
        """Publish the output: the rows in memory, the only spill, or all spills merged."""
        self._sort_waiting()
        if self._spill_count == 0 and not self._options.keep_spills:
            self._write_blocks(self._output)
            self._output.publish()
            return None
        if self._blocks or self._spill_count == 0:
            self._spill()
        if len(self._unnamed_spills) == 1 and self._published_as_it_is(self._unnamed_spills[0]):
            return None
        report = write_merged(self._prepared(), self._output, self._options.merge)
        self._output.publish()
        return report

    def _published_as_it_is(self, spill: PendingFile) -> bool:
        """Give the only spill the target's name; not possible where it lies on another file system."""
        try:
            spill.publish()
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return False
        return True

    def _prepared(self) -> PreparedMerge:
        sources: list[Source] = [open_source(path) for path in self._named_spills]
        for number, spill in enumerate(self._unnamed_spills):
            sources.append(borrow_source(spill.fd, f"spill {number} of {self._target}"))
        return plan_sources(sources)

    def _open(self, path: Path, directory: Path | None) -> PendingFile:
        merge = self._options.merge
        return open_pending(path, directory=directory, overwrite=merge.overwrite, durable=merge.durable)

    def _remove_named_spills(self) -> None:
        for path in self._named_spills:
            with suppress(FileNotFoundError):
                path.unlink()

    def _release(self) -> None:
        """Close what is open and let go of the rows."""
        self._output.discard()
        for spill in self._unnamed_spills:
            spill.discard()
        self._blocks, self._waiting = [], []

    @contextmanager
    def _timed(self, activity: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[activity] += time.perf_counter() - started
