"""The rows of one partition after another in batches of one size, however the batches were cut that bring them. PURE.

Where a batch ends follows from the rows alone: rows that were cut like this once are cut alike again. Reading, decoding
and encoding are the business of others.
"""
# PURE

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shuffle.arrays.memory import is_variable_binary
from shuffle.arrays.sortable import has_unions

BATCH_BYTES = 1 << 20
"""Of values in a batch: it ends with the row that reaches so many. A frame costs 1 KiB and 50 µs; beyond, batches leave
the cache."""

# Arrow's usual pool, mimalloc, keeps much of what one thread allocated and another one freed.
_POOL = pa.system_memory_pool()
_BATCH_BITS = 8 * BATCH_BYTES

_Borders = npt.NDArray[np.int32 | np.int64]
_types = pa.types


@dataclass(slots=True)
class RowBits:
    """How many bits of values the first rows of arrays hold.

    Values, offsets, and a bit of validity for each value, whether there are nulls or not: a property of rows, which no
    padding, no buffer shared with others and no bitmap left out changes.

    Attributes:
        per_row: what each row holds.
        nested: where the values of each array end that is counted by its own rows: ``[N + 1]`` for N rows of these.
    """

    per_row: int = 0
    nested: list[tuple[_Borders, RowBits]] = field(default_factory=list)

    @classmethod
    def of(cls, rows: pa.RecordBatch) -> RowBits:
        """Those of the columns of ``joined`` rows, one or more of them."""
        bits = cls()
        for column in rows.columns:
            bits._add(column)
        return bits

    def of_first(self, row_count: int) -> int:
        """The bits of so many rows."""
        bits = self.per_row * row_count
        for borders, values in self.nested:
            bits += values.of_first(int(borders[row_count]))
        return bits

    def _add(self, array: pa.Array) -> None:
        kind = array.type
        self.per_row += 1
        if isinstance(kind, pa.BaseExtensionType):
            self.per_row -= 1
            self._add(array.storage)
        elif is_variable_binary(kind):
            borders = _offsets(array)
            self.per_row += 8 * borders.itemsize
            self.nested.append((borders, RowBits(8)))
        elif _types.is_list(kind) or _types.is_large_list(kind) or _types.is_map(kind):
            borders = _offsets(array)
            self.per_row += 8 * borders.itemsize
            self.nested.append((borders, _bits_of(array.values)))
        elif _types.is_fixed_size_list(kind):
            values = _bits_of(array.values)
            self.per_row += kind.list_size * values.per_row
            if kind.list_size:
                self.nested += [(borders[:: kind.list_size], inner) for borders, inner in values.nested]
        elif _types.is_struct(kind):
            for number in range(kind.num_fields):
                self._add(array.field(number))
        elif _types.is_union(kind):
            self._add_union(array)
        elif not _types.is_null(kind):
            self.per_row += kind.bit_width

    def _add_union(self, array: pa.Array) -> None:
        kind = array.type
        codes = np.frombuffer(array.buffers()[1], np.int8, len(array))
        self.per_row += 8
        for number, code in enumerate(kind.type_codes):
            if kind.mode == "sparse":
                self._add(array.field(number))
            else:  # once rows were taken, each child has the values of its own, in their order
                counts = np.concatenate(([0], np.cumsum(codes == code)))
                self.nested.append((counts, _bits_of(array.field(number))))
        self.per_row += 0 if kind.mode == "sparse" else 32


@dataclass(frozen=True, slots=True, eq=False)
class Portion:
    """Some more rows of a partition, ``joined`` and at least one; their schema is a ``sortable_schema``."""

    partition: int
    rows: pa.RecordBatch
    bits: RowBits

    @classmethod
    def of(cls, partition: int, table: pa.Table) -> Portion:
        """The rows of a table; copied."""
        rows = joined(table)
        return cls(partition, rows, RowBits.of(rows))


class Slice(NamedTuple):
    """Rows ``[start, stop)`` of a portion."""

    portion: Portion
    start: int
    stop: int

    @property
    def rows(self) -> pa.RecordBatch:
        """The rows, not copied."""
        return self.portion.rows.slice(self.start, self.stop - self.start)

    @property
    def bits(self) -> int:
        """What they hold."""
        return self.portion.bits.of_first(self.stop) - self.portion.bits.of_first(self.start)


class Group(NamedTuple):
    """The rows of one batch to be: their partition, and where they are, in order."""

    partition: int
    slices: Sequence[Slice]

    @property
    def byte_count(self) -> int:
        """Bytes of values, rounded down."""
        return sum(part.bits for part in self.slices) // 8

    def joined(self) -> pa.RecordBatch:
        """The batch: from offset 0 on, with no values of other rows."""
        portion, start, stop = self.slices[0]
        if len(self.slices) == 1 and (start, stop) == (0, portion.rows.num_rows):
            return portion.rows
        return joined(pa.Table.from_batches([part.rows for part in self.slices]))


def rebatched(portions: Iterable[Portion]) -> Iterator[Group]:
    """The rows of portions, partitions in non-decreasing order, in groups of ``BATCH_BYTES``: a group ends with the row
    that reaches these, or with its partition."""
    gathered: list[Slice] = []  # the last rows, which are not enough yet
    missing = _BATCH_BITS
    for portion in portions:
        if gathered and portion.partition != gathered[0].portion.partition:
            yield Group(gathered[0].portion.partition, gathered)
            gathered, missing = [], _BATCH_BITS
        start, row_count, row_bits = 0, portion.rows.num_rows, portion.bits.of_first
        before, total = 0, row_bits(row_count)
        while total - before >= missing:
            # The first row that is enough: what rows hold never decreases.
            stop = bisect_left(range(row_count), before + missing, lo=start + 1, key=row_bits)
            yield Group(portion.partition, [*gathered, Slice(portion, start, stop)])
            gathered, missing = [], _BATCH_BITS
            start, before = stop, row_bits(stop)
        if start < row_count:
            gathered.append(Slice(portion, start, row_count))
            missing -= total - before
    if gathered:
        yield Group(gathered[0].portion.partition, gathered)


def joined(table: pa.Table) -> pa.RecordBatch:
    """A copy of the rows of a table, one or more of them: from offset 0 on, with no values of other rows."""
    if table.num_columns and table.column(0).num_chunks > 1:
        table = table.combine_chunks(memory_pool=_POOL)
        (rows,) = table.to_batches()
    else:  # what is in one chunk would be left where it is
        rows = pa.concat_batches(table.to_batches(), memory_pool=_POOL)
    if not has_unions(rows.schema):
        return rows
    # Dense unions keep all values of slices that are joined; taking rows drops them, and brings them into order.
    order = pa.Array.from_buffers(pa.int64(), rows.num_rows, [None, pa.py_buffer(np.arange(rows.num_rows))])
    return pc.take(rows, order, boundscheck=False, memory_pool=_POOL)


def _bits_of(array: pa.Array) -> RowBits:
    bits = RowBits()
    bits._add(array)
    return bits


def _offsets(array: pa.Array) -> _Borders:
    kind = array.type
    is_large = _types.is_large_list(kind) or _types.is_large_string(kind) or _types.is_large_binary(kind)
    dtype: type[np.int32 | np.int64] = np.int64 if is_large else np.int32
    buffer = array.buffers()[1]
    if buffer is None or not buffer.size:  # as Arrow allows for an empty array
        return np.zeros(1, dtype)
    return np.frombuffer(buffer, dtype, len(array) + 1)
