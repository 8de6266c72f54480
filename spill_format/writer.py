"""Writing a partitioned file under a name: it appears there whole, or not at all."""

from __future__ import annotations

import os
from functools import partial
from os import PathLike
from typing import Self

import pyarrow as pa

from spill_format.storage.local import read_exactly
from spill_format.storage.publication import PendingFile, open_pending

from .encoder import DEFAULT_ALIGNMENT, SpillEncoder, write_pieces
from .layout import PartitionLayout
from .partitioner import PartitionerDescription
from .spill_set import SpillSet, encode_membership
from .structure import read_outline


class SpillWriter:
    """Writes one partitioned file; it appears under its name, whole, when the writer is closed without an error.

    Args:
        path: the file's name to be; it must not exist unless ``overwrite``.
        schema: of every batch; dictionary-encoded columns are stored as plain values and read back as dictionaries.
        partition_count: P, from 1 on. Each takes 33 bytes of memory, and 24 of the file.
        compression: of the batches' bodies: None, ``"lz4"`` or ``"zstd"``.
        alignment: bytes; every range starts at a multiple of it, a power of two from 8 to 65536. 4096 lets merges share
            blocks instead of copying, at a cost of about 2 KiB a range.
        partitioner: the description of what placed the rows, which files are compared by before they are merged or
            joined; None for unknown.
        overwrite: replace an existing file.
        durable: closing fsyncs file and directory before the file has its name.

    Raises:
        ValueError: an argument is out of its bounds.
        TypeError: an argument is of a wrong type, or the schema has a dictionary where Arrow cannot decode it.
        TargetExistsError: the file exists already.
        OSError: it cannot be created.

    Used as a context manager, an exception discards what was written. Not thread-safe.
    """

    def __init__(  # noqa: PLR0913 -- one public class, and each option is documented
        self,
        path: str | PathLike[str],
        schema: pa.Schema,
        partition_count: int,
        compression: str | None = None,
        alignment: int = DEFAULT_ALIGNMENT,
        *,
        partitioner: PartitionerDescription | None = None,
        overwrite: bool = False,
        durable: bool = False,
    ) -> None:
        self.path: str = os.fspath(path)
        self.layout: PartitionLayout | None = None
        """Of the file, once it is closed."""
        self._file: PendingFile = open_pending(path, overwrite=overwrite, durable=durable)
        self._open = True
        try:
            self._encoder = SpillEncoder(
                self._file, schema, partition_count, compression, alignment, partitioner=partitioner
            )
        except BaseException:
            self.discard()
            raise

    def write(self, partition: int, batch: pa.RecordBatch | pa.Table, *, validate: bool = True) -> None:
        """Append rows to a partition; none at all add nothing. After any error, ``close`` refuses to publish.

        Args:
            partition: not smaller than that of the call before.
            batch: of the writer's schema, whose metadata does not count. Copied before the call returns.
            validate: check every value: offsets, UTF-8. Costs nothing for numbers, and about 0.3 ms a MiB for text.
                Switch it off for rows that were checked already: wrong values make a file that ``verify`` calls
                damaged, and that can crash its readers.

        Raises:
            ValueError: the partition is out of bounds or out of order, the schema differs, a value is not valid, or
                the writer is closed.
            TypeError: the partition is no integer, or the rows are neither batch nor table.
            OSError: writing failed; it names the file.
        """
        if not self._open:
            raise ValueError(f"{self.path}: the writer is closed")
        try:
            self._encoder.write(partition, batch, validate=validate)
        except OSError as error:
            if error.filename is None:  # of a system call that knows only a descriptor
                raise OSError(error.errno, error.strerror, self.path) from error
            raise

    def close(self) -> None:
        """Finish the file and publish it. Does nothing once the writer is closed or the file discarded.

        Raises:
            ValueError: an earlier ``write`` failed; nothing is left behind.
            TargetExistsError: another file took the name meanwhile.
            OSError: writing or publishing failed; nothing is left behind.
        """
        if not self._open:
            return
        try:
            layout = self._encoder.finish()
            self._file.publish()
            self.layout = layout
        except OSError as error:
            if error.filename is None:  # of a system call that knows only a descriptor
                raise OSError(error.errno, error.strerror, self.path) from error
            raise
        finally:
            self.discard()

    def discard(self) -> None:
        """Give the file up; nothing of it remains. Does nothing once the writer is closed."""
        self._open = False
        self._file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def write_membership(file: PendingFile, spill_set: SpillSet) -> None:
    """Write into a finished file, before it is published, which spill of which set it is.

    Raises:
        ValueError: there is no such set.
        SpillError, OSError: the file cannot be read or written.
    """
    read = partial(read_exactly, file.descriptor, path=str(file.path))
    outline = read_outline(read, str(file.path), os.fstat(file.descriptor).st_size)
    os.lseek(file.descriptor, outline.index.summary.membership_offset, os.SEEK_SET)
    write_pieces(file, [encode_membership(spill_set)])
