"""Arrow files with a partition index, as the commands look into them.

Without record batches nothing needs pyarrow. Bytes are read, never mapped: a disk that fails under a memory map kills
the process, here it is an error that names file and place.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from shuffle.inspecting.checking import Check, Company, Progress, RangesCheck
from shuffle.inspecting.ranges import lost_bytes_are_damage, read_pieces, refuse_chunks, spans_of
from shuffle.inspecting.results import FileRepair, FileVerification, SizedInspection
from shuffle.inspecting.sizes import PartitionSizes
from shuffle.machine.file_systems import FileSystem, file_system_of
from shuffle.merging.copy.choice import CLONED_BYTES
from shuffle.merging.formats import ARROW
from shuffle.merging.sources import NO_FILE, Source, natural_order
from shuffle.numbering import Numbers
from spill_format.errors import CorruptError, SpillError
from spill_format.index import PartitionIndex
from spill_format.layout import Int64Array
from spill_format.messages import FILE_START, MAGIC, read_codec
from spill_format.partitioner import PartitionerDescription, read_partitioner
from spill_format.spill_set import SPILL_PATTERN
from spill_format.storage.local import open_regular, read_exactly
from spill_format.structure import FileStructure, read_structure

if TYPE_CHECKING:
    from spill_format.index import IndexPart
    from spill_format.range_check import RangeChecker

_EXTENSION = ".arrow"
_CODEC_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class ArrowFile:
    """See ``Kind``. One file, a spill or a merge's output; ``is_listed`` says that it was found in a directory."""

    path: str
    is_listed: bool = False
    format: ClassVar[str] = "arrow"
    is_repairable: ClassVar[bool] = True

    @classmethod
    def below(cls, directory: str, *, needed: bool = True) -> list[ArrowFile]:
        """Find the files in a directory whose names end with .arrow, in natural order.

        Raises:
            ValueError: there are none, and some are needed.
            OSError: the directory cannot be listed.
        """
        names = sorted((name for name in os.listdir(directory) if name.endswith(_EXTENSION)), key=natural_order)
        if not names and needed:
            raise ValueError(f"no Arrow files: looked for *{_EXTENSION} in the directory {directory}")
        return [cls(os.path.join(directory, name), is_listed=True) for name in names]

    @property
    def byte_count(self) -> int:
        """See ``Kind``."""
        return os.path.getsize(self.path) if os.path.isfile(self.path) else 0

    def inspect(self) -> ArrowInspection:
        """See ``Kind``."""
        with opened(self.path) as (descriptor, structure):
            index = structure.index
            sizes = PartitionSizes(index.layout.lengths, index.layout.rows, np.diff(index.first_messages))
            return ArrowInspection(
                path=structure.path,
                byte_count=structure.byte_count,
                alignment=index.alignment,
                codecs=_sample_codecs(descriptor, structure.path, index),
                sizes=sizes,
                file_system=file_system_of(descriptor),
                partitioner=read_partitioner(index.partitioner, structure.path),
            )

    def check(self, *, fast: bool, progress: Progress) -> Check:
        """See ``Kind``."""
        return _ArrowCheck(self, fast=fast, progress=progress)

    def repair(self, target: str, *, overwrite: bool, durable: bool, progress: Progress) -> FileRepair:
        """See ``Kind``."""
        from shuffle.inspecting.salvage import repair

        return repair(self.path, target, overwrite=overwrite, durable=durable, progress=progress)

    def raw(self, partitions: Numbers | None, chunks: Numbers | None) -> Iterator[bytes]:
        """See ``Kind``."""
        refuse_chunks(chunks, self.path)
        with opened(self.path) as (descriptor, structure):
            spans = spans_of(structure.index.layout.offsets, partitions, self.path, "partition")
            yield from read_pieces(descriptor, self.path, spans)

    @staticmethod
    def shuffles(files: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG004 (see Kind)
        """Return nothing: the names of files say nothing about shuffles."""
        return []


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ArrowInspection(SizedInspection):
    """See ``SizedInspection``; codecs are ``"none"``, ``"lz4"``, ``"zstd"``, in this order, none where there are no
    batches.

    Attributes:
        alignment: bytes; every range starts at a multiple of it.
        file_system: the file system that holds the file.
        partitioner: what placed the rows, or None where the file does not say.
    """

    alignment: int
    file_system: FileSystem
    partitioner: PartitionerDescription | None
    format: ClassVar[str] = "arrow"

    @property
    def cloneable_bytes(self) -> int:
        """Bytes that a merge would clone on a file system that shares blocks: of the ranges that are made of whole
        blocks and are large enough."""
        if self.alignment % self.file_system.block_bytes:
            return 0
        lengths = self.sizes.byte_counts
        return int(lengths[lengths >= CLONED_BYTES].sum())

    def details(self) -> dict[str, Any]:
        """See ``SizedInspection``."""
        return {
            "alignment": self.alignment,
            "file_system": self.file_system.name,
            "block_bytes": self.file_system.block_bytes,
            "shares_blocks": self.file_system.shares_blocks,
            "cloneable_bytes": self.cloneable_bytes,
            "partitioner": None if self.partitioner is None else str(self.partitioner),
        }


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[tuple[int, FileStructure]]:
    """Open a file for reading, and yield its descriptor and its structure, which was found right.

    Raises:
        CorruptError, TruncatedError, ChecksumError: the file is damaged.
        SpillError: it is another kind of file, has no index, or was written by a newer release.
        OSError: it cannot be read.
    """
    path = os.fspath(path)
    descriptor = open_regular(path)
    try:
        _refuse_foreign(descriptor, path)
        yield descriptor, read_structure(descriptor, path)
    finally:
        os.close(descriptor)


class _ArrowCheck(RangesCheck):
    def __init__(self, file: ArrowFile, *, fast: bool, progress: Progress) -> None:
        super().__init__(file.path, fast=fast)
        self._is_listed = file.is_listed
        self._progress = progress
        self._structure: FileStructure | None = None
        self._checker: RangeChecker | None = None
        self._part: IndexPart | None = None

    def open(self, resources: ExitStack) -> Int64Array:
        with lost_bytes_are_damage(self._path):
            descriptor, structure = resources.enter_context(opened(self._path))
        if not self._fast:
            # To decode record batches takes pyarrow.
            from spill_format.description import read_schemas
            from spill_format.index import IndexPart
            from spill_format.range_check import RangeChecker

            stored_schema, _ = read_schemas(structure.schema_message, structure.path)
            read = partial(read_exactly, descriptor, path=structure.path)
            self._checker = RangeChecker(read, structure.path, stored_schema, self._progress)
            self._part = IndexPart.of(structure.index)
        self._structure = structure
        return structure.index.layout.offsets

    def check(self, partition: int) -> None:
        assert self._checker is not None  # without one there are no partitions to check
        assert self._part is not None
        start = int(self._part.of_these.layout.offsets[partition])
        with lost_bytes_are_damage(self._path, partition, start):
            self._checker.check(self._part, partition)

    def company(self) -> Company | None:
        """The spills of one directory."""
        if self._structure is None or not self._path.endswith(SPILL_PATTERN):
            return None
        source = Source(self._path, self._structure.index.layout, NO_FILE, self._structure)
        return Company((os.path.dirname(os.path.abspath(self._path)),), ARROW, source, self._is_listed)

    def outcome(self, damages: list[CorruptError]) -> FileVerification:
        assert self._structure is not None  # it was found sound
        layout = self._structure.index.layout
        return FileVerification(
            path=self._path,
            format=ArrowFile.format,
            byte_count=self._structure.byte_count,
            partition_count=layout.partition_count,
            row_count=layout.row_count,
            checksums="CRC32C",
            fast=self._fast,
            damaged_partitions=np.array([error.partition for error in damages], dtype=np.int64),
            first_damage=damages[0] if damages else None,
        )

    def outcome_without_structure(self, damage: CorruptError) -> FileVerification:
        """See ``RangesCheck``. The partitions are judged by what a repair would recover."""
        partition_count, lossy = None, np.empty(0, dtype=np.int64)
        if not self._fast:
            from shuffle.inspecting.losses import lossy_partitions
            from shuffle.inspecting.salvage import salvage

            with suppress(SpillError):  # nothing at all is left
                found = salvage(self._path)
                partition_count, lossy = found.partition_count, lossy_partitions(found.losses)
        return FileVerification(
            path=self._path,
            format=ArrowFile.format,
            byte_count=os.path.getsize(self._path),
            partition_count=partition_count,
            checksums="CRC32C",
            fast=self._fast,
            damaged_partitions=lossy,
            first_damage=damage,
            structure_is_sound=False,
        )


def _refuse_foreign(descriptor: int, path: str) -> None:
    """Raise SpillError for what never was an Arrow file, so that it is not taken for a damaged one."""
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        return  # read_structure says so
    if not stat.S_ISREG(status.st_mode):
        raise SpillError("a device, pipe or socket, not a file", path=path)
    if status.st_size < len(FILE_START):
        return  # may be the beginning of one
    start = read_exactly(descriptor, 0, len(MAGIC), path)
    end = read_exactly(descriptor, status.st_size - len(MAGIC), len(MAGIC), path)
    if MAGIC not in {start, end}:
        raise SpillError("not an Arrow IPC file: its start and end", path=path, expected=MAGIC, actual=(start, end))


def _sample_codecs(descriptor: int, path: str, index: PartitionIndex) -> tuple[str, ...]:
    batch_count = len(index.body_lengths)
    samples = {number * batch_count // _CODEC_SAMPLES for number in range(_CODEC_SAMPLES)} if batch_count else set()
    offsets = index.message_offsets
    found = set()
    for batch in sorted(samples):
        offset = int(offsets[batch])
        metadata = read_exactly(descriptor, offset, int(index.metadata_lengths[batch]), path)
        try:
            found.add(read_codec(metadata) or "none")
        except ValueError as error:
            partition = int(np.searchsorted(index.first_messages, batch, side="right")) - 1
            raise CorruptError(str(error), path=path, partition=partition, offset=offset) from error
    return tuple(codec for codec in ("none", "lz4", "zstd") if codec in found)
