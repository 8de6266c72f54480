"""A block of rows as finished messages, from columns in any order to bodies in one pass. Pure.

For columns that have no others in them, and for bodies that are not compressed; ``arrow_block.py`` is for all.
"""
# PURE

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from types import ModuleType

import numpy as np
import pyarrow as pa

from shuffle.arrays.flat_columns import FlatColumn, FlatLayout, flat_column, flat_layout, is_view
from shuffle.arrays.gather import Int64Array, Runs, UInt8Array
from shuffle.mapping.arrow_block import ArrowEncoder
from shuffle.mapping.block_order import Share, shares
from shuffle.mapping.encoded_block import Allocate, EncodedBlock, EncodedMessage, Rows
from spill_format.batch_template import BatchTemplate
from spill_format.checksum import crc32c

_FILLED_AT_ONCE = 256  # of metadata, about a KiB each
_MESSAGE_NUMBERS = 6


class FlatEncoder:
    """Makes blocks of batches of one schema.

    Args:
        schema: as it is stored.
        layouts: of its columns, as ``flat_layouts`` gives them.
        functions: ``shuffle.arrays.gather``, or the same compiled.
    """

    def __init__(self, schema: pa.Schema, layouts: Sequence[FlatLayout], functions: ModuleType) -> None:
        self._schema = schema
        self._layouts = layouts
        self._template = BatchTemplate(schema)
        self._of_one_row = ArrowEncoder(schema, None)
        self._functions = functions

    @property
    def copies(self) -> int:
        """None: rows are put into messages from where they lie."""
        return 0

    def prepared(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows, with plain texts instead of views."""
        columns = [
            column.cast(field.type) if is_view(column.type) else column
            for column, field in zip(batch.columns, self._schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)

    def message_bytes(self) -> int:
        """What a message takes in memory besides its rows: numbers, and what fills up its buffers."""
        buffers = sum(layout.buffer_count for layout in self._layouts)
        return 8 * (2 * buffers + len(self._layouts) + _MESSAGE_NUMBERS)

    def encode(self, rows: Sequence[Rows], most_rows: int, allocate: Allocate) -> EncodedBlock:
        """The messages of a block; see ``BlockEncoder``."""
        if sum(batch.num_rows for batch, _ in rows) == 1:  # it may be all that memory holds: Arrow does not copy it
            return self._of_one_row.encode(rows, most_rows, allocate)
        partitions, of_batches = shares([numbers for _, numbers in rows], most_rows)
        counts = np.zeros(len(partitions), np.int64)
        for share in of_batches:
            counts[share.messages] += share.counts
        columns = [
            _Column(
                layout, [flat_column(batch.column(number), field.type, layout) for batch, _ in rows], of_batches, counts
            )
            for number, (field, layout) in enumerate(zip(self._schema, self._layouts, strict=True))
        ]
        lengths = np.stack([part for column in columns for part in column.buffer_lengths(self._functions)], axis=1)
        padded = lengths + (-lengths) % 8
        body_lengths = padded.sum(axis=1)
        stops = np.cumsum(body_lengths)
        arena = allocate(int(stops[-1]))
        places = (np.cumsum(padded) - padded.reshape(-1)).reshape(padded.shape)
        first = 0
        for column in columns:
            buffers = slice(first, first + column.layout.buffer_count)
            column.gather(self._functions, places[:, buffers], places[:, buffers] + lengths[:, buffers], arena)
            first = buffers.stop
        _clear_padding(arena, places + lengths)
        nulls = np.stack([column.null_counts() for column in columns], axis=1)
        return _FlatBlock(self._template, partitions, counts, nulls, lengths, stops, arena)


class _FlatBlock:
    """A block the bodies of which stand behind each other in one piece of memory."""

    def __init__(
        self,
        template: BatchTemplate,
        partitions: Int64Array,
        row_counts: Int64Array,
        null_counts: Int64Array,
        buffer_lengths: Int64Array,
        stops: Int64Array,
        arena: UInt8Array,
    ) -> None:
        self.partitions = partitions
        self.arena = arena
        self._template = template
        self._row_counts, self._null_counts, self._buffer_lengths = row_counts, null_counts, buffer_lengths
        self._places = np.append(0, stops)
        bodies = arena.data
        self._checksums = np.fromiter(
            (crc32c(bodies[start:stop]) for start, stop in pairwise(self._places.tolist())), np.uint32, len(stops)
        )
        self._filled = range(0)  # messages the metadata of which are here
        self._metadata = memoryview(b"")

    def message(self, number: int) -> EncodedMessage:
        if number not in self._filled:
            self._filled = some = range(number, min(number + _FILLED_AT_ONCE, len(self.partitions)))
            part = slice(some.start, some.stop)
            filled = self._template.fill(self._row_counts[part], self._null_counts[part], self._buffer_lengths[part])
            self._metadata = filled.reshape(-1).data
        head = (number - self._filled.start) * self._template.metadata_bytes
        start, stop = self._places[number], self._places[number + 1]
        return EncodedMessage(
            int(self.partitions[number]),
            int(self._row_counts[number]),
            self._metadata[head : head + self._template.metadata_bytes],
            (self.arena.data[start:stop],),
            int(self._checksums[number]),
        )


def flat_layouts(schema: pa.Schema) -> list[FlatLayout] | None:
    """The layouts of a stored schema's columns; None where there is no column, or one that is not flat."""
    layouts = [flat_layout(field.type) for field in schema]
    return [layout for layout in layouts if layout is not None] if layouts and None not in layouts else None


class _Column:
    """A column of a block: its parts from each batch, and the messages that they go to."""

    def __init__(
        self, layout: FlatLayout, parts: Sequence[FlatColumn], shares: Sequence[Share], row_counts: Int64Array
    ) -> None:
        self.layout = layout
        self._parts = list(zip(parts, shares, strict=True))
        self._row_counts = row_counts
        self._has_nulls = any(part.valid is not None for part in parts)

    def null_counts(self) -> Int64Array:
        """Of each message."""
        counts = np.zeros_like(self._row_counts)
        for part, share in self._parts:
            if part.valid is not None:
                is_null = ~part.valid[share.order]
                counts[share.messages] += np.add.reduceat(is_null, share.starts[:-1], dtype=np.int64)
        return counts

    def buffer_lengths(self, functions: ModuleType) -> list[Int64Array]:
        """Bytes of each buffer, of each message. A column with a null anywhere has the bits in all messages."""
        counts, width = self._row_counts, self.layout.width
        bits = (counts + 7) // 8
        valid = bits if self._has_nulls else np.zeros_like(counts)
        if not self.layout.is_text:
            return [valid, counts * width if width else bits]
        texts = np.zeros_like(counts)
        for part, share in self._parts:
            sums = np.empty(len(share.messages), np.int64)
            functions.text_lengths(part.values, width, _runs(part, share), sums)
            texts[share.messages] += sums
        return [valid, (counts + 1) * width, texts]

    def gather(self, functions: ModuleType, buffers: Int64Array, ends: Int64Array, arena: UInt8Array) -> None:
        """Put the rows into the arena: into the buffers of each message, from place to end, ``int64[M, buffers]``."""
        width = self.layout.width
        done = np.zeros_like(self._row_counts)  # of each message
        text_bytes = np.zeros_like(done)
        for part, share in self._parts:
            runs, before, to = _runs(part, share), done[share.messages], buffers[share.messages]
            if self._has_nulls:
                valid = np.ones(len(share.order), np.bool_) if part.valid is None else part.valid
                bits = np.packbits(valid, bitorder="little")
                functions.gather_bits(bits, 0, Runs(share.order, share.starts), to[:, 0] * 8 + before, arena)
            if self.layout.is_text:
                bases = text_bytes[share.messages]
                offsets, texts, stops = to[:, 1] + before * width, to[:, 2].copy(), ends[share.messages, 2]
                functions.gather_texts(part.values, width, part.texts, runs, offsets, texts, stops, bases, arena)
                text_bytes[share.messages] = bases
            elif width:
                functions.gather_values(part.values, width, runs, to[:, 1] + before * width, arena)
            else:
                functions.gather_bits(part.values, part.first, runs, to[:, 1] * 8 + before, arena)
            done[share.messages] += share.counts


def _runs(part: FlatColumn, share: Share) -> Runs:
    width = 0 if part.codes is None else part.codes.itemsize
    return Runs(share.order, share.starts, part.codes, width, part.valid)


def _clear_padding(arena: UInt8Array, stops: Int64Array) -> None:
    """Fill up the buffers that stop at these places with zeroes, up to the next multiple of eight."""
    flat = stops.reshape(-1)
    padding = -flat % 8
    first = flat - np.cumsum(padding) + padding
    arena[np.repeat(first, padding) + np.arange(int(padding.sum()))] = 0
