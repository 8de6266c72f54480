"""What ``shuffle partition`` reads: Parquet, Arrow, CSV and JSON lines files as one stream of record batches, of the
columns and rows that are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from shuffle.cli.input_files import directory_columns, find_inputs, format_of

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

# Few and small, so that the rows read ahead are little beside the budget of those held back; but not so small that the
# rest of a row group, which TPC-H's have of 100,000 rows, makes a batch of its own.
_BATCH_ROWS = 1 << 17
_BATCH_BYTES = 16 << 20  # of Parquet's encoding, where rows are wide
_BATCHES_AHEAD = 2
_FEW_VALUES_BYTES = 2  # a value


class Inputs:
    """The rows of files, in the order of the files, and of these the ones for which a condition is true.

    Args:
        paths: as ``find_inputs`` takes them; all of one format, and of the same columns.
        condition: as ``parse_row_filter`` takes it, or None.

    String views are read as strings, since Arrow cannot take rows of views.

    Raises:
        ClickException: no file of a known format, more than one format, files whose columns differ, or a condition that
            does not fit them.
        OSError: a file cannot be opened.
        pyarrow.ArrowException: it is not what its name says.
    """

    def __init__(self, paths: Sequence[str], condition: str | None = None) -> None:
        self.files = find_inputs(paths)
        self._dataset, stored_schema, self._directory_columns = _open_dataset(self.files, condition is None)
        self.schema: pa.Schema = self._dataset.schema
        """Of all columns, whichever are read: those in the files, then those that the names of directories make."""
        self._filter = None if condition is None else _parsed(condition, stored_schema)
        # Files whose directories' names exclude every row are not looked into.
        self.parts: list[ds.Fragment] = list(self._dataset.get_fragments(self._filter))
        """The files, but for those that have no rows to give."""
        self._check_columns()
        self.schema = self._with_nulls_of_all()
        if condition is not None:
            self._filter = _parsed(condition, self._with_views_of_all(stored_schema))

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
        return sum(int(part.count_rows()) for part in parts)

    def batches(
        self, parts: Sequence[ds.Fragment], columns: Sequence[str] | None, progress: Callable[[int], None]
    ) -> Iterator[pa.RecordBatch]:
        """The rows for which the condition is true, part after part, in order.

        Args:
            parts: all or some.
            columns: which, and in which order; None: all.
            progress: is told how many rows more were dealt with or passed over; in the end, ``row_count`` together.

        Raises:
            ClickException: a file cannot be read; it names the file.
        """
        import pyarrow as pa

        # Not all files at once, since Arrow's errors do not say which one is meant.
        for part in parts:
            dealt_with = 0
            try:
                for batch in self._scanner(part, columns).to_batches():
                    yield batch
                    dealt_with += batch.num_rows
                    progress(batch.num_rows)
                progress((self.row_count([part]) or dealt_with) - dealt_with)
            except (pa.ArrowException, OSError) as error:
                raise click.ClickException(f"{part.path}: {error}") from error

    def _scanner(self, fragment: ds.Fragment, columns: Sequence[str] | None) -> ds.Scanner:
        import pyarrow.dataset as ds

        options: dict[str, Any] = {
            "columns": columns if columns is None else list(columns),
            "filter": self._filter,
            "batch_size": _batch_rows(fragment),
            "batch_readahead": _BATCHES_AHEAD,
        }
        if not isinstance(fragment.format, ds.JsonFileFormat):
            return fragment.scanner(self.schema, **options)
        from shuffle.cli.json_lines import scanner_of

        keys = ds.get_partition_keys(fragment.partition_expression)
        constants = {name: keys[name] for name in self._directory_columns}
        return scanner_of(fragment.path, self.schema, constants, **options)

    def _check_columns(self) -> None:
        """Raise ClickException where a file has other columns than the first: Arrow would fill in nulls, leave out what
        is more, or round values, and say nothing. Of JSON lines nulls are what is meant, and what is more is seen on
        reading; CSV has no types, so that all files are read by the first one's."""
        import pyarrow.dataset as ds

        if isinstance(self._dataset.format, ds.JsonFileFormat):
            return
        expected = set(self.schema.names) - self._directory_columns
        for part in self.parts:
            actual = set(part.physical_schema.names)
            if actual != expected:
                names = ", ".join(sorted(actual ^ expected))
                raise click.ClickException(
                    f"{part.path}: other columns than in {self.files[0]}; only one of them has {names}"
                )
            if isinstance(self._dataset.format, ds.CsvFileFormat):
                continue
            for field in part.physical_schema:
                kind = self.schema.field(field.name).type
                if not _takes_unchanged(kind, field.type):
                    raise click.ClickException(
                        f"{part.path}: column {field.name} is {field.type}, but {kind} in {self.files[0]}"
                    )

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


