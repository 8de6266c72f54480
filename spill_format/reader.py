"""Reading a partitioned file: its layout, and the rows of its partitions, zero-copy from a memory map."""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Iterator, Sequence
from itertools import pairwise
from os import PathLike
from typing import Any, Literal, get_args

import pyarrow as pa

from .closing import Closing
from .decoder import Decoder, SelectingDecoder
from .description import DescribedFile
from .errors import REPAIR_ADVICE, CorruptError, TruncatedError
from .index import IndexPart
from .messages import find_defect, find_metadata_defect
from .range_check import RangeChecker
from .slices import PartitionSlice, even_cuts
from .storage.local import LOCAL
from .storage.protocol import Storage
from .storage.windows import ReadWindows
from .structure import Outline, check_footer, read_outline, read_structure_by
from .undecodable import UNDECODABLE, decoding

Check = Literal["values", "bytes", "nothing"]

_FEW_MESSAGES = 1 << 14  # 192 KiB of index
_WIDE_PARTITIONS = 2048  # a block of the index has as many
_PARTS_KEPT = 4
_RUN_BYTES = 16 << 20  # of ranges, read at once where a file is not mapped


class SpillFile(DescribedFile, Closing):
    """A partitioned file, a spill or a merge's output, open for reading.

    Args:
        path: the file. Its ends, its schema and the outline of its index are read and checked now; partitions with
            what the index says of them when they are asked for.
        storage: where the file is, by default on this system. What has no descriptors is read by ranges.
        check: what reading checks of values. ``"bytes"``: each record batch's bytes by their checksum or, where only
            some columns are read, the values of these. ``"values"``: besides, that offsets lie within their buffers
            and text is valid UTF-8, for files from strangers. ``"nothing"``: values are not looked at, and no page of
            them touched; damage then crashes whoever follows them.
        mapped: whether the file is mapped into memory. Without, ranges are read into memory: slower, but a sector that
            cannot be read is an OSError instead of a signal, SIGBUS.

    Raises:
        CorruptError, TruncatedError, ChecksumError: the structure is damaged.
        NotPartitionedError: an Arrow file without an index section.
        VersionError: written by a newer major version of the format.
        OSError: the file cannot be opened.

    What is read refers to the memory map and keeps it alive, also after ``close``. The file must not be cut short
    meanwhile: the kernel would answer with SIGBUS. Thread-safe, as far as the storage is.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        storage: Storage = LOCAL,
        check: Check = "bytes",
        mapped: bool = True,
    ) -> None:
        if check not in get_args(Check):
            raise ValueError(f"check must be one of {', '.join(map(repr, get_args(Check)))}, not {check!r}")
        self._check: Check = check
        self._file = storage.open(path)
        self._close_file = weakref.finalize(self, self._file.close)
        self._map: mmap.mmap | None = None
        try:
            read = self._file.read_at
            if not storage.abilities.has_descriptors:
                read = ReadWindows(read, self._file.byte_count)
            super().__init__(read_outline(read, self._file.path, self._file.byte_count), read)
            if mapped and self._file.descriptor is not None:
                self._map = _mapped_whole(self._file.descriptor, self._outline)
        except BaseException:
            self._close_file()
            raise
        self._buffer = None if self._map is None else pa.py_buffer(self._map)
        self._parts: list[IndexPart] = []  # that were read last
        self._decode_all = Decoder(
            self._stored_schema, self.schema, validate=check == "values", trust=check == "nothing"
        )
        summary = self._outline.index.summary
        self._is_small = max(summary.partition_count, summary.batch_count) <= _FEW_MESSAGES
        self._footer_is_sound = False  # unless looked at

    def __repr__(self) -> str:
        state = "" if self._close_file.alive else ", closed"
        return f"SpillFile({self.path!r}, {self.partition_count} partitions, {self.byte_count} bytes{state})"

    def read(self, start: int, stop: int | None = None, *, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one partition, or of partitions ``start`` … ``stop - 1``, in file order.

        Args:
            start, stop: the partitions; their ranges touch, so that several are one contiguous read.
            columns: names of the columns wanted, in the order wanted; None for all. No page is touched, and nothing
                decompressed, of the others.

        Returns:
            A table over the memory map: nothing is copied, but for compressed bodies and dictionary-encoded columns.

        Raises:
            IndexError: there is no such partition.
            ValueError: there is no such column, or several have its name.
            ChecksumError, CorruptError: a message is damaged, or cannot be decoded.
        """
        start, stop = self._partitions(start, stop)
        decode = self._decoder(columns)
        return pa.Table.from_batches(self._batches(start, stop, decode, self.byte_count), schema=decode.schema)

    def batches(
        self, start: int, stop: int | None = None, *, columns: Sequence[str] | None = None
    ) -> pa.RecordBatchReader:
        """As ``read``, one record batch after the other."""
        start, stop = self._partitions(start, stop)
        decode = self._decoder(columns)
        return pa.RecordBatchReader.from_batches(decode.schema, self._batches(start, stop, decode, _RUN_BYTES))

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """All rows, as Arrow's PyCapsule interface has them: for Polars, DuckDB, pandas and others."""
        return self.batches(0, self.partition_count).__arrow_c_stream__(requested_schema)

    def slices(self, partition: int, count: int) -> list[PartitionSlice]:
        """Cut a partition that is too large for one worker, along the borders of its record batches.

        Args:
            partition: its number.
            count: how many parts are wanted, 1 or more.

        Returns:
            At most so many parts with about the same bytes each, in file order, none of them empty: fewer where there
            are fewer batches, or one is larger than an even part. Together they are the partition.

        Raises:
            IndexError: there is no such partition.
            ValueError: ``count`` is below 1.
        """
        partition, _ = self._partitions(partition, partition + 1)
        if count < 1:
            raise ValueError(f"a partition is cut into 1 slice or more, not {count}")
        part = self._part(partition, partition + 1)
        start_message, stop_message = part.messages_of(partition)
        offsets = part.message_offsets[start_message : stop_message + 1]
        return [
            PartitionSlice(partition, start, stop, int(offsets[stop] - offsets[start]))
            for start, stop in pairwise(even_cuts(offsets, count))
        ]

    def read_slice(self, part: PartitionSlice, *, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one of ``slices``; as ``read``.

        Raises:
            IndexError: the file has no such batches.
            ValueError, ChecksumError, CorruptError: as for ``read``.
        """
        partition, _ = self._partitions(part.partition, part.partition + 1)
        index = self._part(partition, partition + 1)
        start, stop = index.messages_of(partition)
        if not 0 <= part.start_batch <= part.stop_batch <= stop - start:
            raise IndexError(
                f"{self.path}: partition {partition} has {stop - start} batches: there are no "
                f"batches {part.start_batch} to {part.stop_batch - 1}"
            )
        decode = self._decoder(columns)
        messages = range(start + part.start_batch, start + part.stop_batch)
        content = self._content(*index.message_offsets[[messages.start, messages.stop]].tolist())
        origin = int(index.message_offsets[messages.start])
        decode.begin(index, content, origin)
        read = [
            batch
            for message in messages
            for batch in self._read_message(index, message, partition, decode, content, origin)
        ]
        return pa.Table.from_batches(read, schema=decode.schema)

    def will_need(self, start: int, stop: int | None = None) -> None:
        """Let the kernel begin to read partitions into the page cache, and do not wait for it; unless it is not mapped.

        Raises:
            IndexError: there is no such partition.
        """
        offset, stop_offset = self.range_of(start, stop)
        self._check_open()
        if self._map is not None and offset < stop_offset and hasattr(mmap, "MADV_WILLNEED"):
            offset -= offset % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, offset, stop_offset - offset)

    def verify(self) -> None:
        """Check every byte of the file: all that describes it, each message and its values, and each range's checksum.

        Bytes are read, not mapped: a sector that cannot be read is an OSError. What passes never crashes its reader.

        Raises:
            ChecksumError: bytes are not those that were written; it names file, partition and place.
            CorruptError: they are, and yet wrong.
            OSError: they cannot be read.
        """
        self._check_open()
        read_structure_by(self._read, self.path, self.byte_count)
        for partition in range(self.partition_count):
            self.verify_partition(partition)

    def verify_partition(self, partition: int) -> None:
        """Check one range, its messages and their values.

        Raises:
            IndexError: there is no such partition.
            ChecksumError, CorruptError, OSError: as for ``verify``.
        """
        partition, _ = self._partitions(partition, None)
        part = self._part(partition, partition + 1)
        RangeChecker(self._file.read_at, self.path, self._stored_schema).check(part, partition)

    def close(self) -> None:
        """Let go of the file. Tables and batches read from it stay valid."""
        self._map = self._buffer = None
        self._close_file()

    def _check_open(self) -> None:
        if not self._close_file.alive:
            raise ValueError(f"{self.path}: the file is closed")

    def _content(self, start: int, stop: int) -> pa.Buffer:
        """The bytes ``[start, stop)`` of the file: a view of its map, or read."""
        self._check_open()
        if self._buffer is not None:
            return self._buffer.slice(start, stop - start)
        return pa.py_buffer(self._file.read_at(start, stop - start))

    def _batches(self, start: int, stop: int, decode: Decoder, run_bytes: int) -> Iterator[pa.RecordBatch]:
        """The rows of partitions; those of at most ``run_bytes``, or of one, are read at once."""
        content, origin, reached = pa.py_buffer(b""), 0, 0
        for partition in range(start, stop):
            part = self._part(partition, stop)
            layout, place = part.of_these.layout, partition - part.start
            offset, stop_offset = layout.offsets[place : place + 2].tolist()
            if stop_offset > reached:
                reached = stop_offset if self._buffer is not None else _run_stop(part, partition, stop, run_bytes)
                content, origin = self._content(offset, reached), offset
                decode.begin(part, content, origin)
            rows = 0
            for message in range(*part.messages_of(partition)):
                for batch in self._read_message(part, message, partition, decode, content, origin):
                    rows += batch.num_rows
                    yield batch
            assert layout.rows is not None  # an index always has them
            if rows != layout.rows[place]:
                raise CorruptError(
                    "number of rows of the partition",
                    path=self.path,
                    partition=partition,
                    offset=offset,
                    expected=int(layout.rows[place]),
                    actual=rows,
                    advice=REPAIR_ADVICE,
                )

    def _decoder(self, columns: Sequence[str] | None) -> Decoder:
        self._check_open()
        if columns is None:
            return self._decode_all
        validate, schemas = self._check != "nothing", (self._stored_schema, self.schema)
        if self._buffer is None or not self._is_small:
            return SelectingDecoder(self._outline, *schemas, columns, validate=validate)
        if not self._footer_is_sound:
            check_footer(self._read, self._outline, self._part(0, self.partition_count).of_these)
            self._footer_is_sound = True
        return SelectingDecoder(self._outline, *schemas, columns, validate=validate, whole=self._buffer)

    def _part(self, start: int, stop: int) -> IndexPart:
        """The index of the partitions ``[start, stop)``, and of others where that costs little."""
        self._check_open()
        for part in self._parts:
            if part.start <= start and stop <= part.stop:
                return part
        start, stop = self._widened(start, stop)
        part = IndexPart.of(self._outline.index.part(self._read, start, stop), start)
        self._parts = [part, *self._parts[: _PARTS_KEPT - 1]]
        return part

    def _widened(self, start: int, stop: int) -> tuple[int, int]:
        """The partitions whose index is read where that of ``[start, stop)`` is needed: those near them whose messages
        are few, so that reading partition after partition does not begin anew with each."""
        summary = self._outline.index.summary
        count = summary.partition_count
        if self._is_small:
            return 0, count
        if summary.batch_count <= count * _FEW_MESSAGES // _WIDE_PARTITIONS:
            return start - start % _WIDE_PARTITIONS, min(stop + -stop % _WIDE_PARTITIONS, count)
        return start, stop

    def _read_message(
        self, part: IndexPart, message: int, partition: int, decode: Decoder, content: pa.Buffer, origin: int
    ) -> list[pa.RecordBatch]:
        """The rows of one message, after it has been found sound; ``content`` is the file from ``origin`` on."""
        start, stop = part.message_offsets[message : message + 2].tolist()
        encapsulated = content.slice(start - origin, stop - start)
        metadata_length = int(part.of_these.metadata_lengths[message])
        view = memoryview(encapsulated)
        if self._check == "nothing" or isinstance(decode, SelectingDecoder):  # values are not, or otherwise checked
            defect = find_metadata_defect(view[:metadata_length], partition)
        else:
            defect = find_defect(view, metadata_length, partition)
        if defect is not None:
            raise defect.error(self.path, partition, start)
        try:
            return decode(message, encapsulated)
        except UNDECODABLE as error:  # a context for each message would cost as much as decoding it
            with decoding("the record batch", self.path, start, partition, stop - start):
                raise error from None


def _run_stop(part: IndexPart, partition: int, stop: int, run_bytes: int) -> int:
    """Where the bytes stop that are read at once from a partition's start on: behind it, or behind a later one."""
    offsets = part.of_these.layout.offsets[partition - part.start : stop - part.start + 1]
    fitting = int(offsets.searchsorted(offsets[0] + run_bytes, side="right")) - 1
    return int(offsets[max(fitting, 1)])


def _mapped_whole(descriptor: int, outline: Outline) -> mmap.mmap:
    mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    if len(mapped) < outline.byte_count:
        raise TruncatedError(
            "the file was cut short while it was opened",
            path=outline.path,
            expected=f"{outline.byte_count} bytes",
            actual=len(mapped),
            advice="open it when nobody writes to it",
        )
    return mapped
