"""Rows held back within a budget: gathered into blocks, which threads encode; spilled when the budget is spent.

What a spill is, and how blocks are written, is decided by ``map_writer.py``. Cuts and spills follow from the rows
alone, not from the threads.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from shuffle.arrays.plain_size import in_pieces, plain_bytes
from shuffle.machine.free_memory import give_back_memory
from shuffle.machine.ordered_threads import OrderedThreads
from shuffle.mapping.arenas import Arenas
from shuffle.mapping.block_order import check_partition_numbers
from shuffle.mapping.encoded_block import (
    MESSAGE_BYTES,
    BlockEncoder,
    EncodedBlock,
    EncodedMessage,
    Rows,
    in_partition_order,
)
from shuffle.mapping.windows import windows
from shuffle.partitioners import Partitioner

# The budget in parts. Batches that are cut take at most one each; the rest is for what is read, and for what malloc
# cannot give back.
_BUDGET_PARTS = 32
_INPUT_PARTS = 5  # rows that gather, and as many that are being encoded
_HELD_PARTS = 21  # blocks
_ROWS_PARTS = 17  # rows that wait as they came, where they do
_WINDOW_PARTS = 2  # of those, what is encoded at once
_MOST_WINDOWS = 4  # that are being encoded or wait to be written, however many threads there are

# So that a column of a batch stays in the second-level cache while its rows are taken in another order.
_BATCH_ROWS = 128 << 10
_LARGEST_BATCH_BYTES = 32 << 20

# A message's metadata are about a KiB, and a call or two: rows of a partition are worth one from here on.
_MESSAGE_BYTES = 64 << 10
_SMALLEST_BLOCK_BYTES = 16 << 20
_SMALL_MESSAGE_BYTES = 8 << 10  # where blocks would give a partition less, none are made before rows are written

_MOST_ENCODING = 4  # blocks
_COLUMN_OVERHEAD_BYTES = 200  # what Arrow and Python keep for a column of a batch, however few rows it has


class _Encoding(NamedTuple):
    block: Future[EncodedBlock]
    input_bytes: int


class HeldBlocks:
    """Rows that wait to be written.

    Args:
        encoder: makes blocks of them.
        partitioner: asked by the thread that calls ``add``, in the order of the rows.
        memory_bytes: the budget.
        threads: encode blocks; they stay the caller's.
        spill: writes what is ``encoded`` when the budget is spent. Afterwards it is forgotten.
        spilled: called when it is, and its memory is free.
    """

    def __init__(
        self,
        encoder: BlockEncoder,
        partitioner: Partitioner,
        memory_bytes: int,
        threads: OrderedThreads,
        spill: Callable[[], None],
        spilled: Callable[[], None],
    ) -> None:
        self.row_count: int = 0
        self.row_bytes: int = 0
        """Of all rows that were made blocks, as plain values in Arrow's memory."""
        self.peak_bytes: int = 0
        """The most that rows took at once."""
        self.seconds: dict[str, float] = {"partitioning": 0.0, "sorting": 0.0}
        """Summed over the threads."""
        self._encoder = encoder
        self._partitioner = partitioner
        self._threads = threads
        self._spill, self._spilled = spill, spilled
        part = memory_bytes // _BUDGET_PARTS
        self._largest_batch_bytes = min(part, _LARGEST_BATCH_BYTES)
        partition_count = partitioner.partition_count
        self._waits = partition_count * _SMALL_MESSAGE_BYTES > part * _INPUT_PARTS
        self._most_input_bytes = part * (_ROWS_PARTS if self._waits else _INPUT_PARTS)
        self._window_bytes = part * _WINDOW_PARTS // (1 + encoder.copies)
        self._most_held_bytes = part * _HELD_PARTS
        self._message_bytes = encoder.message_bytes()
        wanted_bytes = max(partition_count * _MESSAGE_BYTES, _SMALLEST_BLOCK_BYTES)
        self._block_bytes = min(wanted_bytes, self._most_held_bytes // 2)
        self._gathered: list[Rows] = []  # less than a block of them
        self._gathered_bytes = self._gathered_input_bytes = 0
        self._encoding: deque[_Encoding] = deque()
        self._encoding_bytes = 0
        self._blocks: list[Future[EncodedBlock]] = []
        self._held_bytes = 0
        self._arenas = Arenas(self._most_held_bytes)
        self._lock = threading.Lock()

    def add(self, batch: pa.RecordBatch) -> None:
        """Hold rows, after spilling others where all would pass the budget.

        Raises:
            ValueError: a partition number is wrong.
            OSError: the rows cannot be spilled.
        """
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            # Cut before anything decodes, as partitioners do, too: a dictionary may make rows many times larger.
            for part in in_pieces(batch.slice(start, _BATCH_ROWS), self._largest_batch_bytes):
                with self._timed("partitioning"):
                    numbers = self._partitioner.partition_numbers(part)
                    check_partition_numbers(numbers, part.num_rows, self._partitioner.partition_count)
                self._gather((part, numbers))
        self._own_gathered()

    def encode_gathered(self) -> None:
        """Make a block of the rows that wait for more of them, unless all wait until they are written."""
        if self._gathered and not self._waits:
            rows, self._gathered = self._gathered, []
            row_bytes, self._gathered_bytes = self._gathered_bytes, 0
            input_bytes, self._gathered_input_bytes = self._gathered_input_bytes, 0
            self._encode(rows, row_bytes, input_bytes)

    @property
    def has_rows(self) -> bool:
        """Whether there are any to write."""
        return bool(self._blocks or self._gathered)

    def encoded(self) -> Iterator[EncodedMessage]:
        """All rows, as messages in the order of their partitions; within one in the order of the rows. Borrowed until
        the rows are forgotten."""
        if not self._waits:
            yield from in_partition_order([block.result() for block in self._blocks])
        elif self._gathered:
            rows, row_bytes = self._gathered, self._gathered_bytes
            cut = windows(rows, self._partitioner.partition_count, row_bytes, self._window_bytes)
            share = row_bytes / sum(batch.num_rows for batch, _ in rows)
            for block in self._threads.map(partial(self._encoded, row_bytes=share), cut, _MOST_WINDOWS):
                yield from in_partition_order([block])

    def spill_all(self) -> None:
        """Write the blocks to a spill, and forget them."""
        self._spill()
        for block in self._blocks:
            if (arena := block.result().arena) is not None:
                self._arenas.give_back(arena)
        self._forget()
        if self._waits:  # where messages are small, the numbers that describe them take as much memory as their rows
            give_back_memory()
        self._spilled()

    def release(self) -> None:
        """Give the system the memory that waits for further blocks."""
        self._arenas.release()

    def discard(self) -> None:
        """Forget all rows, and give their memory back."""
        self._forget()
        self._gathered = []
        self.release()

    def _forget(self) -> None:
        """Forget what was written."""
        self._blocks, self._held_bytes = [], 0
        self._encoding.clear()
        self._encoding_bytes = 0
        if self._waits:
            self._gathered = []
            self._gathered_bytes = self._gathered_input_bytes = 0

    def _gather(self, rows: Rows) -> None:
        """Add rows to the waiting rows. If these fill a block already, that block is encoded or spilled first."""
        batch, numbers = rows
        row_bytes = plain_bytes(batch)
        if self._waits:
            batch = self._encoder.prepared(batch)
        input_bytes = batch.nbytes + numbers.nbytes + _COLUMN_OVERHEAD_BYTES * (batch.num_columns + 1)
        if not self._waits:
            input_bytes += self._encoder.copies * row_bytes
        is_enough = self._gathered_input_bytes + input_bytes > self._most_input_bytes
        if self._waits:
            if self._gathered and is_enough:
                self.spill_all()
            self._note_rows(batch.num_rows, row_bytes)
        elif is_enough or self._gathered_bytes + row_bytes > self._block_bytes:
            self.encode_gathered()
        self._gathered.append((batch, numbers))
        self._gathered_bytes += row_bytes
        self._gathered_input_bytes += input_bytes
        self._note_memory()

    def _note_rows(self, row_count: int, row_bytes: int) -> None:
        self.row_count += row_count
        self.row_bytes += row_bytes

    def _own_gathered(self) -> None:
        """Copy gathered rows that keep far more than themselves in memory: slices keep all that they were cut from."""
        self._gathered = [
            (pa.concat_batches([batch]), numbers)
            if batch.get_total_buffer_size() > 2 * self._gathered_input_bytes
            else (batch, numbers)
            for batch, numbers in self._gathered
        ]

    def _encode(self, rows: list[Rows], row_bytes: int, input_bytes: int) -> None:
        """Begin to make a block of rows, after spilling where it would pass the budget."""
        row_count = sum(batch.num_rows for batch, _ in rows)
        needed = row_bytes + min(row_count, self._partitioner.partition_count) * self._message_bytes
        if self._blocks and self._held_bytes + needed > self._most_held_bytes:
            self.spill_all()
        if needed > self._most_held_bytes:  # a single row; there is no room for what is kept of the others
            self.release()
            give_back_memory()
        while self._encoding and (
            self._encoding_bytes + input_bytes > self._most_input_bytes or len(self._encoding) >= _MOST_ENCODING
        ):
            oldest = self._encoding.popleft()
            oldest.block.result()
            self._encoding_bytes -= oldest.input_bytes
        block = self._threads.submit(partial(self._encoded, row_bytes=row_bytes / row_count), rows)
        self._blocks.append(block)
        self._encoding.append(_Encoding(block, input_bytes))
        self._encoding_bytes += input_bytes
        self._held_bytes += needed
        self._note_memory()
        self._note_rows(row_count, row_bytes)
        if needed > self._most_held_bytes:
            self.spill_all()

    def _encoded(self, rows: list[Rows], row_bytes: float) -> EncodedBlock:
        with self._timed("sorting"):
            return self._encoder.encode(rows, max(int(MESSAGE_BYTES / max(row_bytes, 1)), 1), self._arenas.take)

    def _note_memory(self) -> None:
        self.peak_bytes = max(self.peak_bytes, self._held_bytes + self._encoding_bytes + self._gathered_input_bytes)

    @contextmanager
    def _timed(self, activity: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            with self._lock:  # encoding is done by several threads
                self.seconds[activity] += seconds
