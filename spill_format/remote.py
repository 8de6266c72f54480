"""Reading partitions of a file on an object store or a remote file system, by range reads of what is asked for.

The storage reads; the format's checks are ``structure.py``'s. Opening a file of usual size takes two reads, its end and
its start, and each partition, or run of partitions, one.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from spill_format.checksum import concatenate
from spill_format.description import DescribedFile
from spill_format.messages import END_OF_STREAM
from spill_format.storage.remote import ReadWindows, RemoteStorage
from spill_format.stream import check_ranges, decode_stream
from spill_format.structure import read_outline


class RemoteSpillFile(DescribedFile):
    """A partitioned file that is read by ranges, each checked against its checksum when it arrives.

    Args:
        path: as the file system names it; without a file system a URL that fsspec knows, as ``https://…`` or ``s3://…``.
        filesystem: a ``pyarrow.fs.FileSystem`` or an fsspec file system.

    Raises:
        CorruptError, TruncatedError, ChecksumError, NotPartitionedError, VersionError: as for ``SpillFile``.
        OSError: what the file system raises.

    Tables own their bytes. As thread-safe as the file system.
    """

    def __init__(self, path: str, filesystem: Any = None) -> None:
        self._file = RemoteStorage(filesystem).open(path)
        try:
            windows = ReadWindows(self._file.read_at, self._file.byte_count)
            super().__init__(read_outline(windows, self._file.path, self._file.byte_count), windows)
        except BaseException:
            self._file.close()
            raise

    def read(self, first: int, last: int | None = None, *, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one partition, or of partitions ``first`` … ``last - 1``, by one range read.

        Args:
            first, last: the partitions.
            columns: names of the columns wanted, in the order wanted; None for all. All are transferred.

        Raises:
            IndexError: there is no such partition.
            ValueError: there is no such column, or several have its name.
            ChecksumError: the bytes that arrived are not those that were written, as when the file was replaced.
            CorruptError: they cannot be decoded.
            OSError: what the file system raises.
        """
        first, last = self._partitions(first, last)
        start, end = self.range_of(first, last)
        if start == end:
            return decode_stream(self._outline.schema_message + END_OF_STREAM, self.path, columns)
        ranges = self._file.read_at(start, end - start)
        layout = self._outline.index.layout(self._read, first, last)
        assert layout.crc32c is not None  # an index always has them
        (recorded,) = concatenate(layout.crc32c, layout.lengths, np.array([last - first])).tolist()
        check_ranges(ranges, recorded, self.path, first)
        stream = b"".join((self._outline.schema_message, ranges, END_OF_STREAM))
        return decode_stream(stream, self.path, columns)

    def batches(
        self, first: int, last: int | None = None, *, columns: Sequence[str] | None = None
    ) -> pa.RecordBatchReader:
        """As ``read``, which it calls, one record batch after the other."""
        return self.read(first, last, columns=columns).to_reader()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
