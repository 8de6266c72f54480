"""Rows held back within a budget: gathered into blocks, which threads sort; spilled when the budget is spent.

What a spill is, and how blocks are written, is decided by ``map_writer.py``. Cuts and spills follow from the rows
alone, not from the threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pyarrow as pa

from shuffle.arrays.plain_size import in_pieces
from shuffle.arrays.sortable import sortable_schema, to_sortable
from shuffle.machine.ordered_threads import OrderedThreads
from shuffle.mapping.sorted_block import (
    BLOCK_ROWS,
    SortedBlock,
    block_bytes,
    block_rows,
    check_partition_numbers,
    largest_block_bytes,
    sort_block,
)
from shuffle.partitioners import Partitioner
from shuffle.partitioners.protocol import PartitionNumbers
from spill_format.schemas import to_storage

# Of the budget, a block takes at most one part in 32; 21 parts hold sorted blocks, and the other eleven are for a block
# that gathers, for those being sorted, whose unsorted rows are still there, and for what malloc cannot give back.
_BUDGET_PARTS = 32
_HELD_PARTS = 21
_MOST_SORTING = 4

_COLUMN_OVERHEAD_BYTES = 200  # what Arrow and Python keep for a column of a batch, however few rows it has

_Rows = tuple[pa.RecordBatch, PartitionNumbers]


class HeldBlocks:
    """Rows that wait to be written.

    Args:
        stored_schema: of the blocks, before they get the form in which they are sorted.
        partitioner: asked by the thread that calls ``add``, in the order of the rows.
        memory_bytes: the budget.
        threads: sort blocks; they stay the caller's.
        spill: writes ``blocks`` when the budget is spent. Afterwards the blocks are forgotten.
    """

    def __init__(
        self,
        stored_schema: pa.Schema,
        partitioner: Partitioner,
        memory_bytes: int,
        threads: OrderedThreads,
        spill: Callable[[], None],
    ) -> None:
        self.row_count: int = 0
        self.row_bytes: int = 0
        """Of all rows that were made blocks, as Arrow counts them."""
        self.peak_bytes: int = 0
        """The most that rows took at once."""
        self.seconds: dict[str, float] = {"partitioning": 0.0, "sorting": 0.0}
        """Summed over the threads."""
        self._stored_schema = stored_schema
        self._sortable_schema = sortable_schema(stored_schema)
        self._partitioner = partitioner
        self._threads = threads
        self._most_sorting = min(threads.threads, _MOST_SORTING)
        self._spill = spill
        self._block_rows = block_rows(partitioner.partition_count)
        self._largest_block_bytes = largest_block_bytes(memory_bytes // _BUDGET_PARTS)
        self._most_held_bytes = memory_bytes // _BUDGET_PARTS * _HELD_PARTS
        self._gathered: list[_Rows] = []  # less than a block of them
        self._gathered_rows = self._gathered_bytes = 0
        self._blocks: list[Future[SortedBlock]] = []
        self._held_bytes = 0
        self._lock = threading.Lock()

    def add(self, batch: pa.RecordBatch) -> None:
        """Hold rows, after spilling others where all would pass the budget.

        Raises:
            ValueError: a partition number is wrong.
            OSError: the rows cannot be spilled.
        """
        for start in range(0, batch.num_rows, BLOCK_ROWS):
            # Cut before anything decodes, as partitioners do, too: a dictionary may make rows many times larger.
            for part in in_pieces(batch.slice(start, BLOCK_ROWS), self._largest_block_bytes):
                with self._timed("partitioning"):
                    numbers = self._partitioner.partition_numbers(part)
                    check_partition_numbers(numbers, part.num_rows, self._partitioner.partition_count)
                self._gather(to_sortable(to_storage(part, self._stored_schema), self._sortable_schema), numbers)

    def sort_gathered(self) -> None:
        """Make a block of the rows that wait for more of them."""
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._gathered_rows = self._gathered_bytes = 0
            self._sort(gathered)

    @property
    def has_blocks(self) -> bool:
        """Whether there is a block."""
        return bool(self._blocks)

    def blocks(self) -> list[SortedBlock]:
        """Wait for the blocks that are held; return them in the order of their rows."""
        return [block.result() for block in self._blocks]

    def spill_all(self) -> None:
        """Write the blocks to a spill, and forget them."""
        self._spill()
        self._blocks, self._held_bytes = [], 0

    def discard(self) -> None:
        """Forget all rows."""
        self._blocks, self._gathered = [], []

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
                self.sort_gathered()
        else:
            self.sort_gathered()
            self._sort([(rows, numbers)])

    def _sort(self, rows: list[_Rows]) -> None:
        """Begin to make a block of rows, after spilling where it would pass the budget."""
        row_bytes = sum(batch.nbytes for batch, _ in rows)
        needed = block_bytes(row_bytes, sum(numbers.nbytes for _, numbers in rows))
        if self._blocks and self._held_bytes + needed > self._most_held_bytes:
            self.spill_all()
            if needed > self._most_held_bytes:  # a single row; there is no room for what malloc keeps of the others
                pa.system_memory_pool().release_unused()
        self._blocks.append(self._threads.submit(self._sorted, rows))
        self._held_bytes += needed
        self._note_memory()
        self.row_count += sum(batch.num_rows for batch, _ in rows)
        self.row_bytes += row_bytes
        if len(self._blocks) > self._most_sorting:
            self._blocks[-1 - self._most_sorting].result()
        if needed > self._most_held_bytes:
            self.spill_all()

    def _sorted(self, rows: list[_Rows]) -> SortedBlock:
        with self._timed("sorting"):
            return sort_block([batch for batch, _ in rows], [numbers for _, numbers in rows])

    def _note_memory(self) -> None:
        self.peak_bytes = max(self.peak_bytes, self._held_bytes + self._gathered_bytes)

    @contextmanager
    def _timed(self, activity: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            with self._lock:  # sorting is done by several threads
                self.seconds[activity] += seconds
