"""What a partitioned file says of itself, wherever it is; no record batch is read."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.ipc

from .layout import Int64Array, PartitionLayout
from .partitioner import PartitionerDescription, read_partitioner
from .schemas import original_schema
from .spill_set import SpillSet
from .storage.windows import ReadAt
from .structure import Outline
from .undecodable import decoding


class DescribedFile:
    """The description of a partitioned file.

    Args:
        outline: read and checked.
        read: gives the bytes of the index section that the outline does not have.

    Raises:
        CorruptError: the schema or the partitioner's description cannot be decoded.
    """

    def __init__(self, outline: Outline, read: ReadAt) -> None:
        self.path: str = outline.path
        self._outline = outline
        self._read = read
        self._layout: PartitionLayout | None = None
        self._stored_schema, self._schema = read_schemas(outline.schema_message, outline.path)
        self._partitioner = read_partitioner(outline.index.partitioner, outline.path)

    @property
    def schema(self) -> pa.Schema:
        """Of the rows; dictionary-encoded columns have their original type."""
        return self._schema

    @property
    def layout(self) -> PartitionLayout:
        """Offsets, rows and checksums of all partitions; read and checked when first asked for."""
        if self._layout is None:
            self._layout = self._outline.index.layout(self._read)
        return self._layout

    @property
    def partition_count(self) -> int:
        """P."""
        return self._outline.index.summary.partition_count

    @property
    def partitioner(self) -> PartitionerDescription | None:
        """What placed the rows, or None where the file does not say."""
        return self._partitioner

    @property
    def spill_set(self) -> SpillSet | None:
        """Which of a map task's spills the file is, or None where it is none of a set."""
        return self._outline.index.spill_set

    @property
    def membership_offset(self) -> int:
        """Where the file's membership in a set is written, by ``encode_membership``, before publication."""
        return self._outline.index.summary.membership_offset

    @property
    def alignment(self) -> int:
        """Bytes; every range starts at a multiple of it."""
        return self._outline.index.summary.alignment

    @property
    def byte_count(self) -> int:
        """Size of the file."""
        return self._outline.byte_count

    @property
    def batch_counts(self) -> Int64Array:
        """Record batches in each partition, ``int64[P]``."""
        return self._outline.index.message_counts(self._read)

    def range_of(self, start: int, stop: int | None = None) -> tuple[int, int]:
        """Where the bytes of one partition, or of partitions ``start`` … ``stop - 1``, start and end in the file.

        Raises:
            IndexError: there is no such partition.
        """
        start, stop = self._partitions(start, stop)
        if self._layout is None:
            return self._outline.index.bounds(self._read, start, stop)
        return int(self._layout.offsets[start]), int(self._layout.offsets[stop])

    def _partitions(self, start: int, stop: int | None) -> tuple[int, int]:
        start = operator.index(start)
        stop = start + 1 if stop is None else operator.index(stop)
        if not 0 <= start <= stop <= self.partition_count:
            asked = f"partition {start} does" if stop == start + 1 else f"partitions {start} to {stop - 1} do"
            raise IndexError(f"{self.path}: {asked} not exist: there are {self.partition_count}, from 0")
        return start, stop


def selected_fields(schema: pa.Schema, columns: Sequence[str]) -> list[int]:
    """The positions of columns in a schema, in the order of their names here.

    Raises:
        TypeError: one string instead of several names.
        ValueError: none, one twice, one that is not there, or a name that several columns have.
    """
    if isinstance(columns, str):
        raise TypeError(f"columns takes several names, in a list: not {columns!r}")
    if not columns:
        raise ValueError("columns must name at least one column; None stands for all")
    if len(set(columns)) < len(columns):
        raise ValueError(f"columns names a column twice: {', '.join(columns)}")
    positions = []
    for name in columns:
        found = schema.get_all_field_indices(name)
        if len(found) != 1:
            problem = "no column is" if not found else f"{len(found)} columns are"
            raise ValueError(f"{problem} named {name!r}; there are {', '.join(schema.names)}")
        positions += found
    return positions


def read_schemas(schema_message: bytes, path: str) -> tuple[pa.Schema, pa.Schema]:
    """The schema that is stored, and that of the rows: the same object where they are the same.

    Raises:
        CorruptError: the message cannot be decoded.
    """
    with decoding("the schema message", path, 8):
        stored = pa.ipc.read_schema(pa.py_buffer(schema_message))
        return stored, original_schema(stored)
