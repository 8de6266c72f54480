"""JSON lines as record batches. A field that the first rows lack is an error; pyarrow.dataset leaves it out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from shuffle.rows.errors import InputError, reading
from shuffle.rows.json_depth import ShallowLines

_BLOCK_BYTES = 4 << 20  # the longest row, too
_LARGEST_EXACT = 1 << 53  # integer that floating-point numbers hold, and all smaller ones


def schema_of(files: Sequence[str]) -> pa.Schema:
    """Tell the columns that the first 4 MiB of all files have together. A column that a file lacks is null there.

    Raises:
        InputError: a file cannot be read, columns contradict each other, or there are no rows; the message names the
            file.
    """
    schemas: list[pa.Schema] = []
    for file in files:
        with reading(file):
            if _is_empty(file):
                continue
            schemas.append(_own_schema(file))
            schemas = [pa.unify_schemas(schemas, promote_options="permissive")]
    if not schemas:
        raise InputError(f"{files[0]}: empty, as all inputs are, so that nothing says what columns there are")
    return schemas[0]


def json_batches(file: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Read the rows of a file, a block at a time.

    Args:
        file: its name.
        schema: all columns of all inputs; each batch has all of them.

    Raises:
        pyarrow.ArrowException, OSError: the file cannot be read, or not by this schema.
    """
    if _is_empty(file):
        return
    options = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    try:
        own_schema = _own_schema(file)
        with _opened(file, options) as reader:
            for batch in reader:
                _check_integers(batch, own_schema)
                batch.validate(full=True)  # Arrow takes any bytes for text
                yield batch
    except pa.ArrowException as error:
        raise pa.ArrowInvalid(f"{error}; columns and types are those of the first 4 MiB of the inputs") from error


def _check_integers(rows: pa.RecordBatch, own_schema: pa.Schema) -> None:
    """Raise ArrowInvalid where integers, as ``own_schema`` of their file has them, became floats that cannot hold them.

    Columns may be missing from the rows.
    """
    names = set(rows.schema.names)
    for field in own_schema:
        if field.name in names and _is_rounded(rows[field.name], field.type):
            raise pa.ArrowInvalid(f"{field.name} has integers too large for the floats of another input")


def _own_schema(file: str) -> pa.Schema:
    """The columns in the first 4 MiB of a file."""
    with _opened(file) as reader:
        return reader.schema


@contextmanager
def _opened(file: str, options: pa.json.ParseOptions | None = None) -> Iterator[pa.json.JSONStreamingReader]:
    with pa.input_stream(file) as stream:  # decompressed
        lines = pa.PythonFile(ShallowLines(stream), "r")
        with pa.json.open_json(lines, pa.json.ReadOptions(block_size=_BLOCK_BYTES), options) as reader:
            yield reader


def _is_rounded(values: pa.Array, own_type: pa.DataType) -> bool:
    """Whether there may be integers among these values, of ``own_type`` in their file, that were made floats."""
    if pa.types.is_struct(own_type):
        return any(_is_rounded(pc.struct_field(values, field.name), field.type) for field in own_type)
    if pa.types.is_list(own_type):
        return _is_rounded(values.flatten(), own_type.value_type)
    if not (pa.types.is_floating(values.type) and pa.types.is_integer(own_type)):
        return False
    return bool(pc.any(pc.greater_equal(pc.abs(values), float(_LARGEST_EXACT))).as_py())


def _is_empty(file: str) -> bool:
    with pa.input_stream(file) as stream:  # decompressed
        return not stream.read(1)
