"""Publishing an output in Spark's layout: data, then checksums, then the index, whose appearance makes it valid.

A crash at any step leaves the old output, the new one, or none: data without an index is no output, to Spark as to us.
``outputs.py`` says what the files hold, ``storage/publication.py`` how a single file appears.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from os import PathLike

from spill_format.errors import ChecksumError, CorruptError, TargetExistsError
from spill_format.layout import Int64Array
from spill_format.range_checksums import ALGORITHMS, RangeChecksums
from spill_format.spark.outputs import (
    checksum_path_of,
    encode_checksums,
    encode_index,
    index_path_of,
    read_offsets,
)
from spill_format.storage.local import read_exactly
from spill_format.storage.publication import PendingFile, is_there, open_pending


def publish_output(
    pending: PendingFile,
    offsets: Int64Array,
    checksums: RangeChecksums | None,
    *,
    overwrite: bool = False,
    durable: bool = False,
) -> None:
    """Make a complete data file appear together with its checksums and its index.

    Who replaces an output takes its index away first. While that happens there is none, for an instant; a reader
    that has opened the old files keeps them.

    Args:
        pending: the data file, whose name to be ends with ``.data``.
        offsets: of its ranges, ``int64[P + 1]``, from 0 to its size.
        checksums: of its ranges; None for no file of them.
        overwrite: replace an output; must be what ``pending`` was opened with.
        durable: nothing of the next step reaches the disk before all of the last one.

    Raises:
        TargetExistsError: there is an output, or data, of that name, and overwriting was not asked for. An index whose
            data are gone is no output.
        OSError: as the operating system gives it.
    """
    publish_with_companions(pending, _contents(pending.path, offsets, checksums), overwrite=overwrite, durable=durable)


def publish_with_companions(
    pending: PendingFile, contents: Mapping[str, bytes], *, overwrite: bool = False, durable: bool = False
) -> None:
    """Make a complete data file appear, then other files with these contents, in order; the last one is its index.

    Arguments and errors as for ``publish_output``.
    """
    with _locked(pending.path.parent):
        if overwrite:
            _withdraw(pending.path, durable=durable)
        else:
            _refuse_existing(pending.path)
        with _companions(contents, durable=durable) as companions:
            pending.publish()
            for companion in companions:
                companion.publish()


def finish_output(
    data_path: str | PathLike[str], offsets: Int64Array, checksums: RangeChecksums | None, *, durable: bool = False
) -> None:
    """Give the checksums and the index to published data that lack them, and that are known to be right.

    Raises:
        TargetExistsError: there is an index by now.
        OSError: as the operating system gives it.
    """
    finish_with_companions(data_path, _contents(data_path, offsets, checksums), durable=durable)


def finish_with_companions(
    data_path: str | PathLike[str], contents: Mapping[str, bytes], *, durable: bool = False
) -> None:
    """Give published data companions with these contents; the last one is the index."""
    with _locked(os.path.dirname(os.path.abspath(data_path))), _companions(contents, durable=durable) as companions:
        for companion in companions:
            companion.publish()


@contextmanager
def _locked(directory: str | PathLike[str]) -> Iterator[None]:
    """One publication at a time in a directory. A process that dies gives the lock up; where the file system has none,
    links that never replace are all that keeps two publications apart."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _contents(
    data_path: str | PathLike[str], offsets: Int64Array, checksums: RangeChecksums | None
) -> dict[str, bytes]:
    """The companions of an output's data, the index last."""
    contents = {index_path_of(data_path): encode_index(offsets)}
    if checksums is not None:
        contents = {checksum_path_of(data_path, checksums.algorithm): encode_checksums(checksums), **contents}
    return contents


@contextmanager
def _companions(contents: Mapping[str, bytes], *, durable: bool) -> Iterator[list[PendingFile]]:
    """Files written but not published: there was room for all of them before anything appears."""
    with ExitStack() as stack:
        opened = []
        for number, (path, content) in enumerate(contents.items(), start=1):
            # The last, an index, must not be there; without it the others belong to nothing.
            companion = stack.enter_context(open_pending(path, overwrite=number < len(contents), durable=durable))
            with companion.stream() as file:
                file.write(content)
            if read_exactly(companion.descriptor, 0, len(content), path) != content:
                raise ChecksumError(
                    "what was read back is not what was written",
                    path=path,
                    advice="nothing was published; the disk does not keep what it is given",
                )
            opened.append(companion)
        yield opened


def _withdraw(data_path: str | PathLike[str], *, durable: bool) -> None:
    """Take an output away but for its data, the index first."""
    for path in (index_path_of(data_path), *(checksum_path_of(data_path, each) for each in ALGORITHMS.values())):
        with suppress(FileNotFoundError):
            os.unlink(path)
            if durable:
                _sync_directory(os.path.dirname(path))


def _refuse_existing(data_path: str | PathLike[str]) -> None:
    """Raise TargetExistsError where there is an output; clear away an index whose data are gone."""
    index_path = index_path_of(data_path)
    if not is_there(index_path):
        return
    if not is_there(data_path):
        with suppress(CorruptError):
            if read_offsets(index_path)[-1] > 0:
                _withdraw(data_path, durable=False)
                return
    raise TargetExistsError(
        "the target already exists",
        path=index_path,
        advice="choose another name, or replace it with overwrite=True",
    )


def _sync_directory(path: str) -> None:
    descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
