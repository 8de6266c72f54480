"""Rows in: Parquet, Arrow, CSV and JSON lines files as one stream of record batches, with the columns and rows that the
caller asks for.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from shuffle.machine.prefetch import Task, in_order
from shuffle.machine.threads import check_threads
from shuffle.rows.csv_options import CsvOptions
from shuffle.rows.errors import InputError, reading
from shuffle.rows.input_files import directory_columns, find_inputs, format_of
from spill_format.errors import naming
from spill_format.storage.local import open_regular

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

# Of the budget for rows that are held back; so that those that are read, three batches, are little beside it.
_BUDGET_PARTS = 16
_LARGEST_BATCH_BYTES = 24 << 20  # of TPC-H's lineitem 131,072 rows
_SMALLEST_BATCH_BYTES = 1 << 20
_BATCHES_AT_ONCE = 3  # one in work, one waiting, one given out
_FEW_VALUES_BYTES = 2  # a value


class Inputs:
    """The rows of files for which a condition is true, in the order of the files.

    Args:
        paths: files, directories and patterns, as ``find_inputs`` takes them. Files have one format and equal columns.
        condition: text or an expression, as ``row_filter_of`` takes it, or None.
        csv: how CSV files are written; None for files of other formats.

    String views are read as strings, since Arrow cannot take rows of views.

    Raises:
        InputError: no file of a known format, more than one format, files whose columns differ, or a condition that
            does not fit them.
        OSError: a file cannot be opened, or the system gives fewer threads than Arrow wants.
        pyarrow.ArrowException: it is not what its name says.
    """

    def __init__(
        self, paths: Sequence[str], condition: str | pc.Expression | None = None, csv: CsvOptions | None = None
    ) -> None:
        import pyarrow as pa

        from shuffle.rows.row_filter import row_filter_of

        self.files: list[str] = find_inputs(paths)
        if csv is not None and format_of(self.files) != "csv":
            raise InputError(f"{self.files[0]}: not CSV, which these options are for", "csv")
        check_threads(pa.cpu_count() + pa.io_thread_count() + 1, "reading inputs")
        self._csv = csv or CsvOptions()
        self._dataset, stored_schema, self._directory_columns = _open_dataset(self.files, self._csv)
        is_parquet = format_of(self.files) == "parquet"
        self._encoded_columns = _columns_of_few_values(self.files[0]) if is_parquet else []
        self.schema: pa.Schema = self._dataset.schema
        """Of all columns, whichever are read: those in the files, then those that the names of directories make."""
        self._filter: pc.Expression | None = None
        self._filter_columns: list[str] = []
        if condition is not None:
            self._filter, self._filter_columns = row_filter_of(condition, stored_schema)
        # Files whose directories' names exclude every row are not looked into.
        self.parts: list[ds.Fragment] = list(self._dataset.get_fragments(self._filter))
        """The files, but for those that have no rows to give."""
        self._check_columns()
        self.schema = self._with_nulls_of_all()
        if condition is not None:
            self._filter, _ = row_filter_of(condition, self._with_views_of_all(stored_schema))

    def some_parts(self, most: int) -> list[ds.Fragment]:
        """Up to ``most`` row groups of Parquet files, else whole files, at equal distances in all of them."""
        import pyarrow.dataset as ds

        parts = [
            part
            for file in self.parts
            for part in (
                file.split_by_row_group(self._filter, self.schema)
                if isinstance(file, ds.ParquetFileFragment)
                else [file]
            )
        ]
        return (
            [parts[(2 * number + 1) * len(parts) // (2 * most)] for number in range(most)]
            if len(parts) > most
            else parts
        )

    def row_count(self, parts: Sequence[ds.Fragment]) -> int | None:
        """Rows in these parts, whether the condition is true for them or not; None where counting them would take
        reading them."""
        import pyarrow.dataset as ds

        if isinstance(self._dataset.format, (ds.CsvFileFormat, ds.JsonFileFormat)):
            return None
        if isinstance(self._dataset.format, ds.ParquetFileFormat):  # whose fragments count the whole file's rows
            return sum(int(group.num_rows) for part in parts for group in part.row_groups)
        return sum(map(_row_count, parts))

    def batches(
        self,
        parts: Sequence[ds.Fragment],
        columns: Sequence[str] | None,
        progress: Callable[[int], None],
        memory_bytes: int,
        *,
        plain: Sequence[str] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """The rows for which the condition is true, part after part, in order.

        Args:
            parts: all or some.
            columns: which, and in which order; None: all.
            progress: is told how many rows more were dealt with or passed over; in the end, ``row_count`` together.
            memory_bytes: the budget beside which they are read. Three batches are there at once, each of at most a
                sixteenth of it, from 1 to 24 MiB.
            plain: columns that have the schema's types; None: all. Others may be dictionary-encoded or views of texts,
                as they were read.

        Raises:
            InputError: a file cannot be read; it names the file.
        """
        import pyarrow as pa

        most_bytes = max(min(memory_bytes // _BUDGET_PARTS, _LARGEST_BATCH_BYTES), _SMALLEST_BATCH_BYTES)
        wanted = self.schema.names if columns is None else columns
        # Not all files at once, since Arrow's errors do not say which one is meant.
        for part in parts:
            dealt_with = 0
            try:
                for read_count, rows in self._rows_of(part, wanted, most_bytes, plain):
                    if rows.num_rows:
                        yield rows
                    dealt_with += read_count
                    progress(read_count)
                progress((self.row_count([part]) or dealt_with) - dealt_with)
            except MemoryError:  # some of Arrow's are its own errors, too
                raise
            except (pa.ArrowException, OSError) as error:
                raise InputError(f"{part.path}: {error}") from error

    def _rows_of(
        self, part: ds.Fragment, columns: Sequence[str], most_bytes: int, plain: Sequence[str] | None
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """How many rows of a part were read, and those of them for which the condition is true, again and again.

        They are read ahead in a thread, and decoded in the caller's.
        """
        import pyarrow as pa
        import pyarrow.dataset as ds

        from shuffle.arrays.plain_size import in_pieces
        from shuffle.rows.file_batches import file_batches

        keys = ds.get_partition_keys(part.partition_expression)
        constants = {name: keys[name] for name in self._directory_columns}
        in_files = pa.schema([field for field in self.schema if field.name not in constants])
        read = pa.schema([self.schema.field(name) for name in dict.fromkeys([*columns, *self._filter_columns])])
        stored = [name for name in read.names if name not in constants]
        if self._filter is not None and isinstance(part, ds.ParquetFileFragment):
            part = part.subset(self._filter, self.schema)  # without row groups that their statistics exclude
        batches = file_batches(part, in_files, stored, self._encoded_columns, most_bytes, self._csv)
        pieces = (piece for batch in batches for piece in in_pieces(batch.select(stored), most_bytes))
        tasks = itertools.repeat(Task(most_bytes, partial(next, pieces, None)))
        with closing(in_order(tasks, _BATCHES_AT_ONCE * most_bytes, threads=1)) as ahead:
            # Arrow has no filter of views, and few of dictionaries.
            converted = read.names if plain is None or self._filter is not None else plain
            for piece in itertools.takewhile(lambda piece: piece is not None, ahead):
                rows = _formed(piece, read, constants, converted)
                kept = rows if self._filter is None else _filtered(rows, self._filter)
                yield piece.num_rows, kept.select(list(columns))

    def _check_columns(self) -> None:
        """Raise InputError where a file has other columns than the first: Arrow would fill in nulls, leave out what
        is more, or round values, and say nothing. Of JSON lines nulls are what is meant, and what is more is seen on
        reading; CSV has no types, so that all files are read by the first one's."""
        import pyarrow.dataset as ds

        if isinstance(self._dataset.format, ds.JsonFileFormat):
            return
        expected = set(self.schema.names) - self._directory_columns
        for part in self.parts:
            with reading(part.path):
                actual = set(part.physical_schema.names)
            if actual != expected:
                names = ", ".join(sorted(actual ^ expected))
                raise InputError(f"{part.path}: other columns than in {self.files[0]}; only one of them has {names}")
            if isinstance(self._dataset.format, ds.CsvFileFormat):
                continue
            for field in part.physical_schema:
                kind = self.schema.field(field.name).type
                if not _takes_unchanged(kind, field.type):
                    raise InputError(f"{part.path}: column {field.name} is {field.type}, but {kind} in {self.files[0]}")

    def _with_nulls_of_all(self) -> pa.Schema:
        """The schema, each column nullable that is so in any file."""
        schema = self.schema
        for position, field in enumerate(schema):
            if not field.nullable and any(part.physical_schema.field(field.name).nullable for part in self.parts):
                schema = schema.set(position, field.with_nullable(True))
        return schema

    def _with_views_of_all(self, schema: pa.Schema) -> pa.Schema:
        """The schema of the first file, but for columns that Parquet files behind it store as views."""
        import pyarrow.dataset as ds

        if isinstance(self._dataset.format, ds.ParquetFileFormat):
            for field in (field for part in self.parts for field in part.physical_schema):
                if field.type in _plain_types():
                    schema = schema.set(schema.get_field_index(field.name), field)
        return schema