def _open_dataset(files: Sequence[str], reads_all_rows: bool) -> tuple[ds.FileSystemDataset, pa.Schema, set[str]]:
    """The files as one dataset, its schema before views are read as plain values, and the names of the columns that
    directories make."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    format_name = format_of(files)
    for file in files:
        os.close(os.open(file, os.O_RDONLY | os.O_CLOEXEC))  # the system's own error, for Arrow's is less clear
    if format_name == "json":
        from shuffle.cli.json_lines import schema_of

        in_files = schema_of(files)
    else:
        in_files = ds.dataset(files[0], format=format_name).schema
    # What stands in a file itself is believed before what its directory is called.
    of_directories = pa.schema([field for field in directory_columns(files) if field.name not in in_files.names])
    schema = pa.schema([*in_files, *of_directories], metadata=in_files.metadata)
    partitioning = ds.HivePartitioning(of_directories)
    file_format = _parquet_format(files[0]) if format_name == "parquet" and reads_all_rows else format_name
    dataset = ds.dataset(list(files), schema=_readable(schema), format=file_format, partitioning=partitioning)
    return dataset, schema, set(of_directories.names)


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


def _batch_rows(fragment: ds.Fragment) -> int:
    """How many rows of a part to read at once."""
    import pyarrow.dataset as ds

    if not isinstance(fragment, ds.ParquetFileFragment):
        return _BATCH_ROWS
    row_count = sum(group.num_rows for group in fragment.row_groups)
    byte_count = sum(group.total_byte_size for group in fragment.row_groups)
    return int(max(min(_BATCH_ROWS, row_count * _BATCH_BYTES // max(byte_count, 1)), 1))


def _parquet_format(file: str) -> ds.ParquetFileFormat:
    """Parquet, its strings of few different values decoded by way of dictionaries: reading TPC-H's lineitem takes a
    quarter less of the processor. Conditions would not be compared with these."""
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        names = [
            column.path
            for number, column in enumerate(parquet.schema)
            if column.logical_type.type == "STRING"
            and column.path == column.name  # in no other column
            and _has_few_values(parquet.metadata, number)
        ]
    return ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(dictionary_columns=names))


def _has_few_values(metadata: pq.FileMetaData, column_number: int) -> bool:
    """Whether the first row group encodes the column's values as places in a dictionary, not as strings."""
    if metadata.num_row_groups == 0:
        return False
    column = metadata.row_group(0).column(column_number)
    return bool(column.total_uncompressed_size <= _FEW_VALUES_BYTES * column.num_values)


def _parsed(condition: str, schema: pa.Schema) -> pc.Expression:
    from shuffle.cli.row_filter import parse_row_filter

    try:
        return parse_row_filter(condition, schema)
    except ValueError as error:
        raise click.ClickException(f"--where: {error}") from error


def _readable(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    plain = _plain_types()
    return pa.schema([f.with_type(plain.get(f.type, f.type)) for f in schema], metadata=schema.metadata)


def _plain_types() -> dict[pa.DataType, pa.DataType]:
    """What views are read as."""
    import pyarrow as pa

    return {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
