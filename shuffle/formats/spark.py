"""Opaque bytes in Spark's layout: ``X.data`` and, beside it, ``X.index``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from os import PathLike

from shuffle.config import MergeOptions
from shuffle.formats.protocol import Trailer
from shuffle.plan import MergePlan
from shuffle.sources import FileIdentity, Source, identity_of
from spill_format.layout import PartitionLayout
from spill_format.publish import PendingFile, open_pending
from spill_format.spark import encode_index, index_path_of, read_layout

_NO_FILE = FileIdentity(0, 0, 0)


class SparkFormat:
    """See ``MergeFormat``."""

    def open_source(self, path: str | PathLike[str]) -> Source:
        """See ``MergeFormat``. Spark writes no data file where all partitions are empty."""
        path = os.fspath(path)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if not os.path.exists(index_path_of(path)):
                raise
            return Source(path, read_layout(index_path_of(path), 0), _NO_FILE)
        try:
            identity = identity_of(descriptor)
        finally:
            os.close(descriptor)
        return Source(path, read_layout(index_path_of(path), identity.byte_count), identity)

    def check_agreement(self, sources: Sequence[Source]) -> None:
        """Nothing but the number of partitions can be compared: the bytes are opaque."""

    def header(self, sources: Sequence[Source]) -> bytes:  # noqa: ARG002 -- see MergeFormat
        """None: the first range is at offset 0."""
        return b""

    def trailer(self, sources: Sequence[Source], plan: MergePlan) -> Trailer:  # noqa: ARG002 -- see MergeFormat
        """None: what there is to say is in the index."""
        return Trailer(b"", PartitionLayout(plan.target_offsets))

    def check_target(self, target: str | PathLike[str]) -> None:
        """The index is found by the data file's name."""
        index_path_of(target)

    def publish(self, pending: PendingFile, plan: MergePlan, options: MergeOptions) -> None:
        """Publish the data file, then the index: no reader ever sees an index without the data that it describes.

        Where a pair is replaced, its index goes first. A crash in between leaves data without an index, which nobody
        takes for an output.
        """
        index_path = index_path_of(pending.path)
        with open_pending(index_path, overwrite=options.overwrite, durable=options.durable) as index:
            os.write(index.fd, encode_index(plan.target_offsets))
            if options.overwrite:
                with suppress(FileNotFoundError):
                    os.unlink(index_path)
            pending.publish()
            index.publish()

    def delete(self, source: Source) -> None:
        """Remove index and data, the index first: what is left after a crash is no output."""
        os.unlink(index_path_of(source.path))
        if source.identity != _NO_FILE:
            os.unlink(source.path)


SPARK = SparkFormat()