def _open_dataset(files: Sequence[str], csv: CsvOptions) -> tuple[ds.FileSystemDataset, pa.Schema, set[str]]:
    """The files as one dataset, its schema before views are read as plain values, and the names of the columns that
    directories make."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    format_name = format_of(files)
    for file in files:
        with naming(file):
            os.close(open_regular(file))  # the system's own error, for Arrow's is less clear
    if format_name == "json":
        from shuffle.rows.json_lines import schema_of

        in_files = schema_of(files)
    elif format_name == "csv":
        from shuffle.rows.csv_files import csv_schema

        in_files = csv_schema(files[0], csv)
    else:
        with reading(files[0]):
            in_files = ds.dataset(files[0], format=format_name).schema
    # What stands in a file itself is believed before what its directory is called.
    of_directories = pa.schema([field for field in directory_columns(files) if field.name not in in_files.names])
    schema = pa.schema([*in_files, *of_directories], metadata=in_files.metadata)
    partitioning = ds.HivePartitioning(of_directories)
    if format_name == "csv":
        from shuffle.rows.csv_files import csv_format

        file_format: str | ds.FileFormat = csv_format(csv)
    else:
        file_format = format_name
    dataset = ds.dataset(list(files), schema=_readable(schema), format=file_format, partitioning=partitioning)
    return dataset, schema, set(of_directories.names)


def _row_count(part: ds.Fragment) -> int:
    with reading(part.path):
        return int(part.count_rows())


def _takes_unchanged(kind: pa.DataType, other: pa.DataType) -> bool:
    """Whether values of another type are the same values in this one: texts and bytes are, however they are stored."""
    import pyarrow as pa

    if kind.id == other.id and pa.types.is_nested(kind) and kind.num_fields == other.num_fields:
        pairs = [(kind.field(number), other.field(number)) for number in range(kind.num_fields)]
        is_struct = pa.types.is_struct(kind)
        same_kind = not pa.types.is_fixed_size_list(kind) or kind.list_size == other.list_size
        return same_kind and all(
            (ours.name == theirs.name or not is_struct)
            and (ours.nullable or not theirs.nullable)
            and _takes_unchanged(ours.type, theirs.type)
            for ours, theirs in pairs
        )
    return bool(_unencoded(kind).equals(_unencoded(other)))


def _unencoded(kind: pa.DataType) -> pa.DataType:
    """What all types of texts have in common, and all of bytes; other types as they are."""
    import pyarrow as pa

    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    types = pa.types
    if types.is_string(values) or types.is_large_string(values) or types.is_string_view(values):
        return pa.string()
    if types.is_binary(values) or types.is_large_binary(values) or types.is_binary_view(values):
        return pa.binary()
    return kind


def _formed(
    rows: pa.RecordBatch, schema: pa.Schema, constants: Mapping[str, Any], plain: Sequence[str]
) -> pa.RecordBatch:
    """A batch with the columns of a schema, to which constant columns are added.

    Columns named in ``plain`` are converted to the schema's types. Others may stay dictionary-encoded, or text views.
    """
    import pyarrow as pa

    from shuffle.arrays.stand_ins import stands_for

    columns = {
        field.name: pa.repeat(pa.scalar(constants[field.name], field.type), rows.num_rows)
        if field.name in constants
        else rows[field.name]
        if field.name not in plain and stands_for(rows.schema.field(field.name).type, field.type)
        else rows[field.name].cast(field.type)
        for field in schema
    }
    kinds = [field.with_type(columns[field.name].type) for field in schema]
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(kinds, metadata=schema.metadata))


def _filtered(rows: pa.RecordBatch, condition: pc.Expression) -> pa.RecordBatch:
    import pyarrow as pa
    import pyarrow.dataset as ds

    # Table.filter does not say that it keeps the order.
    scanner = ds.Scanner.from_batches([rows], schema=rows.schema, filter=condition, use_threads=False)
    return pa.concat_batches([rows.slice(0, 0), *scanner.to_batches()])


def _columns_of_few_values(file: str) -> list[str]:
    """Columns of a Parquet file that are decoded by way of dictionaries, for having few different strings: reading
    TPC-H's lineitem takes a quarter less of the processor."""
    import pyarrow.parquet as pq

    with reading(file), pq.ParquetFile(file) as parquet:
        return [
            column.path
            for number, column in enumerate(parquet.schema)
            if column.logical_type.type == "STRING"
            and column.path == column.name  # in no other column
            and _has_few_values(parquet.metadata, number)
        ]


def _has_few_values(metadata: pq.FileMetaData, column_number: int) -> bool:
    """Whether the first row group encodes the column's values as places in a dictionary, not as strings."""
    if metadata.num_row_groups == 0:
        return False
    column = metadata.row_group(0).column(column_number)
    return bool(column.total_uncompressed_size <= _FEW_VALUES_BYTES * column.num_values)


def _readable(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    plain = _plain_types()
    return pa.schema([f.with_type(plain.get(f.type, f.type)) for f in schema], metadata=schema.metadata)


def _plain_types() -> dict[pa.DataType, pa.DataType]:
    """What views are read as."""
    import pyarrow as pa

    return {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
