"""What a partitioned file says of itself, wherever it is: the part that local and remote files share.

Nothing here reads a record batch.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from .errors import CorruptError
from .layout import Int64Array, PartitionLayout
from .schemas import original_schema
from .structure import FileStructure

# What Arrow raises when it is given bytes that it cannot decode: its own errors, OSError from decompression, ValueError
# from names that are not UTF-8, MemoryError for a decompressed length that is absurd.
UNDECODABLE = (pa.ArrowException, OSError, ValueError, MemoryError)


class DescribedFile:
    """The description of a partitioned file.

    Args:
        structure: read and checked.

    Raises:
        CorruptError: the schema cannot be decoded.
    """

    def __init__(self, structure: FileStructure) -> None:
        self.path = structure.path
        self._structure = structure
        self._stored_schema, self._schema = self._read_schemas()

    @property
    def schema(self) -> pa.Schema:
        """Of the rows; dictionary-encoded columns have their original type."""
        return self._schema

    @property
    def layout(self) -> PartitionLayout:
        """Offsets, rows and checksums of the partitions."""
        return self._structure.index.layout

    @property
    def partition_count(self) -> int:
        """P."""
        return self.layout.partition_count

    @property
    def alignment(self) -> int:
        """Bytes; every range starts at a multiple of it."""
        return self._structure.index.alignment

    @property
    def byte_count(self) -> int:
        """Size of the file."""
        return self._structure.byte_count

    @property
    def batch_counts(self) -> Int64Array:
        """Record batches in each partition, ``int64[P]``."""
        return np.diff(self._structure.index.first_messages)

    def range_of(self, first: int, last: int | None = None) -> tuple[int, int]:
        """Where the bytes of one partition, or of partitions ``first`` … ``last - 1``, start and end in the file.

        Raises:
            IndexError: there is no such partition.
        """
        first, last = self._partitions(first, last)
        start, end = self.layout.offsets[[first, last]].tolist()
        return start, end

    def _partitions(self, first: int, last: int | None) -> tuple[int, int]:
        first = operator.index(first)
        last = first + 1 if last is None else operator.index(last)
        if not 0 <= first <= last <= self.partition_count:
            asked = f"partition {first} does" if last == first + 1 else f"partitions {first} to {last - 1} do"
            raise IndexError(f"{self.path}: {asked} not exist: there are {self.partition_count}, from 0")
        return first, last

    def _read_schemas(self) -> tuple[pa.Schema, pa.Schema]:
        """The schema that is stored, and that of the rows: the same object where they are the same."""
        try:
            stored = pa.ipc.read_schema(pa.py_buffer(self._structure.schema_message))
            return stored, original_schema(stored)
        except UNDECODABLE as error:
            raise CorruptError(f"the schema message cannot be decoded ({error})", path=self.path, offset=8) from error


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
