"""Writing spills from plain values, and verifying those that a test left behind."""

from __future__ import annotations

import atexit
import errno
import itertools
import os
import shutil
import tempfile
from functools import cache
from os import PathLike
from pathlib import Path

import pyarrow as pa

from shuffle.testing.rows import Partitions, to_batches
from spill_format import NotPartitionedError, SpillFile, SpillWriter

_numbers = itertools.count()


def write_spill(
    partitions: Partitions,
    path: str | PathLike[str] | None = None,
    *,
    schema: pa.Schema | None = None,
    partition_count: int | None = None,
    compression: str | None = None,
    alignment: int = 64,
) -> Path:
    """Write a partitioned file from plain values.

    Args:
        partitions: the rows of each partition that has some: a table, a record batch or a list of them (each batch
            stays one); a dict of columns; a list of dicts; or, with a schema, a list of tuples.
        path: the file; it must not exist. None: a new file in a directory that is deleted when the process ends.
        schema: of the rows. None: that of the tables and batches given, or else inferred from all plain values
            together. A column that a dict lacks is null.
        partition_count: P. None: as many as the highest partition given needs.
        compression, alignment: as for ``SpillWriter``.

    Returns:
        The path.

    Raises:
        ValueError: a value does not fit its column or would be changed by it, a null is in a column that takes none,
            or there are neither rows nor a schema; the message names
            partition, row and column.
        TypeError: what is given are no rows.
        TargetExistsError, OSError: the file cannot be written.
    """
    schema, batches = to_batches(partitions, schema)
    if partition_count is None:
        partition_count = max(batches, default=0) + 1
    target = _unused_path() if path is None else Path(path)
    with SpillWriter(target, schema, partition_count, compression, alignment) as writer:
        for partition, found in batches.items():
            for batch in found:
                writer.write(partition, batch)
    return target


def verify_spills(directory: str | PathLike[str]) -> list[Path]:
    """Verify every partitioned file below a directory: structure, index and checksums.

    Returns:
        The files verified, sorted. Arrow files without partitions are no concern of it, unless named as spills. An
        empty directory is no error, since a test may write nothing: check the list where files must be.

    Raises:
        SpillError: the first file, by name, that is damaged.
        NotADirectoryError: the directory is not there.
    """
    if not Path(directory).is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(directory))
    verified = []
    for path in sorted(Path(directory).rglob("*.arrow")):
        try:
            with SpillFile(path) as spill:
                spill.verify()
        except NotPartitionedError:
            if path.name.endswith(".spill.arrow"):
                raise
        else:
            verified.append(path)
    return verified


def _unused_path() -> Path:
    return Path(_directory(os.getpid()), f"{next(_numbers)}.spill.arrow")


@cache
def _directory(process: int) -> str:
    directory = tempfile.mkdtemp(prefix="shuffle-testing-")
    atexit.register(_remove, directory, process)
    return directory


def _remove(directory: str, process: int) -> None:
    if os.getpid() == process:  # a child that was forked ends without taking its parent's files along
        shutil.rmtree(directory, ignore_errors=True)
