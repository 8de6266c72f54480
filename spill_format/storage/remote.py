"""Reading partitions of a file on an object store or a remote file system, by range reads of what is asked for.

pyarrow.fs and fsspec know the stores; the format's checks are ``structure.py``'s. Opening a file of usual size takes
two reads, its end and its start, and each partition, or run of partitions, one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.fs

from spill_format.checksum import concatenate
from spill_format.description import DescribedFile
from spill_format.errors import TruncatedError
from spill_format.framing import END_OF_STREAM
from spill_format.stream import check_ranges, decode_stream
from spill_format.structure import ReadAt, read_structure_by

_HEAD_BYTES = 8 << 10  # magic and schema message of most files
_TAIL_BYTES = 64 << 10  # footer and index of some 500 partitions of a batch each
_MARGIN_BYTES = 64  # an index read on its own brings the end-of-stream marker before it along


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
        if filesystem is None:
            import fsspec  # an extra

            filesystem, path = fsspec.core.url_to_fs(path)
        self._read, byte_count, self._close = _opened(path, filesystem)
        try:
            super().__init__(read_structure_by(_Windows(self._read, byte_count), path, byte_count))
        except BaseException:
            self._close()
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
        ranges = self._read(start, end - start) if start < end else b""
        checksums = self.layout.crc32c
        assert checksums is not None  # an index always has them
        (recorded,) = concatenate(
            checksums[first:last], self.layout.lengths[first:last], np.array([last - first])
        ).tolist()
        check_ranges(ranges, recorded, self.path, first)
        stream = b"".join((self._structure.schema_message, ranges, END_OF_STREAM))
        return decode_stream(stream, self.path, columns)

    def batches(
        self, first: int, last: int | None = None, *, columns: Sequence[str] | None = None
    ) -> pa.RecordBatchReader:
        """As ``read``, which it calls, one record batch after the other."""
        return self.read(first, last, columns=columns).to_reader()

    def close(self) -> None:
        """Let go of the file."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _opened(path: str, filesystem: Any) -> tuple[ReadAt, int, Callable[[], None]]:
    """What reads a file, its size, and what closes it."""
    if isinstance(filesystem, pyarrow.fs.FileSystem):
        file = filesystem.open_input_file(path)

        def read(offset: int, byte_count: int) -> bytes:
            return _whole(file.read_at(byte_count, offset), offset, byte_count, path)

        return read, file.size(), file.close

    def read_range(offset: int, byte_count: int) -> bytes:
        return _whole(filesystem.cat_file(path, start=offset, end=offset + byte_count), offset, byte_count, path)

    return read_range, int(filesystem.info(path)["size"]), lambda: None


def _whole(content: bytes, offset: int, byte_count: int, path: str) -> bytes:
    if len(content) != byte_count:
        problem = "the file system answered a range read with another number of bytes"
        raise TruncatedError(problem, path=path, offset=offset, expected=byte_count, actual=len(content))
    return content


class _Windows:
    """Answers small reads out of larger ones: the file's start, its end, and what lies just before the footer."""

    def __init__(self, read: ReadAt, byte_count: int) -> None:
        self._read = read
        self._byte_count = byte_count
        self._windows: list[tuple[int, bytes]] = []

    def __call__(self, offset: int, byte_count: int) -> bytes:
        end = offset + byte_count
        for start, content in self._windows:
            if start <= offset and end <= start + len(content):
                return content[offset - start : end - start]
        if not self._windows:  # the end first: of a small file it is all
            self._keep(max(0, self._byte_count - _TAIL_BYTES), self._byte_count)
        elif offset < _HEAD_BYTES:
            self._keep(0, min(max(end, _HEAD_BYTES), self._byte_count))
        else:
            self._keep(max(0, offset - _MARGIN_BYTES), min(end, self._byte_count))
        return self(offset, byte_count)

    def _keep(self, start: int, end: int) -> None:
        self._windows.append((start, self._read(start, end - start)))
