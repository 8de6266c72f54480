"""What ``shuffle partition`` reads: Parquet, Arrow and CSV files as one stream of record batches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from shuffle.merging.sources import natural_order

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

FORMATS_BY_SUFFIX = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "ipc",
    ".feather": "ipc",
    ".ipc": "ipc",
    ".csv": "csv",
    ".csv.gz": "csv",
}

# Few and small, so that the rows read ahead are little beside the budget of those held back.
_BATCH_ROWS = 1 << 16
_BATCHES_AHEAD = 4


def open_inputs(paths: Sequence[str]) -> ds.Dataset:
    """The files meant by ``paths`` as one dataset: files as given, directories as all files of a known format in them
    and below, but for names that begin with a dot or an underscore, in natural order.

    String views are read as strings, since Arrow cannot take rows of views.

    Raises:
        ClickException: no file of a known format, more than one format, or files whose columns differ.
        OSError: a file cannot be opened.
        pyarrow.ArrowException: it is not what its name says.
    """
    import pyarrow.dataset as ds

    files = [file for path in paths for file in _files_of(path)]
    formats = {_format_of(file): file for file in reversed(files)}
    if len(formats) > 1:
        (first, file), (second, other), *_ = sorted(formats.items())
        raise click.ClickException(f"inputs of one format are needed: {file} is {first}, {other} is {second}")
    (format_name,) = formats
    for file in files:
        os.close(os.open(file, os.O_RDONLY | os.O_CLOEXEC))  # the system's own error, for Arrow's is less clear
    dataset = ds.dataset(files, format=format_name)
    _check_columns(dataset)
    return ds.dataset(files, schema=_readable(dataset.schema), format=format_name)


def batches_of(dataset: ds.Dataset) -> Iterator[pa.RecordBatch]:
    """All rows, file after file, in order.

    Raises:
        ClickException: a file cannot be read; it names the file.
    """
    import pyarrow as pa

    # Not all files at once, since Arrow's errors do not say which one is meant.
    for file in dataset.get_fragments():
        try:
            yield from file.to_batches(dataset.schema, batch_size=_BATCH_ROWS, batch_readahead=_BATCHES_AHEAD)
        except (pa.ArrowException, OSError) as error:
            raise click.ClickException(f"{file.path}: {error}") from error


def row_count_of(dataset: ds.Dataset) -> int | None:
    """How many rows there are, or None where counting them would take reading them."""
    import pyarrow.dataset as ds

    return None if isinstance(dataset.format, ds.CsvFileFormat) else dataset.count_rows()


def _files_of(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    found = []
    for directory, directories, names in os.walk(path, onerror=_raise):
        directories[:] = [name for name in directories if not name.startswith((".", "_"))]
        found += [
            os.path.join(directory, name)
            for name in names
            if not name.startswith((".", "_")) and _suffix_of(name) is not None
        ]
    if not found:
        known = ", ".join(f"*{suffix}" for suffix in FORMATS_BY_SUFFIX)
        raise click.ClickException(f"no input: looked for {known} in the directory {path}")
    return sorted(found, key=natural_order)


def _raise(error: OSError) -> None:
    raise error


def _suffix_of(name: str) -> str | None:
    return next((suffix for suffix in FORMATS_BY_SUFFIX if name.lower().endswith(suffix)), None)


def _format_of(file: str) -> str:
    suffix = _suffix_of(file)
    if suffix is None:
        known = ", ".join(FORMATS_BY_SUFFIX)
        raise click.ClickException(f"{file}: what format is it? The names of inputs end with one of {known}")
    return FORMATS_BY_SUFFIX[suffix]


def _check_columns(dataset: ds.FileSystemDataset) -> None:
    """Raise ClickException where a file has other columns than the first: Arrow would fill in nulls, or leave out what
    is more, and say nothing."""
    expected = set(dataset.schema.names)
    first, *others = dataset.get_fragments()
    for fragment in others:
        actual = set(fragment.physical_schema.names)
        if actual != expected:
            names = ", ".join(sorted(actual ^ expected))
            raise click.ClickException(
                f"{fragment.path}: other columns than in {first.path}; only one of them has {names}"
            )


def _readable(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return pa.schema([f.with_type(plain.get(f.type, f.type)) for f in schema], metadata=schema.metadata)
