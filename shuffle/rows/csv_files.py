"""CSV as record batches: which types columns have, and rows read as these types without losing anything.

CSV has no types. Types that options do not tell are guessed from the first MiB, and a guess never changes a value:
``007`` stays text, and so does an integer that 64 bits do not hold. Text is UTF-8 unless options say otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import csv

from shuffle.rows.csv_options import CsvOptions
from shuffle.rows.errors import InputError, reading
from shuffle.warning import warn

# Leading zeros, or more digits than a float holds.
_NOT_A_FLOAT = r"^[+-]?(?:0\d|\d{16,}$)"
# Only what has one of these is taken for floats: 3e5 alone may be a code.
_PLAINLY_A_FLOAT = r"^[+-]?(?:\d*\.\d*(?:[eE][+-]?\d+)?|\d+[eE][+-]\d+|nan|NaN|inf)$"
_DECIMAL = re.compile(r"decimal\((\d+), *(\d+)\)")
_NAMED_WITH_TEXT = 3


def csv_schema(file: str, options: CsvOptions) -> pa.Schema:
    """Tell the columns of a file: their types are those that options name, or those that the first MiB suggests.

    A warning names the columns that look like numbers and are read as text.

    Raises:
        InputError: options name a type that is not there, or a column; a text is not in the encoding; the file is not
            CSV, or cannot be read.
    """
    told = {name: _type_of(name, kind) for name, kind in options.types.items()}
    with reading(file):
        with _opened(file, options) as reader:
            guessed = reader.schema
        _check_names(file, guessed.names)
        texts = _first_texts(file, guessed, options)
    if missing := [name for name in told if name not in guessed.names]:
        raise InputError(f"{file}: no column {missing[0]!r}; the columns are: {', '.join(guessed.names)}", "csv types")
    as_text: dict[str, str] = {}
    fields = []
    for number, field in enumerate(guessed):
        kind = told.get(field.name)
        if kind is None and pa.types.is_binary(field.type):
            raise InputError(f"{file}: column {field.name} is not {options.encoding}; say its encoding", "csv encoding")
        if kind is None:
            kind, example = _kept(field.type, texts[number] if texts else pa.array([], pa.string()))
            if example is not None:
                as_text[field.name] = example
        fields.append(pa.field(field.name, kind))
    if as_text:
        examples = [f"{name} ({text})" for name, text in list(as_text.items())[:_NAMED_WITH_TEXT]]
        more = ", …" if len(as_text) > len(examples) else ""
        listed = f"{', '.join(examples)}{more}"
        warn(f"{file}: read as text, which numbers would change: {listed}; the option csv types says otherwise")
    return pa.schema(fields)


def _check_names(file: str, names: Sequence[str]) -> None:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(f"{file}: {count} columns are called {name!r}")


def csv_format(options: CsvOptions) -> ds.CsvFileFormat:
    """Make the format that ``pyarrow.dataset`` takes."""
    parse, convert, read = _arrow_options(options, None)
    return ds.CsvFileFormat(parse, convert_options=convert, read_options=read)


def csv_batches(file: str, schema: pa.Schema, columns: Sequence[str], options: CsvOptions) -> Iterator[pa.RecordBatch]:
    """Read the rows of a file in the types of a schema, a block at a time.

    Args:
        file: its name.
        schema: of all columns.
        columns: the columns that are wanted; batches have one at least.
        options: how the file is written.

    Raises:
        pyarrow.ArrowException, OSError: the file cannot be read, or a value is not of its column's type.
    """
    wanted = list(columns) or schema.names[:1]
    numbers = {name for name in wanted if name not in options.types and _is_number(schema.field(name).type)}
    types = {name: pa.string() if name in numbers else schema.field(name).type for name in wanted}
    try:
        with _opened(file, options, types, one_column=len(schema) == 1) as reader:
            for batch in reader:
                arrays = [
                    _as_numbers(column, schema.field(name).type, name) if name in numbers else column
                    for name, column in zip(batch.schema.names, batch.columns, strict=True)
                ]
                yield pa.record_batch(arrays, batch.schema.names)
    except pa.ArrowInvalid as error:
        raise pa.ArrowInvalid(f"{error}; types are those of the first MiB of the first input, or told") from error


def _opened(
    file: str, options: CsvOptions, types: dict[str, pa.DataType] | None = None, *, one_column: bool = False
) -> csv.CSVStreamingReader:
    parse, convert, read = _arrow_options(options, types)
    parse.ignore_empty_lines = not one_column  # where a null is an empty line
    return csv.open_csv(file, read, parse, convert)


def _arrow_options(
    options: CsvOptions, types: dict[str, pa.DataType] | None
) -> tuple[csv.ParseOptions, csv.ConvertOptions, csv.ReadOptions]:
    convert = csv.ConvertOptions(
        null_values=list(options.nulls), strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    if types is not None:
        convert.column_types, convert.include_columns = types, list(types)
    read = csv.ReadOptions(encoding=options.encoding, autogenerate_column_names=not options.header)
    return csv.ParseOptions(delimiter=options.delimiter, newlines_in_values=True), convert, read


def _first_texts(file: str, schema: pa.Schema, options: CsvOptions) -> pa.RecordBatch | None:
    """The first MiB as it is written."""
    types = {name: pa.binary() if pa.types.is_binary(kind) else pa.string() for name, kind in _pairs(schema)}
    with _opened(file, options, types, one_column=len(schema) == 1) as reader:
        return next(iter(reader), None)


def _pairs(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in schema]


def _kept(guess: pa.DataType, texts: pa.Array) -> tuple[pa.DataType, str | None]:
    """The type that keeps these texts; and, where a number would change one of them, that text."""
    if not _is_number(guess):
        return pa.string() if pa.types.is_null(guess) else guess, None
    texts = pc.utf8_trim_whitespace(texts)
    try:
        example = _changed(texts, guess)
    except pa.ArrowInvalid:  # an empty line of a file with one column
        return pa.string(), None
    if example is None and pa.types.is_floating(guess) and not _any_match(texts, _PLAINLY_A_FLOAT):
        example = texts.drop_null()[0].as_py()
    return (guess, None) if example is None else (pa.string(), example)


def _as_numbers(texts: pa.Array, kind: pa.DataType, name: str) -> pa.Array:
    """Texts as numbers. ArrowInvalid names the column and the text that a number would change."""
    texts = pc.utf8_trim_whitespace(texts)
    try:
        numbers = texts.cast(kind)
    except pa.ArrowInvalid as error:
        raise pa.ArrowInvalid(f"column {name}: {error}") from error
    if (text := _changed(texts, kind, numbers)) is not None:
        raise pa.ArrowInvalid(f"column {name}: {text!r} would change as {kind}")
    return numbers


def _changed(texts: pa.Array, kind: pa.DataType, numbers: pa.Array | None = None) -> str | None:
    """The first text that a number would change, or None."""
    if pa.types.is_integer(kind):
        differs = pc.not_equal((texts.cast(kind) if numbers is None else numbers).cast(pa.string()), texts)
    else:
        differs = pc.match_substring_regex(texts, _NOT_A_FLOAT)
    position = pc.index(differs, True).as_py()
    return None if position < 0 else texts[position].as_py()


def _any_match(texts: pa.Array, pattern: str) -> bool:
    return pc.any(pc.match_substring_regex(texts, pattern)).as_py() is True


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _type_of(column: str, kind: str | object) -> pa.DataType:
    if isinstance(kind, pa.DataType):
        return kind
    try:
        if match := _DECIMAL.fullmatch(str(kind)):
            return pa.decimal128(int(match[1]), int(match[2]))
        return pa.type_for_alias(str(kind))
    except ValueError as error:
        known = "string, int64, double, decimal(15,2), bool, date32, timestamp[us]"
        raise InputError(f"no type {kind!r} for column {column}; types are called {known}, …", "csv types") from error
